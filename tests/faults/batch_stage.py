"""A stage with batches: table, queues and settings of theirs, and batches that a test makes."""

from __future__ import annotations

import time

import orjson

from shared.jobs.batches.files import file_key
from shared.jobs.batches.messages import batch_message
from shared.jobs.batches.submit import Batches
from shared.jobs.rules import JobRules
from shared.queues.sqs import SqsQueue
from shared.results.batches import BatchKey
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.batches_table import table_definition
from shared.results.objects_s3 import S3ObjectStore
from shared.schema.batch import BatchSubmission
from shared.schema.batch_status import BATCH_TERMINAL
from shared.settings.jobs import BatchFinisherSettings, BatchSplitterSettings
from tests.faults.stage import TENANT, Stage

ENDPOINT = "/v2/models/plain/infer"
MARGIN_MS = 500


class BatchStage(Stage):
    """Pool `shared` of stage `local`, and all that batches need."""

    kinds = ("async", "batch", "webhooks", "chunks", "split", "finish")

    def __init__(self, folder, models, access, *, chunk_bytes):
        super().__init__(folder, models, access)
        self.chunk_bytes = chunk_bytes
        table = self.worker_settings.batches_table
        self.dynamodb.create_table(**table_definition(table))
        self.batches = DynamoBatchStore(self.dynamodb, table=table)
        self.objects = S3ObjectStore(self.s3, bucket=self.bucket)
        queues = {kind: SqsQueue(self.sqs, url=self.urls[kind]) for kind in self.kinds}
        self.split, self.finish, self.chunks = (
            queues[kind] for kind in ("split", "finish", "chunks")
        )
        self.accept = Batches(
            catalog=self.catalog,
            store=self.batches,
            split=self.split,
            finish=self.finish,
            pools=frozenset({"shared"}),
            rules=JobRules.of(self.worker_settings),
            clock=time.time,
        )

    def environment(self, **variables):
        more = {"deadline_margin_ms": MARGIN_MS, **self._shared_settings}
        told = {
            **BatchSplitterSettings(**more).to_env(),
            **BatchFinisherSettings(**more).to_env(),
            "CHUNK_BYTES": self.chunk_bytes,
            "CHUNKS_QUEUE": self.urls["chunks"],
        }
        return super().environment(**{**told, **variables})

    def submit(self, data, name):
        """Accept a batch over these lines."""
        place = f"uploads/{TENANT}/{name}"
        self.objects.put(place, data, content_type="application/x-ndjson")
        submission = BatchSubmission(endpoint=ENDPOINT, input=f"s3://{self.bucket}/{place}")
        return self.accept.submit(submission, tenant=TENANT).row.key

    def tell_finisher(self, key):
        self.finish.send(batch_message(key), tenant=key.tenant)

    def unfinished(self, keys):
        """The batches that have not ended."""
        return [key for key in keys if self.batches.get(key).status not in BATCH_TERMINAL]

    def file(self, key, name):
        """The bytes of a file of a batch, as long as the row says."""
        size_bytes = self.batches.get(key).files.get(name, 0)
        data = b"".join(self.objects.read(file_key(key, name))) if size_bytes else b""
        assert len(data) == size_bytes
        return data

    def lines(self, key, name):
        return [orjson.loads(text) for text in self.file(key, name).splitlines()]

    def _more_settings(self):
        self._shared_settings = {
            "stage": "local",
            "jobs_table": self.table,
            "bucket": self.bucket,
            "queues": {"shared": {kind: self.urls[kind] for kind in ("async", "batch", "chunks")}},
            "batches_table": self.table.replace("-jobs", "-batches"),
            "split_queue": self.urls["split"],
            "finish_queue": self.urls["finish"],
        }
        return self._shared_settings


def batch_key(name):
    return BatchKey(TENANT, name)
