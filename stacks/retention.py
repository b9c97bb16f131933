"""How long a stage keeps each kind of data; part of a stage's values.

Rows go by DynamoDB's time to live, objects by the bucket's lifecycle, lines by their log group. Numbers that
contradict AWS or what a waiting job needs are refused here, before anything is synthesized.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.limits import JOB_TTL_S_MAX
from stacks.errors import StageError

LOG_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096),
    *(1827, 2192, 2557, 2922, 3288, 3653),
)
"""The periods that CloudWatch Logs offers (PutRetentionPolicy, read 2026-11-22)."""
DAY_S: Final = 24 * 3600
WAITING_DAYS: Final = JOB_TTL_S_MAX // DAY_S + 1
"""A job may wait so long for its first run, and finds its input then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Days, by kind of data. What goes by time to live or lifecycle goes within two days after that."""

    jobs_days: int = 7
    """The row of an ended job or batch, counted from the end of its ttl: input, result and metadata of up to
    16 KiB each are in it."""
    inputs_days: int = 14
    """Inputs past 16 KiB, from when they were submitted."""
    results_days: int = 14
    """Results past 16 KiB, from when they were made. With less than ttl and `jobs_days` together a job can
    outlive its result, which answers 410 then."""
    uploads_days: int = 14
    """What callers uploaded."""
    batches_days: int = 14
    """Parts and files of batches."""
    old_versions_days: int = 1
    """What was overwritten or removed in the bucket, by whomever: until then it can be brought back."""
    logs_days: int = 30
    """Every log group."""
    audit_days: int = 365
    """The record of who did what; it holds no input and no result."""

    def __post_init__(self) -> None:
        for name in ("logs_days", "audit_days"):
            self._check_offered(name)
        for name in ("inputs_days", "uploads_days", "batches_days"):
            if getattr(self, name) < WAITING_DAYS:
                raise StageError(
                    f"retention: {name} is {getattr(self, name)}; a job may wait for "
                    f"{WAITING_DAYS - 1} days and needs its input then: write {WAITING_DAYS} or more"
                )
        for name in ("jobs_days", "results_days", "old_versions_days"):
            if getattr(self, name) < 1:
                raise StageError(f"retention: {name} is {getattr(self, name)}; write 1 or more")

    @property
    def jobs_s(self) -> int:
        """`jobs_days` in seconds, as rows count."""
        return self.jobs_days * DAY_S

    @property
    def objects_days(self) -> dict[str, int]:
        """By prefix of the bucket."""
        return {
            "inputs/": self.inputs_days,
            "results/": self.results_days,
            "uploads/": self.uploads_days,
            "batches/": self.batches_days,
        }

    def _check_offered(self, name: str) -> None:
        if getattr(self, name) not in LOG_DAYS:
            offered = ", ".join(str(days) for days in LOG_DAYS)
            raise StageError(
                f"retention: {name} is {getattr(self, name)}; CloudWatch Logs offers {offered}"
            )
