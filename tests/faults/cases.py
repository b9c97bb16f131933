"""What the cases with real workers have in common: submit, hold a worker up, wait for the end."""

from __future__ import annotations

import json
import time

from shared.jobs.submission import Submission
from tests.faults.process import BROKEN
from tests.faults.stage import FUNCTION_TIMEOUT_S, TENANT, wait_for
from tests.fixtures.invariants import check_settled
from tests.fixtures.job_desk import tensor_body

LEASE_S = FUNCTION_TIMEOUT_S + 5
"""What a worker takes: what is left of its invocation, and five seconds."""


def submit(stage, values, *, model="plain", **options):
    """Accept a job of one row; gives its key."""
    submission = Submission(model=model, body=tensor_body([values]), **options)
    return stage.jobs.submit(submission, tenant=TENANT).row.key


def hold(stage, worker):
    """Models that can be held up wait in this worker until `let_go`."""
    (stage.folder / f"hold-{worker.pid}").touch()


def let_go(stage, worker):
    (stage.folder / f"hold-{worker.pid}").unlink()


def entered(stage, worker):
    """Whether the worker is in the midst of a job of the model that can be held up."""
    return (stage.folder / f"entered-{worker.pid}").exists()


def start_held(stage, **variables):
    """A worker that will stand still in its first job of `slow`."""
    worker = stage.start("worker", **variables)
    hold(stage, worker)
    wait_for(worker.ready, what="the worker is ready")
    return worker


def wait_settled(stage, keys, *, timeout_s=60):
    """Wait until the jobs have ended and no message is left, and hold what holds then."""

    def settled():
        stage.check_alive()
        rows = [stage.row(key) for key in keys]
        ended = all(row.finished_at is not None and not row.webhook_unsent for row in rows)
        return ended and stage.queue.depth() == 0

    wait_for(settled, what="every job ends", timeout_s=timeout_s, pause_s=0.3)
    assert BROKEN not in stage.logs("worker")
    assert stage.dead.depth() == 0
    return check_settled(stage.rows(), keys, now=time.time(), queue_depth=stage.queue.depth())


def outcomes(stage, key):
    """What workers said of a job, in the order of their starts."""
    lines = [line for line in stage.logs("worker").splitlines() if line.startswith("{")]
    said = [json.loads(line) for line in lines]
    return [line["outcome"] for line in said if line.get("job_id") == key.id]
