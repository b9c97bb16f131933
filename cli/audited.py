"""Acts that commands do with the caller's own AWS identity, each recorded in the stage's audit.

An act is recorded as `begun` before it is done, and again with its outcome: what cannot be recorded is
not done, and what was cut off in the middle is seen. Who did it is asked of AWS, not of the caller.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.output import CommandError, say
from cli.stages import aws_client
from shared.audit import BEGUN, OK, record
from shared.principal import principal_of_arn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.audit import Act

Told = dict[str, str]
"""Members of a record that are known once the act is done: `key_id`, `job_id` and their like."""


def audit_log_group(stage: str) -> str:
    """The log group of what is done to a stage from outside it."""
    return f"/laneway/{stage}/audit"


def open_audit(stage: str, region: str | None = None) -> Audit:
    """The audit of a stage, as the AWS identity of this machine; asks AWS nothing yet."""
    return Audit(aws_client("logs", stage, region), aws_client("sts", stage, region), stage=stage)


class Audit:
    """Writes records to a stream of its own, which is made with the first of them."""

    def __init__(self, logs: Any, sts: Any, *, stage: str) -> None:
        self._logs = logs
        self._sts = sts
        self._group = audit_log_group(stage)
        self._stream = ""
        self._principal = ""

    @contextmanager
    def act(self, act: Act, *, tenant: str, **named: str) -> Iterator[Told]:
        """Record that the block begins, and how it ended; `named`: members of `shared.audit.record`.

        What becomes known in the block is put into the dict that it is given. Raises `CommandError`
        before the block where the beginning cannot be recorded.
        """
        request_id = secrets.token_hex(16)
        told: Told = dict(named)
        try:
            self._record(act, tenant, request_id, BEGUN, told)
        except Exception as error:
            raise CommandError(
                f"nothing was done, since it cannot be recorded in the log group {self._group}, which "
                "every deployed stage has and where you must be allowed logs:CreateLogStream and "
                f"logs:PutLogEvents: {error}"
            ) from error
        try:
            yield told
        except BaseException as error:
            self._end(act, tenant, request_id, _code(error), told)
            raise
        self._end(act, tenant, request_id, OK, told)

    def done(self, act: Act, *, tenant: str, outcome: str = OK, **named: str) -> None:
        """Record an act that is part of one that has begun, such as the redrive of one job."""
        self._end(act, tenant, secrets.token_hex(16), outcome, named)

    def _end(self, act: Act, tenant: str, request_id: str, outcome: str, told: Told) -> None:
        """The act is done by now: that its end is not recorded must not hide what came of it."""
        try:
            self._record(act, tenant, request_id, outcome, told)
        except Exception as error:  # noqa: BLE001  see above; the record of the beginning is there
            say(f"the audit has the beginning of this {act} and not its end: {error}")

    def _record(self, act: Act, tenant: str, request_id: str, outcome: str, told: Told) -> None:
        record(
            act,
            principal=self._who(),
            tenant=tenant,
            request_id=request_id,
            outcome=outcome,
            write=self._put,
            **told,
        )

    def _who(self) -> str:
        if not self._principal:
            self._principal = principal_of_arn(self._sts.get_caller_identity()["Arn"]).name
        return self._principal

    def _put(self, line: str) -> None:
        if not self._stream:
            stream = f"{datetime.now(UTC):%Y/%m/%d}/{secrets.token_hex(8)}"
            self._logs.create_log_stream(logGroupName=self._group, logStreamName=stream)
            self._stream = stream
        self._logs.put_log_events(
            logGroupName=self._group,
            logStreamName=self._stream,
            logEvents=[{"timestamp": int(time.time() * 1000), "message": line}],
        )


def _code(error: BaseException) -> str:
    """Of an error of ours its code, of any other its type: a message may hold what was sent."""
    return str(getattr(error, "code", None) or type(error).__name__)
