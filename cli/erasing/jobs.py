"""Removes the rows of a tenant's jobs: those that have not ended are canceled by the same write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.erasing.tally import MESSAGE_S
from shared.results import items, table
from shared.results.rows import Payload, changed
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from cli.erasing.tally import Tally
    from cli.erasing.tenant_rows import TenantRows
    from shared.jobs.clock import Clock
    from shared.results.rows import JobRow

_NOTHING: Final = Payload(size_bytes=0, sha256="")


class JobRows:
    """The jobs of one tenant."""

    def __init__(self, rows: TenantRows, *, clock: Clock, tally: Tally) -> None:
        self._rows = rows
        self._clock = clock
        self._tally = tally

    def remove(self) -> None:
        """One pass."""
        for item in self._rows.listed():
            row = items.from_item(item)
            if row.status not in TERMINAL:
                self._tally.wait_for(row.lease_until)
            done = (
                self._stub(row)
                if self._has_message(row)
                else self._rows.delete(items.key_of(row.key))
            )
            if done:
                self._tally.count("jobs")
                self._tally.count("canceled jobs", int(row.status not in TERMINAL))

    def _has_message(self, row: JobRow) -> bool:
        """Whether a message of the job may be on a queue: its run would have acknowledged it."""
        ran = row.status in {"succeeded", "failed"}
        return not ran and row.created_at > self._clock() - MESSAGE_S

    def _stub(self, row: JobRow) -> bool:
        """Cancel an open job and forget all but its id by one write, so that it tells no webhook."""
        now = self._clock()
        stub = changed(
            row,
            status=row.status if row.status in TERMINAL else "canceled",
            input=_NOTHING,
            payload_digest="",
            webhook=None,
            result_alias=None,
            metadata={},
            retry_of=None,
            lease_owner=None,
            unsent_at=None,
            due_at=None,
            purge_at=now + MESSAGE_S,
        )
        item = {
            **items.to_item(stub, token="erased"),  # noqa: S106  names the call that puts it
            table.TTL_ATTRIBUTE: items.number(int(now + MESSAGE_S)),
            "finished_at": items.number(row.finished_at or now),
        }
        return self._rows.put_stub(item, status=row.status, fence=row.fence)
