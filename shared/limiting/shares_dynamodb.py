"""What functions have in hand, on the table of counters: one item for each queue and tenant.

Each owner is an attribute of the item, so that entering is one write that needs no condition: the item
comes back with those who were there before, and these are what is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.aws import translated
from shared.errors import StoreUnavailableError
from shared.limiting.counters import DAY_S
from shared.limiting.shares import HOLD_S, Entered, Entry, away_s, held_s, in_one_go, pace_per_s
from shared.limiting.usage_table import PARTITION_KEY, TTL_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_OWNER: Final = "owner#"
_HOLD: Final = "hold_s"
_LINE: Final = "line_ends_at"
_LAPSED_MAX: Final = 20
"""Removed at once of those that nobody has left."""


class DynamoShares:
    """Implements `Shares` on the table of `shared.limiting.usage_table`."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client = client
        self._table = table

    def enter(self, entry: Entry, *, share: int, now: float, until: float) -> Entered:
        """Take jobs in hand: one write, and another where some are turned away."""
        item = self._update(
            entry,
            "SET #own = :own, #purge_at = :purge_at",
            {"#own": _OWNER + entry.owner, "#purge_at": TTL_ATTRIBUTE},
            {":own": _held(entry.wanted, until), ":purge_at": _number(int(now) + DAY_S)},
        )
        others = {
            name: held["M"]
            for name, held in item.items()
            if name.startswith(_OWNER) and name != _OWNER + entry.owner
        }
        alive = [int(held["n"]["N"]) for held in others.values() if float(held["until"]["N"]) > now]
        granted = in_one_go(share, sum(alive), entry.wanted)
        turned = entry.wanted - granted
        hold_s = float(item.get(_HOLD, {}).get("N", HOLD_S))
        pace = pace_per_s(share, hold_s)
        ends_at = now
        if turned:
            known = float(item.get(_LINE, {}).get("N", 0))
            left = _held(granted, until) if granted else None
            ends_at = self._line_up(
                entry, left, fresh_at=None if known > now else now, more_s=turned / pace
            )
        return Entered(
            entry=entry,
            granted=granted,
            again_after_s=away_s(turned, ends_at=ends_at, pace=pace, now=now),
            at=now,
            hold_s=hold_s,
            lapsed=[name for name, held in others.items() if float(held["until"]["N"]) <= now],
        )

    def leave(self, entered: Entered, *, now: float) -> None:
        """These have ended; those who never left are removed too."""
        gone = [_OWNER + entered.entry.owner, *entered.lapsed[:_LAPSED_MAX]]
        names = {f"#gone{number}": name for number, name in enumerate(gone)}
        self._update(
            entered.entry,
            f"SET #hold = :hold REMOVE {', '.join(names)}",
            {**names, "#hold": _HOLD},
            {":hold": _number(held_s(entered, now))},
        )

    def _line_up(self, entry: Entry, left: Any, *, fresh_at: float | None, more_s: float) -> float:
        """Keep what was granted and give the others places; gives when the line ends.

        `fresh_at`: when a new line begins; None: there is one.
        """
        names = {"#own": _OWNER + entry.owner, "#line": _LINE}
        if fresh_at is None:
            line, values = "#line = #line + :more", {":more": _number(more_s)}
        else:
            line, values = "#line = :line", {":line": _number(fresh_at + more_s)}
        if left is None:
            item = self._update(entry, f"SET {line} REMOVE #own", names, values)
        else:
            item = self._update(entry, f"SET {line}, #own = :own", names, {**values, ":own": left})
        return float(item[_LINE]["N"])

    def _update(
        self, entry: Entry, update: str, names: Mapping[str, str], values: Mapping[str, Any]
    ) -> dict[str, Any]:
        with translated(StoreUnavailableError, "the counters of jobs in hand"):
            answer: Any = self._client.update_item(
                TableName=self._table,
                Key={PARTITION_KEY: {"S": f"hand#{entry.line}#{entry.tenant}"}},
                UpdateExpression=update,
                ExpressionAttributeNames=dict(names),
                ExpressionAttributeValues=dict(values),
                ReturnValues="ALL_NEW",
            )
        found: dict[str, Any] = answer["Attributes"]
        return found


def _held(count: int, until: float) -> dict[str, Any]:
    return {"M": {"n": _number(count), "until": _number(until)}}


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}
