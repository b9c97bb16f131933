"""How a stage's queue lane delivers, how long it waits and where inputs may be; part of a stage's values.

Numbers that contradict Lambda or each other are refused here, before anything is synthesized.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.limits import (
    JOB_TTL_S_MAX,
    LAMBDA_SQS_BATCH_MAX,
    LAMBDA_SQS_BATCH_WITHOUT_WINDOW_MAX,
    LAMBDA_SQS_CONCURRENCY,
    LAMBDA_SQS_VISIBILITY_TIMEOUTS,
    LAMBDA_SQS_WINDOW_S_MAX,
    LAMBDA_TIMEOUT_S_MAX,
)
from stacks.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES: Final = ("async", "batch")
"""Latency classes that have a queue in each pool."""
GPU_QUEUES: Final = ("async-high", "async", "batch-high", "batch")
"""The queues of a gpu pool: there, a priority is a queue."""
GPU_VISIBILITY_S: Final = 120
"""The long-lived worker extends it while it works; what a killed one held is free again by then."""
LOCAL_GPU_VISIBILITY_S: Final = 20
"""On one's own machine, where whoever kills a worker waits for what it held: twice its lease there."""
_DAY_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the messages of one latency class reach the worker, and what their callers are promised."""

    batch_size: int
    """Messages of one invocation at most; they are stacked where their model allows it."""
    window_s: int = 0
    """How long Lambda may wait to fill a delivery."""
    max_concurrency: int
    """Workers of one pool at the same time, so that jobs leave concurrency for realtime calls."""
    target_s: int
    """A job should have begun to run by then; the alarm on the queue's age looks at it."""
    ttl_s: int
    """How long a job waits for its first run unless it says otherwise."""

    def __post_init__(self) -> None:
        _check_delivery(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLane:
    """The queue lane of one stage."""

    deliveries: Mapping[str, Delivery] = field(
        default_factory=lambda: {
            "async": Delivery(batch_size=10, max_concurrency=20, target_s=60, ttl_s=_DAY_S // 4),
            "batch": Delivery(
                batch_size=100, window_s=2, max_concurrency=10, target_s=_DAY_S // 4, ttl_s=_DAY_S
            ),
        }
    )
    """By latency class."""
    tenant_share: float = 0.8
    """Of what a pool's workers have in hand, so much may be one tenant's, whoever else has jobs or
    chunks of batches: the rest is for the others. 1: all of it, which costs nothing and is fair by SQS alone."""
    worker_timeout_s: int = 60
    """Of one invocation, and of a job's run unless the job says less. What a killed worker held is
    taken over after this time, so it stays near the target of class async."""
    chunk_timeout_s: int = 900
    """Of one chunk of a batch, 8 MiB of lines: as long as Lambda allows, since nobody waits for one."""
    chunks_concurrency: int = 10
    """Chunks of one pool that run at the same time."""
    webhooks_concurrency: int = 10
    """A flood of slow receivers must not use up the account's concurrency."""
    input_places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By tenant: `s3://bucket/prefix/` from where it may name inputs, beside its own uploads."""
    result_aliases: Mapping[str, str] = field(default_factory=dict)
    """`s3://bucket/prefix/` for copies of results, by the names that callers use."""

    def __post_init__(self) -> None:
        if set(self.deliveries) != {"async", "batch"}:
            raise StageError(f"deliveries names {sorted(self.deliveries)}; name async and batch")
        if not 0 < self.tenant_share <= 1:
            raise StageError(
                f"tenant_share is {self.tenant_share}; write more than 0, and 1 at most"
            )
        for name in ("worker_timeout_s", "chunk_timeout_s"):
            if not 1 <= getattr(self, name) <= LAMBDA_TIMEOUT_S_MAX:
                raise StageError(
                    f"{name} is {getattr(self, name)}; Lambda takes 1 to {LAMBDA_TIMEOUT_S_MAX}"
                )
        places = [place for places in self.input_places.values() for place in places]
        for place in (*places, *self.result_aliases.values()):
            _check_place(place)


def class_of(kind: str) -> str:
    """The latency class of a queue of jobs."""
    return kind.removesuffix("-high")


def visibility_s(timeout_s: int, *, window_s: int = 0) -> int:
    """For how long a received message is hidden, as Lambda asks for it."""
    return LAMBDA_SQS_VISIBILITY_TIMEOUTS * timeout_s + window_s


def _check_delivery(delivery: Delivery) -> None:
    low, high = LAMBDA_SQS_CONCURRENCY
    facts = {
        f"batch_size is {delivery.batch_size}; Lambda takes 1 to {LAMBDA_SQS_BATCH_MAX}": (
            1 <= delivery.batch_size <= LAMBDA_SQS_BATCH_MAX
        ),
        f"window_s is {delivery.window_s}; Lambda takes 0 to {LAMBDA_SQS_WINDOW_S_MAX}": (
            0 <= delivery.window_s <= LAMBDA_SQS_WINDOW_S_MAX
        ),
        f"batch_size {delivery.batch_size} needs a window_s of 1 or more; without one Lambda "
        f"delivers {LAMBDA_SQS_BATCH_WITHOUT_WINDOW_MAX} at most": (
            delivery.window_s > 0 or delivery.batch_size <= LAMBDA_SQS_BATCH_WITHOUT_WINDOW_MAX
        ),
        f"max_concurrency is {delivery.max_concurrency}; Lambda takes {low} to {high}": (
            low <= delivery.max_concurrency <= high
        ),
        f"ttl_s is {delivery.ttl_s}, which is not between the target of {delivery.target_s} s "
        f"and {JOB_TTL_S_MAX}: jobs would expire before they are late": (
            delivery.target_s < delivery.ttl_s <= JOB_TTL_S_MAX
        ),
    }
    for fact, holds in facts.items():
        if not holds:
            raise StageError(fact)


def _check_place(place: str) -> None:
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    plain = place.startswith("s3://") and bucket and "*" not in place and "?" not in place
    if not plain or not prefix.endswith("/"):
        raise StageError(f"{place!r} is no place; write s3://bucket/prefix/ with the last slash")
