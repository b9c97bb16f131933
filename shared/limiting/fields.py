"""What an answer tells of limits: `RateLimit-Policy`, `RateLimit` and `Retry-After`.

The first two as draft-ietf-httpapi-ratelimit-headers-10 has them: lists of policies by name, `q` what
a policy grants, `w` its window in seconds, `qu` what is counted where it is not requests; `r` what is
left, `t` in how many seconds there will be more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

POLICY: Final = "ratelimit-policy"
LEFT: Final = "ratelimit"
RETRY_AFTER: Final = "retry-after"


class Policy(NamedTuple):
    """One limit as callers are told of it."""

    name: str
    quota: int
    window_s: int | None = None
    unit: str | None = None

    def __str__(self) -> str:
        window = "" if self.window_s is None else f";w={self.window_s}"
        unit = "" if self.unit is None else f';qu="{self.unit}"'
        return f'"{self.name}";q={self.quota}{window}{unit}'


class Left(NamedTuple):
    """What is left of a limit; `more_in_s` None: nobody knows when there will be more."""

    policy: Policy
    left: int
    more_in_s: float | None = None

    def __str__(self) -> str:
        more = "" if self.more_in_s is None else f";t={math.ceil(self.more_in_s)}"
        return f'"{self.policy.name}";r={self.left}{more}'


def limit_fields(standing: Sequence[Left]) -> dict[str, str]:
    """Header fields, names in lower case; none where nothing is counted."""
    if not standing:
        return {}
    return {
        POLICY: ", ".join(str(item.policy) for item in standing),
        LEFT: ", ".join(str(item) for item in standing),
    }


def refused_fields(standing: Sequence[Left], *, retry_after_s: int) -> dict[str, str]:
    """The same, of an answer 429."""
    return {**limit_fields(standing), RETRY_AFTER: str(retry_after_s)}
