"""The lane of a request, from the model's compute, the latency class and the priority: one table, pure.

    class / compute   cpu                              gpu
    realtime          realtime lane                    refused
    async             queue lane, queue async          gpu lane, async-high or async
    batch             queue lane, queue batch          gpu lane, batch-high or batch

Nothing is moved to another class quietly. Priority is a queue, and only a pool on gpus has those of
high priority: its worker is the only one that takes several queues in an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shared.errors import InvalidRequestError, UnsupportedClassError

if TYPE_CHECKING:
    from shared.catalog import Model
    from shared.schema.job import Priority

LaneName = Literal["realtime", "queue", "gpu"]

REALTIME: Final = "realtime"
GPU: Final = "gpu"
NORMAL: Final = "normal"
HIGH: Final = "high"
CPU_QUEUES: Final = ("async", "batch")
GPU_QUEUES: Final = ("async-high", "async", "batch-high", "batch")
"""In the order in which a worker takes them."""
_HIGH_SUFFIX: Final = f"-{HIGH}"


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a request runs."""

    name: LaneName
    pool: str
    queue: str | None
    """The pool's queue that feeds it, one of `GPU_QUEUES`; None: there is no queue."""


def choose_lane(model: Model, latency_class: str, priority: str = NORMAL) -> Lane:
    """The lane of a request to `model`.

    Raises `UnsupportedClassError` for a class it lacks, `InvalidRequestError` for a priority that
    its lane does not know.
    """
    if latency_class not in model.latency_classes:
        offered = ", ".join(repr(name) for name in model.latency_classes)
        raise UnsupportedClassError(
            f"model {model.name!r} does not offer latency class {latency_class!r}; its classes "
            f"are {offered}",
            field="latency_class",
        )
    if latency_class == REALTIME and model.compute == GPU:
        raise UnsupportedClassError(
            f"model {model.name!r} runs on a gpu, which is not kept waiting for single requests; "
            "ask with Prefer: respond-async, wait=20, which answers at once if it is done in time",
            field="latency_class",
        )
    if priority != NORMAL and model.compute != GPU:
        raise InvalidRequestError(
            f"priority {priority!r} is for models on a gpu; {model.name!r} runs on a cpu",
            field="priority",
        )
    if latency_class == REALTIME:
        return Lane(REALTIME, model.pool, None)
    name: LaneName = "gpu" if model.compute == GPU else "queue"
    return Lane(name, model.pool, queue_name(latency_class, priority))


def queue_name(latency_class: str, priority: str) -> str:
    """The queue of a class and priority, as the queues of a pool are keyed."""
    return latency_class if priority == NORMAL else latency_class + _HIGH_SUFFIX


def of_queue(queue: str) -> tuple[str, Priority]:
    """The latency class and the priority of what arrives on a queue: a message does not say."""
    if queue.endswith(_HIGH_SUFFIX):
        return queue.removesuffix(_HIGH_SUFFIX), HIGH
    return queue, NORMAL


def queues_of(compute: str) -> tuple[str, ...]:
    """The queues of a pool whose models have this compute, in the order in which they are taken."""
    return GPU_QUEUES if compute == GPU else CPU_QUEUES
