"""Removes what a stage keeps of one tenant: rows, objects with all their versions, signing secrets.

Its dead letters are removed by `cli.tenant_letters`.

Knows nothing of how far an earlier run came: it removes what it finds, in passes, until a pass finds nothing
and every run that it stopped must have ended. So it can be stopped anywhere and started again. Of a job that may
still have a message on a queue its id is left for as long as a message can be there, without anything else:
the message ends quietly by it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botocore.exceptions import ClientError

from cli.output import CommandError
from shared.aws import error_code
from shared.limits import JOB_TTL_S_MAX
from shared.results import batches_items, batches_table, items, table
from shared.results.rows import Payload, changed
from shared.schema.batch_status import BATCH_TERMINAL
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from shared.jobs.clock import Clock
    from shared.jobs.webhook_secrets import SsmSecretStore
    from shared.results.batches import BatchRow
    from shared.results.rows import JobRow

_T = TypeVar("_T")

PREFIXES: Final = ("inputs", "results", "uploads", "batches")
MESSAGE_S: Final = JOB_TTL_S_MAX + 24 * 3600
"""How long a message may lie on a queue of ours; stacks.parts.queue.RETENTION_S is the same, by a test."""
MARGIN_S: Final = 5.0
"""After a lease has lapsed: its holder may be writing its last object."""
PAUSE_S: Final = 5.0
PASSES_MAX: Final = 1000
_OBJECTS_AT_ONCE: Final = 1000
_ITEMS_AT_ONCE: Final = 25
_NOTHING: Final = Payload(size_bytes=0, sha256="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where the stage keeps what, and how it is reached."""

    dynamodb: Any = field(repr=False)
    s3: Any = field(repr=False)
    secrets: SsmSecretStore = field(repr=False)
    jobs_table: str
    batches_table: str
    bucket: str


