"""A batch that a stage begins by the clock, part of a stage's values; checked before it is synthesized."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from shared.schema.batch import BatchSubmission
from stacks.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,25}")
"""With the scheduler's execution id behind it, a batch's id of 64 characters at most."""
_SCHEDULE: Final = re.compile(r"(cron|rate|at)\(.+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringBatch:
    """One schedule."""

    name: str
    schedule: str
    """As EventBridge Scheduler has it: `cron(0 2 * * ? *)`, `rate(1 day)`."""
    submission: Mapping[str, Any]
    """The body of `POST /v2/batches`: endpoint, input, window and so on."""
    timezone: str = "UTC"
    tenant: str = "default"
    """Whose the batches are; their input must be in a place that this tenant may name."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise StageError(
                f"recurring batch {self.name!r}: a name is up to 26 small letters, digits and -"
            )
        if not _SCHEDULE.fullmatch(self.schedule):
            raise StageError(
                f"recurring batch {self.name!r}: {self.schedule!r} is no schedule; write "
                "cron(0 2 * * ? *) or rate(1 day)"
            )
        try:
            BatchSubmission.model_validate(dict(self.submission))
        except ValidationError as error:
            raise StageError(f"recurring batch {self.name!r}: {error}") from error
