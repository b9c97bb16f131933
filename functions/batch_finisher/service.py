"""Works on the finisher's queue, and once a minute looks after every batch that is due."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.errors import UnavailableError
from shared.jobs.batches.finish import finish_batch
from shared.jobs.batches.messages import UnreadableError, read_batch
from shared.jobs.batches.sweep import sweep_batches
from shared.jobs.work import Lease
from shared.queues.sqs import from_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools import Logger

    from shared.jobs.batches.finish import FinishWorker
    from shared.jobs.batches.sweep import SweepWorker
    from shared.queues.protocol import Delivery

LEASE_MARGIN_S: Final = 5.0


def make_handler(
    worker: FinishWorker,
    sweep: SweepWorker,
    *,
    logger: Logger,
    margin_s: float,
    rows_per_pass: int,
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler, for events of SQS and of EventBridge."""

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        logger.set_correlation_id(context.aws_request_id)
        remaining_s = context.get_remaining_time_in_millis() / 1000
        until_s = time.monotonic() + remaining_s - margin_s
        if "Records" not in event:
            return {"looked_at": sweep_batches(sweep, limit=rows_per_pass, until_s=until_s)}
        lease = Lease(context.aws_request_id, worker.clock() + remaining_s + LEASE_MARGIN_S)
        again = [
            delivery.message_id
            for delivery in map(from_record, event["Records"])
            if not _finish(worker, delivery, lease, until_s, logger)
        ]
        return {"batchItemFailures": [{"itemIdentifier": name} for name in again]}

    return handler


def _finish(
    worker: FinishWorker, delivery: Delivery, lease: Lease, until_s: float, logger: Logger
) -> bool:
    """Whether the message is done with."""
    try:
        key = read_batch(_parse(delivery.body))
        after_s = finish_batch(worker, key, lease=lease, until_s=until_s)
    except UnreadableError as error:
        worker.finish.bury(delivery, reason=str(error))
        return True
    except UnavailableError as error:
        logger.warning("tried again later", extra={"reason": str(error)})
        return False
    if after_s is None:
        return True
    worker.finish.hand_back(delivery, delay_s=math.ceil(after_s))
    return False


def _parse(body: str) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the message is not JSON: {error}") from error
