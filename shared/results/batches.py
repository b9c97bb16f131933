"""The batch store: a row per batch, an item per chunk, and the only writes that they allow.

The row is leased and fenced for splitting and for finishing, each chunk for running. `due_at` says
when somebody must next look at the batch; one without it has ended.

    method         from                               to           what else changes
    create         absent                             validating   due now
    lease          validating, finalizing, no lease   the same     fence+1, lease
    release        same fence                         the same     no lease
    add_chunks     validating, same fence             validating   chunks are there, cursor moves on
    split          validating, same fence             scheduled    no lease, due at the start
    start          scheduled                          running      due soon
    dispatched     running                            running      so many chunks have had a message
    claim_chunk    chunk open, no live lease          running      attempt+1, fence+1 of the chunk
    publish        batch running, chunk's fence       open or done the part; counts of the batch, at once
    release_chunk  chunk's fence                      open         attempt-1 unless charged
    finalize       running (all chunks done, unless   finalizing   ending, due now
                   canceled or expired)
    end            before running                     canceled, expired, failed
    uploads        finalizing, same fence             finalizing   uploads in progress
    finish         finalizing, same fence             its ending   files
    postpone       not ended                          the same     due as told
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.results.rows import JobFailure
    from shared.schema.batch_status import BatchEnding, BatchStatus


class BatchKey(NamedTuple):
    """Names a batch; `str()` is the table's partition key."""

    tenant: str
    id: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.id}"


class Cursor(NamedTuple):
    """How far the splitter came: everything before `offset` is in chunks."""

    offset: int
    chunks: int
    lines: int


