"""One process of the queue lane under test: `python process.py ROLE`, told by its environment.

    worker, webhooks   the real entry point behind an event source on its real queue
    sweeper            the real entry point, called every SWEEP_EVERY_S seconds
    submitter          accepts the jobs of the storm, as the functions that accept them do

It may be killed at any moment. It ends by itself when whoever started it is gone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import partial
from importlib import import_module
from types import SimpleNamespace

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


def _consume(module, queue, url):
    handler = import_module(module).handler
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
    handler = import_module("functions.sweeper.handler").handler
    say(READY)
    while True:
        try:
            handler({}, SimpleNamespace(aws_request_id="sweep"))
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


ROLES = {"worker": work, "webhooks": tell, "sweeper": sweep, "submitter": submit}

if __name__ == "__main__":
    threading.Thread(target=_end_with_owner, daemon=True).start()
    ROLES[sys.argv[1]]()
