"""The lane of a request, from the model's compute and the latency class: one table, pure.

    class / compute   cpu                              gpu
    realtime          realtime lane                    refused
    async             queue lane, the async queue      gpu lane, before batch
    batch             queue lane, the batch queue      gpu lane, after async

Nothing is moved to another class quietly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shared.errors import UnsupportedClassError

if TYPE_CHECKING:
    from shared.catalog import Model

LaneName = Literal["realtime", "queue", "gpu"]
REALTIME: Final = "realtime"
GPU: Final = "gpu"


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a request runs."""

    name: LaneName
    pool: str
    queue: str | None
    """Class of the pool's queue that feeds it, `async` or `batch`; None: there is no queue."""


def choose_lane(model: Model, latency_class: str) -> Lane:
    """The lane of a request to `model`; raises `UnsupportedClassError` for a class it lacks."""
    if latency_class not in model.latency_classes:
        offered = ", ".join(repr(name) for name in model.latency_classes)
        raise UnsupportedClassError(
            f"model {model.name!r} does not offer latency class {latency_class!r}; its classes "
            f"are {offered}",
            field="latency_class",
        )
    if latency_class != REALTIME:
        return Lane(GPU if model.compute == GPU else "queue", model.pool, latency_class)
    if model.compute == GPU:
        raise UnsupportedClassError(
            f"model {model.name!r} runs on a gpu, which is not kept waiting for single requests; "
            "ask with Prefer: respond-async, wait=20, which answers at once if it is done in time",
            field="latency_class",
        )
    return Lane(REALTIME, model.pool, None)
