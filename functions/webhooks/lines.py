"""The line of each attempt: log record and metrics in one, as every function of Laneway writes it.

It names the job, and never the URL, the payload, the answer's body or a secret.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from shared.jobs.webhooks import DELIVERED
from shared.telemetry import NAMESPACE, RequestFacts, Telemetry

if TYPE_CHECKING:
    from shared.jobs.webhooks import Attempt

SERVICE: Final = "laneway-webhooks"
METRICS: Final = ("webhook_deliveries", "webhook_failures")
"""Attempts that a receiver accepted, and attempts that it did not or that were not allowed."""


class WebhookLines:
    """Writes lines at every log level, because the metrics are in them."""

    def __init__(self, *, stage: str, log_level: str = "INFO") -> None:
        self._stage = stage
        self._telemetry = Telemetry(
            service=SERVICE, stage=stage, pool="webhooks", log_level=log_level
        )
        self._logger = logging.getLogger(self._telemetry.logger.name)

    def attempt(self, attempt: Attempt, *, message_id: str, context: Any) -> None:
        """What happened to one message."""
        record = logging.LogRecord(SERVICE, logging.INFO, "", 0, "webhook", None, None)
        delivered = attempt.code == DELIVERED
        record.fields = {
            "function_request_id": context.aws_request_id,
            "stage": self._stage,
            "message_id": message_id,
            "tenant": attempt.tenant,
            "job_id": attempt.job,
            "attempt": attempt.attempt,
            "code": attempt.code,
            "status": attempt.status,
            "reason": attempt.reason,
            "ms": attempt.ms,
            "webhook_deliveries": int(delivered),
            "webhook_failures": int(attempt.attempt > 0 and not delivered),
            "_aws": {
                "Timestamp": int(record.created * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": NAMESPACE,
                        "Dimensions": [["stage"]],
                        "Metrics": [{"Name": name, "Unit": "Count"} for name in METRICS],
                    }
                ],
            },
        }
        self._logger.handle(record)

    def failure(self, error: Exception, *, message_id: str, context: Any) -> None:
        """A failure of ours: types and frames, without the messages."""
        facts = RequestFacts(request_id=message_id, started_ns=time.perf_counter_ns())
        self._telemetry.failure(error, facts, context)
