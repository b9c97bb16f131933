"""The queues of a stage as its functions reach them, from their settings: SQS itself, RabbitMQ by `send`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.queues.invoked import InvokedQueue, SendFunction, connect_lambda
from shared.queues.sqs import SqsQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

    from shared.queues.protocol import Queue
    from shared.settings.jobs import JobSettings

_URLS: Final = ("https://", "http://")


def open_queues(
    settings: JobSettings,
    *,
    sqs: SQSClient,
    connect_lambda: Callable[[], LambdaClient] = connect_lambda,
) -> dict[tuple[str, str], Queue]:
    """The job queues of every pool, by pool and queue.

    What is a URL is on SQS, any other name in RabbitMQ: a stage's chunks stay on SQS. `connect_lambda`
    is called where a queue needs it.
    """
    named = {
        (pool, queue): place
        for pool, places in settings.queues.items()
        for queue, place in places.items()
    }
    if all(map(is_url, named.values())):
        return {key: SqsQueue(sqs, url=url) for key, url in named.items()}
    function = SendFunction(connect_lambda(), function=settings.send_function)
    return {
        (pool, queue): SqsQueue(sqs, url=place)
        if is_url(place)
        else InvokedQueue(function, pool=pool, queue=queue)
        for (pool, queue), place in named.items()
    }


def is_url(place: str) -> bool:
    """Whether a queue of the settings is on SQS, rather than a name in RabbitMQ."""
    return place.startswith(_URLS)
