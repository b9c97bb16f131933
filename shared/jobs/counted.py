"""How many unfinished jobs and batches a tenant may have, and the refusal of one more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from shared.errors import TooManyJobsError
from shared.limiting.fields import Left, Policy, refused_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

R = TypeVar("R")
RETRY_AFTER_S: Final = 5
"""Nobody knows when one of the tenant's jobs ends."""


class Counted(Protocol):
    """Where jobs are, or batches."""

    def counted(self, tenant: str, *, up_to: int) -> int:
        """How many of the tenant's have not ended; `up_to` where there are more."""


def has_room(stores: Iterable[Counted], tenant: str, jobs_max: int) -> bool:
    """Whether the tenant has fewer than `jobs_max` in all of these together."""
    left = jobs_max
    for store in stores:
        if left > 0:
            left -= store.counted(tenant, up_to=left)
    return left > 0


def kept_when_full(
    stores: Iterable[Counted], tenant: str, jobs_max: int, *, get: Callable[[], R | None]
) -> R | None:
    """None while the tenant may have one more; else the row that `get` finds there already, or a refusal."""
    if has_room(stores, tenant, jobs_max):
        return None
    kept = get()
    if kept is None:
        raise too_many_jobs(jobs_max)
    return kept


def too_many_jobs(jobs_max: int) -> TooManyJobsError:
    """What a caller is told whose tenant has `jobs_max` unfinished jobs."""
    standing = [Left(Policy("jobs", jobs_max), 0)]
    return TooManyJobsError(
        f"{jobs_max} jobs and batches of your tenant have not ended, and it may have no more at once; "
        "submit this one again when one has, or cancel one",
        headers=refused_fields(standing, retry_after_s=RETRY_AFTER_S),
    )
