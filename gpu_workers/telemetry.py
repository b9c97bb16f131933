"""What the worker says: a line for each job as the queue lane's function writes it, and counts of its own."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

from shared.job_telemetry import JobTelemetry, directive_of
from shared.metric_lines import directive, with_metrics, write_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.jobs.facts import JobFacts

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

    def ended(self, facts: Sequence[JobFacts]) -> None:
        """Write the lines of all: its stdout is a pipe, of which ECS takes each line for itself."""
        now_s = time.time()
        lines = (with_metrics(self._told(one), directive_of(one), now_s) for one in facts)
        self._form.tell_all("job", now_s, lines)

    def count(self, name: str, value: float, **members: str) -> None:
        """One metric of the worker; `kind` among the members is a dimension besides stage and pool."""
        dimensions = [["stage", "pool"]]
        if "kind" in members:
            dimensions.append(["stage", "pool", "kind"])
        fields = {**self._common, **members, name: value}
        metrics = ((name, UNITS.get(name, "Count")),)
        write_line(self._form, name, fields, directive(dimensions, metrics))
