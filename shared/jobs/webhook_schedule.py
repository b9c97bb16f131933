"""When a webhook is tried again: pure functions of its age, so that nothing has to be kept.

An event's message waits invisibly on its queue between two attempts. SQS hides a message for twelve
hours at most, counted from its receipt, so a longer wait is made of several: a message that comes
back in between is early and is hidden again.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from shared.limits import SQS_VISIBILITY_S_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

WAITS_S: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Before each attempt: the example schedule of Standard Webhooks 1.0.0, a little over three days."""
ATTEMPTS: Final = len(WAITS_S)
HIDDEN_S_MAX: Final = SQS_VISIBILITY_S_MAX - 3600
"""Below SQS's limit by more than a function can hold a message before it is hidden again."""
JITTER: Final = 0.1
"""At most so much of a wait is added to it, so that events of one moment do not come back as one."""
_STARTS_S: Final = tuple(accumulate(WAITS_S))
"""The least age of an event at each attempt."""


def attempt_at(age_s: float) -> int:
    """Which attempt an event of this age is due for, from 1."""
    return max(1, bisect_right(_STARTS_S, age_s))


def early_by_s(age_s: float) -> float:
    """How long until the next attempt, for a message that came back in a long wait; else 0."""
    attempt = attempt_at(age_s)
    if attempt == ATTEMPTS or WAITS_S[attempt] <= HIDDEN_S_MAX:
        return 0.0
    if age_s < _STARTS_S[attempt - 1] + HIDDEN_S_MAX:
        return 0.0
    return _STARTS_S[attempt] - age_s


def wait_after_s(
    attempt: int, *, random: Callable[[], float], retry_after_s: float = 0.0
) -> float | None:
    """The wait after a failed attempt, at least what the receiver asks for; None after the last.

    `random` gives numbers from 0 to 1.
    """
    if attempt >= ATTEMPTS:
        return None
    wait_s = max(float(WAITS_S[attempt]), min(retry_after_s, float(HIDDEN_S_MAX)))
    return wait_s * (1 + JITTER * random())


def hidden_s(wait_s: float) -> int:
    """For how long to hide the message now, in whole seconds."""
    return max(1, min(math.ceil(wait_s), HIDDEN_S_MAX))


def retry_after_s(header: str | None, *, now: float) -> float:
    """Seconds that a `Retry-After` header asks for: a number or a date; 0 where it says nothing."""
    if header is None:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        dated = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, dated.timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