NOTHING_SPLIT: Final = Cursor(0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One batch. Times are epoch seconds; `input` and files are keys of the stage's bucket or URIs."""

    key: BatchKey
    status: BatchStatus
    endpoint: str
    model: str
    version: str
    pool: str
    input: str
    payload_digest: str
    created_at: float
    ttl_at: float
    purge_at: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    principal: str = "queue"
    """Who asked for it; `queue`: an upload or a schedule began it."""
    request_id: str = ""
    """Of the call that submitted it, if one did."""
    retry_of: str | None = None
    not_before: float = 0.0
    window: str = ""
    """`22:00-06:00` in UTC: chunks begin only then; empty: at any time."""
    etag: str = ""
    input_bytes: int = 0
    cursor: Cursor = NOTHING_SPLIT
    dispatched: int = 0
    done_chunks: int = 0
    succeeded: int = 0
    failed: int = 0
    blank: int = 0
    progressed_at: float = 0.0
    """When a part was last published, or the batch started."""
    fence: int = 0
    lease_owner: str | None = None
    lease_until: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    ending: BatchEnding = "succeeded"
    failure: JobFailure | None = None
    uploads: Mapping[str, str] = field(default_factory=dict)
    """Multipart uploads in progress, by the file's name."""
    files: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each file that the finisher wrote, by its name."""
    due_at: float | None = None

    @property
    def total(self) -> int:
        """Lines that are requests: blank ones are taken off as they are found."""
        return self.cursor.lines - self.blank


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one run of a chunk wrote: three files under `prefix`, those of zero bytes do not exist."""

    prefix: str
    output_bytes: int
    errors_bytes: int
    refused_bytes: int
    """The lines that failed, as they came: the input of a retry."""
    succeeded: int
    failed: int
    blank: int


class Place(NamedTuple):
    """A position in the input: a byte, and the number of the line that begins there."""

    offset: int
    line: int


FIRST_LINE: Final = Place(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """Lines `begin.line` and on, bytes `begin.offset` to `end` of the input."""

    index: int
    begin: Place
    end: int
    lines: int
    status: str = "open"
    """`open`, `running` or `done`."""
    attempt: int = 0
    fence: int = 0
    lease_until: float = 0.0
    next: Place = FIRST_LINE
    """Where the next run goes on; parts hold what came before."""
    parts: Sequence[Part] = ()

    @property
    def prefix(self) -> str:
        """Where a run under this fence writes, below the batch's own prefix."""
        return f"parts/{self.index:05d}/{self.fence}"


@dataclass(frozen=True, slots=True)
class Leased:
    """The lease is the caller's; `row.fence` is the token of every later write."""

    row: BatchRow


@dataclass(frozen=True, slots=True)
class ChunkClaimed:
    """The chunk is the caller's under `chunk.fence`."""

    chunk: ChunkRow


@dataclass(frozen=True, slots=True)
class Held:
    """Another owner has it until then."""

    until: float


@dataclass(frozen=True, slots=True)
class NotOpen:
    """There is nothing to do: ended, at another step, or absent."""


BatchLease = Leased | Held | NotOpen
ChunkClaim = ChunkClaimed | Held | NotOpen


@dataclass(frozen=True, slots=True)
class BatchList:
    """Batches of a tenant, newest first."""

    rows: Sequence[BatchRow]
    cursor: str | None


class BatchStore(Protocol):
    """Every method is one conditional write or one read, except `chunks`, which reads page by page.

    A write says False where its condition does not hold; then nothing changed. Raises
    `StoreUnavailableError` when the store cannot be reached.
    """

    def create(self, row: BatchRow) -> BatchRow | None:
        """Keep a new batch; gives the row that has the key already, or None."""

    def get(self, key: BatchKey) -> BatchRow | None:
        """The row, read consistently."""

    def list(self, tenant: str, *, cursor: str | None = None, limit: int = 50) -> BatchList:
        """Batches of a tenant; raises `InvalidRequestError` for a cursor that is none of its own."""

    def due(self, *, now: float, limit: int) -> Sequence[BatchRow]:
        """Batches that somebody must look at by now, oldest first."""

    def counted(self, tenant: str, *, up_to: int) -> int:
        """How many batches of the tenant have not ended; `up_to` where there are more.

        As an index knows it, which may be some moments behind.
        """

    def lease(
        self, key: BatchKey, *, step: BatchStatus, owner: str, until: float, now: float
    ) -> BatchLease:
        """Take the lease of a batch that is at `step` (`validating` or `finalizing`)."""

    def release(self, key: BatchKey, *, fence: int, due_at: float) -> bool:
        """Give the lease up."""

    def add_chunks(
        self,
        row: BatchRow,
        chunks: Sequence[ChunkRow],
        *,
        cursor: Cursor,
        etag: str,
        input_bytes: int,
    ) -> bool:
        """Keep up to 90 chunks and move the cursor, all or nothing, under the row's fence."""

    def split(self, key: BatchKey, *, fence: int, due_at: float) -> bool:
        """All chunks are there: wait for the start."""

    def start(self, key: BatchKey, *, now: float, due_at: float) -> bool:
        """Begin to run a scheduled batch."""

    def dispatched(self, key: BatchKey, *, chunks: int) -> bool:
        """The broker has the messages of the first so many chunks."""

    def claim_chunk(
        self, key: BatchKey, index: int, *, owner: str, until: float, now: float
    ) -> ChunkClaim:
        """Take the lease of a chunk; charges an attempt, whatever their number."""

    def release_chunk(self, key: BatchKey, index: int, *, fence: int, charged: bool) -> bool:
        """Hand a chunk back."""

    def publish(
        self, key: BatchKey, chunk: ChunkRow, part: Part, *, upto: Place, now: float
    ) -> bool:
        """Publish what a run wrote and add it to the batch's counts, at once.

        The chunk is done at its end; before it, it is open again and its attempts begin anew.
        """

    def chunks(self, key: BatchKey, *, first: int = 0) -> Iterator[ChunkRow]:
        """The chunks in order, read page by page."""

    def finalize(self, key: BatchKey, *, ending: BatchEnding, now: float) -> bool:
        """End the running: every chunk is done, or (canceled, expired) none goes on."""

    def end(
        self,
        key: BatchKey,
        *,
        status: BatchStatus,
        now: float,
        failure: JobFailure | None = None,
    ) -> bool:
        """End a batch that has not begun to run."""

    def uploads(self, key: BatchKey, *, fence: int, uploads: Mapping[str, str]) -> bool:
        """Note the uploads in progress, so that another finisher goes on with them."""

    def finish(self, key: BatchKey, *, fence: int, files: Mapping[str, int], now: float) -> bool:
        """Publish the joined files."""

    def postpone(self, key: BatchKey, *, due_at: float) -> None:
        """Look again later."""
