"""What the worker says: a line for each job as the queue lane's function writes it, and counts of its own."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from shared.job_telemetry import JobTelemetry
from shared.telemetry import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS: Final = {"device_busy": "Percent", "drain_ms": "Milliseconds"}
"""Others are counts."""


class WorkerTelemetry(JobTelemetry):
    """Implements `Reporter` of jobs, and of what happens to the worker itself."""

    def __init__(
        self,
        *,
        stage: str,
        pool: str,
        worker: str,
        log_level: str = "INFO",
        digests: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        """`worker`: names this process in every line; `digests` as in `JobTelemetry`."""
        super().__init__(
            service="laneway-worker", stage=stage, pool=pool, log_level=log_level, digests=digests
        )
        name = f"laneway-{stage}-{pool}-worker"
        self.begin(SimpleNamespace(function_name=name, aws_request_id=worker))

    def count(self, name: str, value: float, **members: str) -> None:
        """One metric of the worker; `kind` among the members is a dimension besides stage and pool."""
        record = logging.LogRecord(self._logger.name, logging.INFO, "", 0, name, None, None)
        dimensions = [["stage", "pool"]]
        if "kind" in members:
            dimensions.append(["stage", "pool", "kind"])
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": dimensions,
            "Metrics": [{"Name": name, "Unit": UNITS.get(name, "Count")}],
        }
        fields: dict[str, Any] = {
            **self._common,
            **members,
            name: value,
            "_aws": {"Timestamp": int(record.created * 1000), "CloudWatchMetrics": [directive]},
        }
        record.fields = fields
        self._logger.handle(record)
