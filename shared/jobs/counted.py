"""The refusal of a job past the number of unfinished ones that its tenant may have."""

from __future__ import annotations

from typing import Final

from shared.errors import TooManyJobsError
from shared.limiting.fields import Left, Policy, refused_fields

RETRY_AFTER_S: Final = 5
"""Nobody knows when one of the tenant's jobs ends."""


def too_many_jobs(jobs_max: int) -> TooManyJobsError:
    """What a caller is told whose tenant has `jobs_max` unfinished jobs."""
    standing = [Left(Policy("jobs", jobs_max), 0)]
    return TooManyJobsError(
        f"{jobs_max} jobs of your tenant have not ended, and it may have no more at once; submit the "
        "job again when one has, or cancel one",
        headers=refused_fields(standing, retry_after_s=RETRY_AFTER_S),
    )
