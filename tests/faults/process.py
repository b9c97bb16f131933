"""One process of the queue lane under test: `python process.py ROLE`, told by its environment.

    worker, webhooks              the real entry point behind an event source on its real queue
    sweeper                       the real entry point, called every SWEEP_EVERY_S seconds
    submitter                     accepts the jobs of the storm, as the functions that accept them do
    chunks, splitter, finisher    the entry points of batches behind their queues
    forgotten                     the finisher's, called every SWEEP_EVERY_S seconds without a message

It may be killed at any moment. It ends by itself when whoever started it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import SimpleNamespace

from aws_lambda_powertools import Logger

from cli.testing.event_source import EventSource
from cli.testing.lambdas import LocalFunction
from shared.aws import make_client
from shared.errors import UnavailableError
from shared.jobs.delivery import PoisonError, read_message
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.results.store import JobKey
from shared.schema.status import TERMINAL

IDLE_S = 0.1
say = partial(print, flush=True)
READY = "· ready"
BROKEN = "· acknowledged and unfinished:"


class WatchedQueue(SqsQueue):
    """The worker's queue; before a message goes, its job must have ended."""

    def __init__(self, client, *, url, store):
        super().__init__(client, url=url)
        self._store = store

    def acknowledge(self, delivery):
        key = _job_of(delivery)
        if key is not None:
            row = self._store.get(key)
            if row is not None and row.status not in TERMINAL:
                say(BROKEN, key, row.status)
        super().acknowledge(delivery)


def _job_of(delivery):
    try:
        message = read_message(delivery.body)
    except PoisonError:
        return None
    return message if isinstance(message, JobKey) else JobKey("default", message.id)


def work():
    store = DynamoJobStore(make_client("dynamodb"), table=os.environ["JOBS_TABLE"], clock=time.time)
    url = os.environ["CONSUMED"]
    queue = WatchedQueue(make_client("sqs"), url=url, store=store)
    _consume("functions.queue_worker.handler", queue, url)


def tell():
    url = os.environ["WEBHOOKS_QUEUE"]
    _consume("functions.webhooks.handler", SqsQueue(make_client("sqs"), url=url), url)


def run_chunks():
    url = os.environ["CHUNKS_QUEUE"]
    _consume("functions.queue_worker.handler", SqsQueue(make_client("sqs"), url=url), url)


def split():
    """The entry point of the splitter, with chunks of CHUNK_BYTES."""
    name, url = "functions.batch_splitter.handler", os.environ["SPLIT_QUEUE"]
    entry = import_module(name)
    handler = import_module("functions.batch_splitter.service").make_handler(
        replace(entry._splitter.worker, chunk_bytes=int(os.environ["CHUNK_BYTES"])),
        entry._splitter.batches,
        logger=Logger(service="laneway-batch-splitter"),
        margin_s=0.5,
        digests={},
    )
    _consume(name, SqsQueue(make_client("sqs"), url=url), url, handler)


def finish():
    """The entry point of the finisher; DIE_AT, `before:UploadPart`, names the call of S3 that it dies at."""
    name, url = "functions.batch_finisher.handler", os.environ["FINISH_QUEUE"]
    if die_at := os.environ.get("DIE_AT"):
        when, operation = die_at.split(":")
        events = import_module(name)._finisher.worker.objects._client.meta.events
        events.register(f"{when}-call.s3.{operation}", _die)
    _consume(name, SqsQueue(make_client("sqs"), url=url), url)


def _die(**_):
    os.kill(os.getpid(), signal.SIGKILL)


def remember():
    _repeat(
        "functions.batch_finisher.handler",
        SimpleNamespace(aws_request_id="sweep", get_remaining_time_in_millis=lambda: 10_000),
    )


def _consume(module, queue, url, handler=None):
    handler = handler or import_module(module).handler
    timeout_s = float(os.environ["FUNCTION_TIMEOUT_S"])
    function = LocalFunction(module, handler, timeout_s=timeout_s)
    source = EventSource(queue, function, name=url.rpartition("/")[2])
    say(READY)
    while True:
        try:
            poll = source.poll()
        except UnavailableError as error:
            say("·", type(error).__name__)
            poll = None
        if poll is None:
            time.sleep(IDLE_S)
        elif poll.error is not None:
            say("·", type(poll.error).__name__, poll.error)
        source.polls.clear()


def sweep():
    where = "tests.faults.brokered" if "AMQP_URL" in os.environ else "functions.sweeper.handler"
    _repeat(where, SimpleNamespace(aws_request_id="sweep"))


def _repeat(module, context):
    handler = import_module(module).handler
    say(READY)
    while True:
        try:
            handler({}, context)
        except UnavailableError as error:
            say("·", type(error).__name__)
        time.sleep(float(os.environ["SWEEP_EVERY_S"]))


def submit():
    storm = import_module("tests.faults.storm")
    say(READY)
    storm.submit_all(storm.Storm.from_env(os.environ))


def _end_with_owner():
    """Standard input closes when the process that started this one ends, however it ends."""
    sys.stdin.buffer.read()
    os._exit(0)


ROLES = {
    "worker": work,
    "webhooks": tell,
    "sweeper": sweep,
    "submitter": submit,
    "chunks": run_chunks,
    "splitter": split,
    "finisher": finish,
    "forgotten": remember,
}

if __name__ == "__main__":
    threading.Thread(target=_end_with_owner, daemon=True).start()
    ROLES[sys.argv[1]]()
