"""Removes the rows of a tenant's batches and their chunks; those that have not ended are canceled first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cli.erasing.tally import MESSAGE_S
from shared.results import batches_items as items
from shared.results.batches_table import CHUNK_PREFIX, TTL_ATTRIBUTE
from shared.schema.batch_status import BATCH_TERMINAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.erasing.tally import Tally
    from cli.erasing.tenant_rows import TenantRows
    from shared.jobs.clock import Clock
    from shared.results.batches import BatchRow

_COUNTS: Final = (
    *("lease_until", "split_offset", "chunks", "lines"),
    *("dispatched", "done_chunks", "succeeded", "failed", "blank"),
)


class BatchRows:
    """The batches of one tenant."""

    def __init__(self, rows: TenantRows, *, clock: Clock, tally: Tally) -> None:
        self._rows = rows
        self._clock = clock
        self._tally = tally

    def remove(self) -> None:
        """One pass."""
        for item in self._rows.listed():
            row = items.row_of(item)
            is_open = row.status not in BATCH_TERMINAL
            if is_open and not self._cancel(row):
                continue  # it moved on meanwhile: the next pass meets it as it is then
            self._tally.count("canceled batches", int(is_open))
            # Before the row, by which a later run finds them.
            for count in self._rows.delete_all(list(self._chunk_keys(row))):
                self._tally.count("chunks", count)
            has_message = row.created_at > self._clock() - MESSAGE_S
            done = self._stub(row) if has_message else self._rows.delete(items.key_of(row.key))
            self._tally.count("batches", int(done))

    def _cancel(self, row: BatchRow) -> bool:
        """End it where it stands: no chunk publishes, and no finisher joins, from then on."""
        self._tally.wait_for(row.lease_until)
        now = items.number(self._clock())
        return self._rows.cancel(items.key_of(row.key), status=row.status, fence=row.fence, now=now)

    def _chunk_keys(self, row: BatchRow) -> Iterator[dict[str, Any]]:
        for item in self._rows.partition(str(row.key)):
            if item["sk"]["S"].startswith(CHUNK_PREFIX):
                if item["status"]["S"] == "running":
                    self._tally.wait_for(float(item["lease_until"]["N"]))
                yield {name: item[name] for name in ("pk", "sk")}

    def _stub(self, row: BatchRow) -> bool:
        """Forget all but its id, model and end."""
        now = self._clock()
        status = row.status if row.status in BATCH_TERMINAL else "canceled"
        item = {
            **items.key_of(row.key),
            **{name: items.number(0) for name in _COUNTS},
            "status": items.text(status),
            "about": items.packed(
                {
                    "endpoint": "",
                    "model": row.model,
                    "version": row.version,
                    "pool": row.pool,
                    "input": "",
                    "payload_digest": "",
                    "created_at": row.created_at,
                    "ttl_at": row.ttl_at,
                }
            ),
            "fence": items.number(row.fence),
            "put_token": items.text("erased"),
            "finished_at": items.number(row.finished_at or now),
            TTL_ATTRIBUTE: items.number(int(now + MESSAGE_S)),
        }
        return self._rows.put_stub(item, status=status, fence=row.fence)
