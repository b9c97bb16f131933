"""Works on the splitter's queue: batches to split, uploads and schedules that begin one."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from shared.audit import OK, record
from shared.errors import CallerError, UnavailableError
from shared.jobs.batches.messages import BATCH, UnreadableError, read_batch
from shared.jobs.batches.split import split_batch
from shared.jobs.batches.started import RECURRING, read_recurring, uploads_in
from shared.jobs.work import Lease
from shared.queues.sqs import from_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aws_lambda_powertools import Logger

    from shared.jobs.batches.split import SplitWorker
    from shared.jobs.batches.started import Started
    from shared.jobs.batches.submit import Batches
    from shared.queues.protocol import Delivery
    from shared.results.batches import BatchRow

LEASE_MARGIN_S: Final = 5.0


def make_handler(
    worker: SplitWorker,
    batches: Batches,
    *,
    logger: Logger,
    margin_s: float,
    digests: Mapping[tuple[str, str], str],
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler, for events of SQS; `digests`: of the served versions, for the audit."""
    parts = _Parts(worker, batches, logger, digests)

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        logger.set_correlation_id(context.aws_request_id)
        remaining_s = context.get_remaining_time_in_millis() / 1000
        lease = Lease(context.aws_request_id, worker.clock() + remaining_s + LEASE_MARGIN_S)
        work = _Work(parts, lease, time.monotonic() + remaining_s - margin_s)
        deliveries = [from_record(record) for record in event["Records"]]
        again = [delivery.message_id for delivery in deliveries if not work.do(delivery)]
        return {"batchItemFailures": [{"itemIdentifier": name} for name in again]}

    return handler


class _Parts(NamedTuple):
    """What every invocation works with."""

    worker: SplitWorker
    batches: Batches
    logger: Logger
    digests: Mapping[tuple[str, str], str]


class _Work:
    """One invocation."""

    def __init__(self, parts: _Parts, lease: Lease, until_s: float) -> None:
        self._worker, self._batches, self._logger, self._digests = parts
        self._lease = lease
        self._until_s = until_s

    def do(self, delivery: Delivery) -> bool:
        """Whether the message is done with."""
        try:
            return self._do(delivery)
        except UnreadableError as error:
            self._worker.split.bury(delivery, reason=str(error))
        except UnavailableError as error:
            self._logger.warning("tried again later", extra={"reason": str(error)})
            return False
        return True

    def _do(self, delivery: Delivery) -> bool:
        message = _parse(delivery.body)
        if BATCH in message:
            return self._split(delivery, message)
        if RECURRING in message:
            self._submit([read_recurring(message)])
        elif isinstance(message.get("Records"), list):
            self._submit(uploads_in(message))
        elif message.get("Event") != "s3:TestEvent":
            raise UnreadableError("the message names no batch, schedule or upload")
        return True

    def _split(self, delivery: Delivery, message: dict[str, Any]) -> bool:
        after_s = split_batch(
            self._worker, read_batch(message), lease=self._lease, until_s=self._until_s
        )
        if after_s is None:
            return True
        self._worker.split.hand_back(delivery, delay_s=math.ceil(after_s))
        return False

    def _submit(self, started: Iterable[Started]) -> None:
        """Begin the batches; one that is refused is told in the log, since nobody waits for it.

        Without its words: they quote the name of an upload, which is its sender's.
        """
        for item in started:
            try:
                accepted = self._batches.submit(
                    item.submission(), tenant=item.tenant, batch_id=item.batch_id
                )
            except CallerError as error:
                self._record(item, outcome=error.code)
                facts = {"tenant": item.tenant, "batch_id": item.batch_id, "code": error.code}
                self._logger.error(  # noqa: TRY400  a trace would be of our own code
                    "a batch that begins by itself was refused", extra=facts
                )
            else:
                self._record(item, accepted.row)

    def _record(self, item: Started, row: BatchRow | None = None, *, outcome: str = OK) -> None:
        """The audit's record of a batch that nobody asked for over HTTP; a message may come twice."""
        model, version = (None, None) if row is None else (row.model, row.version)
        record(
            "submit",
            principal="queue",
            tenant=item.tenant,
            request_id=item.batch_id,
            outcome=outcome,
            model=model,
            version=version,
            digest=self._digests.get((model or "", version or "")),
            batch_id=item.batch_id,
        )


def _parse(body: str) -> dict[str, Any]:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the message is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise UnreadableError("the message is not a JSON object")
    return message
