"""What a tenant may ask for: limits that a stage gives to everybody, and a row to one tenant.

Without pydantic, since the realtime function reads them too. How they are counted is in
`shared.limiting`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

MAXIMUM: Final = 10**15
"""Of any limit: what DynamoDB and JSON readers hold exactly."""


def _check(name: str, value: object) -> None:
    if value is None:
        return
    kinds = (int, float) if name == "requests_per_s" else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= MAXIMUM:
        whole = "" if float in kinds else "whole "
        raise ValueError(f"{name} should be a {whole}number above 0, not {value!r:.40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLimits:
    """Each None: not limited. Raises `ValueError` naming the member that makes no sense."""

    requests_per_s: float | None = None
    """Calls a second in the long run, whatever they ask for."""
    burst: int | None = None
    """Calls that may come at once; None: those of a second."""
    concurrent_jobs: int | None = None
    """Jobs that have been accepted and have not ended."""
    bytes_per_day: int | None = None
    """Bytes of accepted bodies in a day of UTC."""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item.name, getattr(self, item.name))
        if self.burst is not None and self.requests_per_s is None:
            raise ValueError("burst says nothing without requests_per_s")

    @property
    def burst_size(self) -> int:
        """The size of the bucket that `requests_per_s` fills."""
        return self.burst or max(1, math.ceil(self.requests_per_s or 0))


NO_LIMITS: Final = TenantLimits()
MEMBERS: Final = tuple(item.name for item in fields(TenantLimits))


def read_limits(text: str) -> TenantLimits:
    """The limits in compact JSON; an empty text holds none. Raises `ValueError`."""
    return TenantLimits(**_members(orjson.loads(text))) if text else NO_LIMITS


def write_limits(limits: TenantLimits) -> str:
    """Compact JSON of what is limited, equal for equal limits; `{}` where nothing is."""
    known = {name: value for name, value in asdict(limits).items() if value is not None}
    return orjson.dumps(known).decode()


def merged(defaults: TenantLimits, row: Mapping[str, float | None]) -> TenantLimits:
    """A tenant's limits: a member of its row wins, None lifts the stage's; raises `ValueError`.

    A rate without a burst brings its own, since the stage's burst belongs to the stage's rate; a burst
    without any rate says nothing.
    """
    members = {**asdict(defaults), **_members(row)}
    if members["requests_per_s"] is None or ("requests_per_s" in row and "burst" not in row):
        members["burst"] = None
    return TenantLimits(**members)


def _members(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("limits are an object of members")  # noqa: TRY004 - a value that was read, not an argument
    unknown = [name for name in given if name not in MEMBERS]
    if unknown:
        raise ValueError(f"{unknown[0][:64]!r} is no limit; there are {', '.join(MEMBERS)}")
    return given
