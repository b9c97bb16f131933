"""What is told about each request: one JSON line that is the log record and the metrics at once.

CloudWatch reads metrics out of any JSON log line with an `_aws` member (the embedded metric format),
so the request's line carries both, with the field names of the Powertools Logger. Powertools
Metrics is not used: docs/decisions/0015-one-line-holds-log-and-metrics.md has the figures. The line is
the request's audit record too. Nothing here ever sees a body, a tensor or a key.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.audit import AUDIT, DENIED, DENIED_STATUSES
from shared.lines import LineForm

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping

    from aws_lambda_powertools import Logger

    from shared.audit import Act

NAMESPACE: Final = "Laneway"
CLIENT_ERROR_STATUS: Final = 400
SERVER_ERROR_STATUS: Final = 500
NOT_OFFERED_STATUS: Final = 501
"""The caller asked for what no service here does: theirs to mend, and nothing to wake anybody for."""
_METRICS: Final = (
    ("requests", "Count"),
    ("client_errors", "Count"),
    ("server_errors", "Count"),
    ("cold_starts", "Count"),
    ("latency_ms", "Milliseconds"),
    ("request_bytes", "Bytes"),
    ("response_bytes", "Bytes"),
)
_MODEL_METRIC: Final = ("model_ms", "Milliseconds")
_CAUSES_MAX: Final = 5


@dataclass(slots=True)
class RequestFacts:
    """What becomes known of a request while it is served.

    `model` and `version` are dimensions of metrics, which cost money each: they are set from the
    catalog once a model was found, never from what a caller wrote.
    """

    request_id: str
    started_ns: int
    tenant: str = "default"
    principal: str = "none"
    """Who called, as `shared.principal` names it."""
    model: str | None = None
    version: str | None = None
    model_ms: float | None = None
    audit: Mapping[str, str] | None = None
    """What makes the line a record: `audit`, the act, and all that names what was done, model and version
    included. None: the function's own act, where it has one."""
    status: int = SERVER_ERROR_STATUS
    code: str = "ok"
    request_bytes: int = 0
    response_bytes: int = 0


class Telemetry:
    """Writes the lines of one function; `pool` is the dimension that its alarms watch."""

    def __init__(
        self,
        *,
        service: str,
        stage: str,
        pool: str,
        log_level: str = "INFO",
        act: Act | None = None,
    ) -> None:
        """`act`: what a request to this function is, unless its facts say otherwise."""
        self._service, self._log_level = service, log_level
        self._form = LineForm(service)
        self._stage = stage
        self._pool = pool
        self._act = {} if act is None else {AUDIT: act}
        self._cold_start = _starts_cold()
        self._always = b""

    @cached_property
    def logger(self) -> Logger:
        """For what is not a request: the Powertools Logger, loaded when there is something to tell."""
        from shared.log_lines import make_logger  # noqa: PLC0415 - most environments never need it

        return make_logger(self._service, self._log_level)

    @cached_property
    def _logger(self) -> logging.Logger:
        """The one behind `logger`, for records that are complete lines."""
        import logging  # noqa: PLC0415 - as above

        return logging.getLogger(self.logger.name)

    def request(self, facts: RequestFacts, context: Any) -> None:
        """Write the request's line; at every log level, because the metrics are in it."""
        cold_start, self._cold_start = self._cold_start, False
        now_s = time.time()
        status, audit = facts.status, facts.audit
        failed = status >= CLIENT_ERROR_STATUS
        is_ours = status >= SERVER_ERROR_STATUS and status != NOT_OFFERED_STATUS
        members: dict[str, Any] = {
            "cold_start": cold_start,
            "function_request_id": context.aws_request_id,
            "request_id": facts.request_id,
            "tenant": facts.tenant,
            "principal": facts.principal,
            "status": status,
            "code": facts.code,
            "client_errors": int(failed and not is_ours),
            "server_errors": int(is_ours),
            "cold_starts": int(cold_start),
            "latency_ms": (time.perf_counter_ns() - facts.started_ns) / 1e6,
            "request_bytes": facts.request_bytes,
            "response_bytes": facts.response_bytes,
            "_aws": {
                "Timestamp": int(now_s * 1000),
                "CloudWatchMetrics": _directive(facts),
            },
        }
        members.update(self._act if audit is None else audit)
        if failed and status in DENIED_STATUSES:
            members[AUDIT] = DENIED
        if audit is None:
            if facts.model is not None:
                members["model"] = facts.model
            if facts.version is not None:
                members["version"] = facts.version
        if facts.model_ms is not None:
            members["model_ms"] = facts.model_ms
        self._form.tell("request", now_s, members, more=self._always or self._describe(context))

    def _describe(self, context: Any) -> bytes:
        """What is the same in every line of this function."""
        members = {
            "function_name": context.function_name,
            "function_memory_size": context.memory_limit_in_mb,
            "function_arn": context.invoked_function_arn,
            "stage": self._stage,
            "pool": self._pool,
            "requests": 1,
        }
        self._always = b"," + orjson.dumps(members)[1:-1]
        return self._always

    def failure(self, error: BaseException, facts: RequestFacts, context: Any) -> None:
        """Log a failure of ours: the types and frames of the exception and its causes.

        The exceptions' messages stay out of the log, since a transform's may hold values. `detail` is
        what an error of ours says to the log alone: onnxruntime's reason, without a caller's values.
        """
        self.logger.error(
            "failure",
            stacklevel=3,
            extra={
                "request_id": facts.request_id,
                "function_request_id": context.aws_request_id,
                "tenant": facts.tenant,
                "model": facts.model,
                "version": facts.version,
                "exception_name": type(error).__name__,
                "detail": getattr(error, "detail", None),
                "stack_trace": [_trace(item) for item in _with_causes(error)],
            },
        )


def _starts_cold() -> bool:
    """False where the environment was made ahead of its first request, as Powertools counts it."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "provisioned-concurrency"


def _directive(facts: RequestFacts) -> Any:
    known = (facts.model is not None, facts.version is not None, facts.model_ms is not None)
    return _DIRECTIVES[known]


def _make_directive(*, model: bool, version: bool, ran: bool) -> Any:
    """EMF directives name members, and each must be there: one directive per set of members."""
    dimensions = [["stage", "pool"]]
    if model:
        dimensions.append(["stage", "pool", "model"])
    if model and version:
        dimensions.append(["stage", "pool", "model", "version"])
    metrics = (*_METRICS, _MODEL_METRIC) if ran else _METRICS
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": dimensions,
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in metrics],
    }
    return orjson.Fragment(orjson.dumps([directive]))


_DIRECTIVES: Final[Mapping[tuple[bool, bool, bool], Any]] = {
    (model, version, ran): _make_directive(model=model, version=version, ran=ran)
    for model, version, ran in product((False, True), (False, True), (False, True))
}


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if current is None:
            return
        yield current
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)


def _trace(error: BaseException) -> dict[str, Any]:
    """The frames of one exception, innermost last, in the form of the Powertools `stack_trace`."""
    import traceback  # noqa: PLC0415 - only a failure needs it

    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "frames": [
            {"file": frame.filename, "line": frame.lineno, "function": frame.name}
            for frame in traceback.extract_tb(error.__traceback__)
        ],
    }