class Erasure:
    """One tenant's. `told` hears of each thing that was removed, by its kind."""

    def __init__(
        self,
        kept: Kept,
        *,
        tenant: str,
        clock: Clock,
        sleep: Callable[[float], None],
        told: Callable[[str, int], None] = lambda _kind, _count: None,
    ) -> None:
        self._kept = kept
        self._tenant = tenant
        self._clock = clock
        self._sleep = sleep
        self._told = told
        self._busy_until = 0.0
        self.removed: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """Remove everything; gives how many of each kind.

        Raises `CommandError` where more goes on coming: somebody submits under this tenant.
        """
        for _ in range(PASSES_MAX):
            found = self.removed.total()
            self._jobs()
            self._batches()
            self._objects()
            if self.removed.total() == found:
                left_s = self._busy_until + MARGIN_S - self._clock()
                if not self._busy_until or left_s <= 0:
                    self._count("secrets", int(self._kept.secrets.remove(self._tenant)))
                    return self.removed
                self._sleep(min(PAUSE_S, left_s))
        raise CommandError(
            f"tenant {self._tenant} goes on submitting: revoke its keys (laneway keys revoke), then "
            "erase again"
        )

    def _count(self, kind: str, count: int = 1) -> None:
        if count:
            self.removed[kind] += count
            self._told(kind, count)

    # jobs

    def _jobs(self) -> None:
        for item in self._listed(self._kept.jobs_table, table.INDEX_KEYS[table.LISTED]):
            row = items.from_item(item)
            if row.status not in TERMINAL:
                self._busy_until = max(self._busy_until, row.lease_until)
            if self._has_message(row.created_at, row.status):
                done = self._stub_job(row)
            else:
                done = self._delete(self._kept.jobs_table, items.key_of(row.key))
            if done:
                self._count("jobs")
                self._count("canceled jobs", int(row.status not in TERMINAL))

    def _has_message(self, created_at: float, status: str) -> bool:
        """Whether a message of the job may be on a queue: its run would have acknowledged it."""
        return status not in {"succeeded", "failed"} and created_at > self._clock() - MESSAGE_S

    def _stub_job(self, row: JobRow) -> bool:
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
        seen = {":fence": {"N": str(row.fence)}, ":seen": {"S": row.status}}
        return self._put_stub(self._kept.jobs_table, item, seen)

    # batches

    def _batches(self) -> None:
        name = self._kept.batches_table
        for item in self._listed(name, batches_table.INDEX_KEYS[batches_table.LISTED]):
            row = batches_items.row_of(item)
            is_open = row.status not in BATCH_TERMINAL
            if is_open and not self._cancel_batch(row):
                continue  # it moved on meanwhile: the next pass meets it as it is then
            self._count("canceled batches", int(is_open))
            self._chunks(row)
            if row.created_at > self._clock() - MESSAGE_S:
                done = self._stub_batch(row)
            else:
                done = self._delete(name, batches_items.key_of(row.key))
            self._count("batches", int(done))

    def _cancel_batch(self, row: BatchRow) -> bool:
        """End it where it stands: no chunk publishes, and no finisher joins, from then on."""
        self._busy_until = max(self._busy_until, row.lease_until)
        return self._written(
            lambda: self._kept.dynamodb.update_item(
                TableName=self._kept.batches_table,
                Key=batches_items.key_of(row.key),
                UpdateExpression="SET #status = :canceled, finished_at = :now"
                " REMOVE due_at, lease_owner",
                ConditionExpression="#status = :seen AND fence = :fence",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":canceled": {"S": "canceled"},
                    ":now": batches_items.number(self._clock()),
                    ":seen": {"S": row.status},
                    ":fence": {"N": str(row.fence)},
                },
            )
        )

    def _chunks(self, row: BatchRow) -> None:
        """Before the row, by which a later run finds them."""
        keys = []
        for item in self._partition(str(row.key)):
            if item["sk"]["S"].startswith(batches_table.CHUNK_PREFIX):
                if item["status"]["S"] == "running":
                    until = float(item["lease_until"]["N"])
                    self._busy_until = max(self._busy_until, until)
                keys.append({name: item[name] for name in ("pk", "sk")})
        for some in _by(keys, _ITEMS_AT_ONCE):
            asked = [{"DeleteRequest": {"Key": key}} for key in some]
            while asked:
                answer = self._kept.dynamodb.batch_write_item(
                    RequestItems={self._kept.batches_table: asked}
                )
                asked = answer.get("UnprocessedItems", {}).get(self._kept.batches_table, [])
            self._count("chunks", len(some))

    def _stub_batch(self, row: BatchRow) -> bool:
        now = self._clock()
        status = row.status if row.status in BATCH_TERMINAL else "canceled"
        item = {
            **batches_items.key_of(row.key),
            **{name: batches_items.number(0) for name in _COUNTS},
            "status": batches_items.text(status),
            "about": batches_items.packed(
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
            "fence": batches_items.number(row.fence),
            "put_token": batches_items.text("erased"),
            "finished_at": batches_items.number(row.finished_at or now),
            batches_table.TTL_ATTRIBUTE: batches_items.number(int(now + MESSAGE_S)),
        }
        seen = {":fence": {"N": str(row.fence)}, ":seen": {"S": status}}
        return self._put_stub(self._kept.batches_table, item, seen)

    # what both tables have

    def _listed(self, name: str, keys: tuple[str, str]) -> Iterator[dict[str, Any]]:
        """The tenant's rows by the index, which may lag: a pass that changes nothing ends it."""
        pages = self._kept.dynamodb.get_paginator("query").paginate(
            TableName=name,
            IndexName="listed",
            KeyConditionExpression="#tenant = :tenant",
            ExpressionAttributeNames={"#tenant": keys[0]},
            ExpressionAttributeValues={":tenant": {"S": self._tenant}},
        )
        for page in pages:
            yield from page["Items"]

    def _partition(self, partition: str) -> Iterator[dict[str, Any]]:
        pages = self._kept.dynamodb.get_paginator("query").paginate(
            TableName=self._kept.batches_table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": partition}},
        )
        for page in pages:
            yield from page["Items"]

    def _put_stub(self, name: str, item: dict[str, Any], seen: Mapping[str, Any]) -> bool:
        """Put it over the row as it was seen; without what the index lists, no later pass meets it."""
        kept = {k: v for k, v in item.items() if k not in {"tenant", "listed_at", "shard"}}
        return self._written(
            lambda: self._kept.dynamodb.put_item(
                TableName=name,
                Item=kept,
                ConditionExpression="attribute_exists(listed_at) AND #status = :seen AND fence = :fence",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=dict(seen),
            )
        )

    def _delete(self, name: str, key: Mapping[str, Any]) -> bool:
        answer = self._kept.dynamodb.delete_item(
            TableName=name, Key=dict(key), ReturnValues="ALL_OLD"
        )
        return "Attributes" in answer

    def _written(self, write: Callable[[], object]) -> bool:
        try:
            write()
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True

    # objects

    def _objects(self) -> None:
        s3, bucket = self._kept.s3, self._kept.bucket
        for place in PREFIXES:
            prefix = f"{place}/{self._tenant}/"
            for page in s3.get_paginator("list_multipart_uploads").paginate(
                Bucket=bucket, Prefix=prefix
            ):
                for upload in page.get("Uploads", ()):
                    s3.abort_multipart_upload(
                        Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    self._count("unfinished uploads")
            for page in s3.get_paginator("list_object_versions").paginate(
                Bucket=bucket, Prefix=prefix
            ):
                every = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                named = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in every]
                for some in _by(named, _OBJECTS_AT_ONCE):
                    self._delete_objects(some)

    def _delete_objects(self, named: list[dict[str, str]]) -> None:
        answer = self._kept.s3.delete_objects(
            Bucket=self._kept.bucket, Delete={"Objects": named, "Quiet": True}
        )
        for error in answer.get("Errors", ()):
            raise CommandError(f"S3 does not delete {error['Key']}: {error['Code']}; erase again")
        self._count("object versions", len(named))


_COUNTS: Final = (
    *("lease_until", "split_offset", "chunks", "lines"),
    *("dispatched", "done_chunks", "succeeded", "failed", "blank"),
)


def _by(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    held = list(values)
    for start in range(0, len(held), size):
        yield held[start : start + size]
