"""Whether workers hold jobs, by the table: rows of a pool that run under a lease that has not lapsed.

For who must not take a worker away: a broker's count of what is in flight is approximate, or not to be
had at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from shared.aws import translated
from shared.errors import StoreUnavailableError
from shared.results.table import DUE, SHARDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_dynamodb import DynamoDBClient

    from shared.results.rows import JobRow

_PAGES_MAX: Final = 10
"""Of a shard: a megabyte of rows each. Past it there is enough queued that nobody leaves anyway."""


class Leases(Protocol):
    """Counts what is leased."""

    def leased(self, pool: str) -> int:
        """Jobs of the pool that a worker holds now; at least 1 where there is too much to look at.

        Raises `StoreUnavailableError`.
        """


class MemoryLeases:
    """Implements `Leases` on rows in this process, which `rows` gives."""

    def __init__(self, rows: Callable[[], Iterable[JobRow]], *, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._clock = clock

    def leased(self, pool: str) -> int:
        """Jobs of the pool that a worker holds now."""
        now = self._clock()
        return sum(
            row.pool == pool and row.status == "running" and row.lease_until > now
            for row in self._rows()
        )


class DynamoLeases:
    """Implements `Leases` on the jobs table: a running row is due when its lease lapses."""

    def __init__(self, client: DynamoDBClient, *, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def leased(self, pool: str) -> int:
        """Jobs of the pool that a worker holds now."""
        return sum(self._of_shard(pool, str(shard)) for shard in range(SHARDS))

    def _of_shard(self, pool: str, shard: str) -> int:
        found, start = 0, None
        for _ in range(_PAGES_MAX):
            page = self._page(pool, shard, start)
            found += int(page["Count"])
            start = page.get("LastEvaluatedKey")
            if start is None:
                return found
        return max(found, 1)

    def _page(self, pool: str, shard: str, start: Any) -> Any:
        after = {} if start is None else {"ExclusiveStartKey": start}
        with translated(StoreUnavailableError, "the store of jobs"):
            return self._client.query(
                TableName=self._table,
                IndexName=DUE,
                Select="COUNT",
                KeyConditionExpression="shard = :shard AND due_at > :now",
                FilterExpression="#status = :running AND submission.#pool = :pool",
                ExpressionAttributeNames={"#status": "status", "#pool": "pool"},
                ExpressionAttributeValues={
                    ":shard": {"S": shard},
                    ":now": {"N": repr(float(self._clock()))},
                    ":running": {"S": "running"},
                    ":pool": {"S": pool},
                },
                **after,
            )
