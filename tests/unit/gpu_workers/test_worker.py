"""The worker on its threads: what it runs together, what it gives back, and what it never takes."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from gpu_workers.health import answering
from gpu_workers.intake import Intake
from shared.errors import StoreUnavailableError
from shared.inference.batching import Stacker
from shared.inference.loading import load_model
from shared.inference.sessions import Sessions
from shared.jobs.messages import reference
from shared.jobs.submission import Submission
from shared.queues.memory import MemoryQueue
from shared.results.memory import MemoryJobStore
from shared.results.rows import JobKey
from shared.routing.lane import GPU_QUEUES, of_queue
from tests.fixtures.job_desk import tensor_body
from tests.fixtures.worker_desk import POOL, TENANT, WorkerDesk, wait_for, write_heavy_models

FOR_EVER = 1e12


def busy(desk, worker, **options):
    """A job that keeps the device until it is canceled; gives its key once it runs."""
    key = desk.loop(FOR_EVER, **options)
    wait_for(lambda: any(item.started for item in worker.core.hand.all()))
    return key


def tried_before(desk):
    """A job whose first attempt ended with its worker; there is no message of it."""
    submission = Submission(model="scale", body=tensor_body([[1.0, 2.0]]))
    key, now = JobKey(TENANT, "tried"), desk.clock()
    desk.store.create(desk.jobs.new_row(submission, key=key, now=now))
    claim = desk.store.claim(key, owner="died", lease_until=now + 1, now=now)
    desk.store.release(key, fence=claim.row.fence, now=now, charged=True)
    return key


def free(desk, key):
    desk.store.cancel(key, now=desk.clock())


def stacked(desk, keys):
    return [desk.row(key).facts.rows_stacked for key in keys]


def test_jobs_are_answered_and_their_messages_gone(desk):
    with desk.running():
        keys = [desk.submit(tensor_body([[float(n), 1.0]])) for n in range(30)]
        desk.wait_ended(keys)
        assert desk.check_settled(keys) == {"succeeded": 30}
    assert [desk.values(key) for key in keys] == [[2.0 * n, 2.0] for n in range(30)]
    assert {row.fence for row in desk.rows()} == {1}


@pytest.mark.parametrize("gone", [{"model": "nobody"}, {"version": "9"}])
def test_jobs_of_what_a_deployment_took_away_keep_no_others_waiting(desk, gone):
    submission = Submission(model="scale", body=tensor_body([[1.0, 2.0]]))
    rows = [
        replace(desk.jobs.new_row(submission, key=JobKey(TENANT, name), now=desk.clock()), **gone)
        for name in ("one", "two")
    ]
    with desk.running():
        for row in rows:
            desk.store.create(row)
            desk.queues[POOL, "async"].send(reference(row.key), tenant=TENANT)
        after = desk.submit()
        keys = [after, *(row.key for row in rows)]
        desk.wait_ended(keys)
        assert desk.check_settled(keys) == {"succeeded": 1, "failed": 2}


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="a policy of Linux")
def test_what_wakes_beside_the_devices_thread_does_not_interrupt_it(desk):
    with desk.running():
        desk.wait_ended([desk.submit()])
        policies = {
            thread.name.partition("-")[2].partition("-")[0]: os.sched_getscheduler(thread.native_id)
            for thread in threading.enumerate()
            if thread.name.startswith("laneway-")
        }

    assert {name: policies[name] for name in ("receive", "publish", "heartbeat")} == {
        "receive": os.SCHED_BATCH,
        "publish": os.SCHED_BATCH,
        "heartbeat": os.SCHED_BATCH,
    }
    assert (policies["device"], policies["load"]) == (os.SCHED_OTHER, os.SCHED_OTHER)


def test_what_arrives_while_the_device_is_busy_runs_together_when_it_is_free(desk):
    desk.lease_s = 1.5
    with desk.running() as worker:
        blocker = busy(desk, worker)
        keys = [desk.submit() for _ in range(8)]
        wait_for(lambda: worker.core.hand.claimed() == 9)
        assert {desk.row(key).status for key in keys} == {"running"}
        free(desk, blocker)
        desk.wait_ended(keys)
        assert stacked(desk, keys) == [8] * 8


def test_a_job_alone_does_not_wait_for_others_longer_than_its_models_delay(desk):
    with desk.running():
        first = desk.submit()
        desk.wait_ended([first])
        assert stacked(desk, [first]) == [1]


def test_an_input_that_breaks_a_stack_fails_its_own_job_alone(desk):
    def index(value):
        tensor = {"name": "x", "shape": [1], "datatype": "INT64", "data": [value]}
        return desk.submit(json.dumps({"inputs": [tensor]}).encode(), model="table")

    keys = [index(value) for value in (0, 1, 99, 2)]
    with desk.running():
        desk.wait_ended(keys)
        assert desk.check_settled(keys) == {"succeeded": 3, "failed": 1}
    assert desk.row(keys[2]).failure.code == "signature_mismatch"
    assert [desk.values(key) for key in (keys[0], keys[1], keys[3])] == [[10.0], [20.0], [30.0]]


def test_lower_queues_are_served_while_the_upper_ones_are_full(desk):
    order = []

    class Recording(MemoryJobStore):
        def succeed(self, key, **told):
            order.append(self.get(key).queue)
            return super().succeed(key, **told)

    desk = WorkerDesk(desk.models, lease_s=1.5, store=Recording(clock=time.time))
    with desk.running() as worker:
        blocker = busy(desk, worker)
        keys = []
        for name in GPU_QUEUES:
            latency_class, priority = of_queue(name)
            many = 80 if name == GPU_QUEUES[0] else 6
            keys += [
                desk.submit(model="single", kind=latency_class, priority=priority)
                for _ in range(many)
            ]

        def ready():
            held = worker.core.hand.all()
            return Counter(item.queue for item in held if item.placed and not item.started)

        wait_for(lambda: set(ready()) == set(GPU_QUEUES) and ready()[GPU_QUEUES[0]] >= 10)
        free(desk, blocker)
        desk.wait_ended(keys)
        assert desk.check_settled([*keys, blocker]) == {"succeeded": len(keys), "canceled": 1}
    lowest = [place for place, name in enumerate(order) if name == "batch"]
    assert sum(name == "async-high" for name in order[: lowest[5]]) < 80, "the upper one was first"
    assert order[:20].count("async-high") >= 10


def test_other_models_run_while_one_is_loaded(tmp_path):
    desk = WorkerDesk(write_heavy_models(tmp_path / "models", late=True))
    late = [desk.submit(model="late") for _ in range(2)]
    with desk.running() as worker:
        try:
            keys = [desk.submit() for _ in range(3)]
            desk.wait_ended(keys)
            assert {desk.row(key).finished_at for key in late} == {None}
            assert not worker.ready()
        finally:
            (desk.models / "late" / "go").touch()
        desk.wait_ended(late)
        assert worker.ready()
        assert desk.check_settled([*keys, *late]) == {"succeeded": 5}


def test_jobs_of_many_models_on_one_queue_run_in_full_stacks(tmp_path):
    models = [f"more-{number}" for number in range(12)]
    desk = WorkerDesk(write_heavy_models(tmp_path / "models", more=len(models)), lease_s=1.5)
    with desk.running() as worker:
        wait_for(worker.ready)
        blocker = busy(desk, worker)
        keys = [desk.submit(model=model) for _ in range(8) for model in models]
        wait_for(lambda: worker.core.hand.claimed() == 1 + len(keys))
        free(desk, blocker)
        desk.wait_ended(keys)
        assert stacked(desk, keys) == [8] * len(keys)


def test_models_that_jobs_hold_stay_within_the_devices_memory(desk):
    sizes, budget_bytes = [], desk.catalog.find("loop", None)[1].size_bytes
    keys = [desk.submit(model=model) for _ in range(12) for model in ("scale", "single")]
    keys += [desk.loop(1) for _ in range(3)]
    with desk.running(desk.make(sessions=counted(desk, sizes, budget_bytes))):
        desk.wait_ended(keys)
        assert desk.check_settled(keys) == {"succeeded": 27}
    assert sizes
    assert max(sizes) <= budget_bytes


def test_a_model_that_there_is_no_room_for_is_loaded_before_further_jobs_of_those_in_its_way(desk):
    sizes, budget_bytes = [], desk.catalog.find("loop", None)[1].size_bytes
    worker = desk.make(sessions=counted(desk, sizes, budget_bytes))
    with desk.running(worker):
        wait_for(worker.ready)
        with worker.core.worker.sessions.use(
            "scale", "1"
        ):  # as a job does that waits for the device
            wanted = desk.loop(1)
            wait_for(lambda: worker.loader.takes(("scale", "1")))
            later = desk.submit()
            wait_for(lambda: ("scale", "1") in worker.loader.models())
        desk.wait_ended([wanted, later])
    assert desk.row(wanted).finished_at < desk.row(later).finished_at
    assert max(sizes) <= budget_bytes


def counted(desk, sizes, budget_bytes):
    """Sessions that count models by their files; `sizes`: of all that are loaded, after each load."""

    def load(name, version):
        model, spec = desk.catalog.find(name, version)
        served = load_model(desk.models.parent, model, spec, resident=lambda: 0)
        sizes.append(sessions.size_bytes + served.size_bytes)
        return served

    sessions = Sessions(
        load,
        budget_bytes=budget_bytes,
        estimate_bytes=lambda name, version: desk.catalog.find(name, version)[1].size_bytes,
    )
    return sessions


def test_a_drain_does_not_wait_for_a_model_that_is_being_loaded(tmp_path):
    desk = WorkerDesk(write_heavy_models(tmp_path / "models", late=True))
    key = desk.submit(model="late")
    worker = desk.make()
    try:
        with desk.running(worker):
            wait_for(worker.core.hand.claimed)
            worker.drain(60.0)
            wait_for(lambda: worker.drained_ms() > 0)
            row = desk.row(key)
        assert (row.status, row.attempt) == ("queued", 0)
    finally:
        (desk.models / "late" / "go").touch()


def test_a_drain_does_not_hand_back_what_waited_for_a_model_and_has_ended(heavy_models):
    released = []

    class Recording(MemoryJobStore):
        def release(self, key, **told):
            released.append(key)
            return super().release(key, **told)

    desk = WorkerDesk(heavy_models, store=Recording(clock=time.time), preload=())
    with desk.running(desk.make(sessions=counted(desk, [], budget_bytes=0))):
        key = desk.submit()
        desk.wait_ended([key])
        wait_for(lambda: desk.depth() == 0)
    assert released == []


def test_a_job_that_was_tried_before_runs_alone_when_nothing_else_is_claimed(desk):
    desk.lease_s = 1.5
    again = tried_before(desk)
    with desk.running() as worker:
        blocker = busy(desk, worker, kind="batch")
        desk.queues[POOL, "async"].send(reference(again), tenant=TENANT)
        keys = [desk.submit() for _ in range(3)]
        wait_for(lambda: worker.core.hand.claimed() == 4)
        assert desk.row(again).status == "queued"
        wait_for(lambda: worker.core.again)
        assert desk.row(again).attempt == 1
        free(desk, blocker)
        desk.wait_ended([again, *keys])
        assert desk.check_settled([again, *keys]) == {"succeeded": 4}
    assert desk.row(again).attempt == 2
    assert stacked(desk, [again]) == [1]
    assert desk.row(again).started_at >= max(desk.row(key).finished_at for key in keys) - 0.01


class ClaimsStopped(MemoryJobStore):
    """Stops in the claim of one job, until it is let go."""

    def __init__(self, **options):
        super().__init__(**options)
        self.stopped_for = None
        self.entered, self.go = threading.Event(), threading.Event()

    def claim(self, key, **options):
        claim = super().claim(key, **options)
        if key == self.stopped_for:
            self.entered.set()
            assert self.go.wait(20)
        return claim


def test_nothing_is_being_claimed_while_a_job_that_was_tried_before_runs(heavy_models):
    store = ClaimsStopped(clock=time.time)
    desk = WorkerDesk(heavy_models, store=store)
    again, first = tried_before(desk), desk.submit(kind="batch")
    store.stopped_for = first
    with desk.running() as worker:
        assert store.entered.wait(20)
        desk.queues[POOL, "async"].send(reference(again), tenant=TENANT)
        wait_for(lambda: worker.core.again)
        wait_for(lambda: not worker.core.gate.is_set())
        assert desk.row(again).attempt == 1
        store.go.set()
        desk.wait_ended([again, first])
    assert desk.row(again).started_at >= desk.row(first).finished_at - 0.01


def test_what_would_be_claimed_waits_until_a_job_that_was_tried_before_has_run(desk):
    worker = desk.make()
    worker.core.gate.clear()  # as the device does for such a job
    key = desk.submit()
    thread = threading.Thread(
        target=Intake(worker.core, None).take,
        args=("async", desk.queues[POOL, "async"].receive(limit=1, wait_s=0)),
    )
    thread.start()
    wait_for(lambda: len(worker.core.hand))
    assert desk.row(key).status == "queued"
    worker.core.draining.set()
    worker.core.gate.set()
    thread.join(20)
    assert (desk.row(key).status, desk.row(key).attempt) == ("queued", 0)
    assert len(worker.core.hand) == 0


def test_the_lease_of_a_long_run_is_kept(desk):
    desk.lease_s = 0.6
    with desk.running() as worker:
        key = busy(desk, worker)
        first = desk.row(key).lease_until
        wait_for(lambda: desk.row(key).lease_until > first + desk.lease_s)
        assert desk.row(key).status == "running"
        assert desk.queues[POOL, "async"].receive(limit=1, wait_s=0) == []
        free(desk, key)


def test_a_run_whose_lease_is_lost_is_stopped_and_publishes_nothing(desk):
    desk.lease_s = 0.9
    with desk.running() as worker:
        key = busy(desk, worker)
        row = desk.row(key)
        now = desk.clock()
        desk.store.release(key, fence=row.fence, now=now, charged=True)
        other = desk.store.claim(key, owner="other", lease_until=now + 60, now=now).row
        after = desk.submit()
        desk.wait_ended([after])
        wait_for(lambda: "lost" in [facts.outcome for facts in desk.reporter.jobs])
        kept = desk.row(key)
        assert (kept.status, kept.lease_owner, kept.fence) == ("running", "other", other.fence)


def test_a_job_whose_lease_is_lost_while_it_waits_is_not_run(desk):
    desk.lease_s = 0.9
    with desk.running() as worker:
        blocker = busy(desk, worker)
        key = desk.submit(model="single")
        wait_for(lambda: worker.core.hand.claimed() == 2)
        wait_for(worker.core.backlog.holds)
        row, now = desk.row(key), desk.clock()
        desk.store.release(key, fence=row.fence, now=now, charged=True)
        desk.store.claim(key, owner="other", lease_until=now + 60, now=now)
        wait_for(lambda: [item for item in worker.core.hand.all() if item.lost])
        free(desk, blocker)
        wait_for(lambda: worker.core.hand.claimed() == 0)
        (facts,) = [facts for facts in desk.reporter.jobs if facts.row.key == key]
        assert (facts.outcome, facts.run) == ("lost", None)


def test_a_defect_on_the_way_to_the_device_keeps_no_job_in_hand(desk, monkeypatch):
    def signature(self, prepared):  # noqa: ARG001  as the method that it replaces
        raise RuntimeError("a defect of ours")

    worker = desk.make()
    with monkeypatch.context() as patch, desk.running(worker):
        patch.setattr(Stacker, "signature", signature)
        key = desk.submit()
        wait_for(lambda: desk.reporter.defects)
        wait_for(lambda: len(worker.core.hand) == 0)
        assert (desk.row(key).status, desk.row(key).attempt) == ("queued", 0)


def test_a_canceled_job_frees_the_device(desk):
    desk.lease_s = 0.9
    with desk.running() as worker:
        key = busy(desk, worker)
        free(desk, key)
        after = desk.submit()
        desk.wait_ended([after])
        assert desk.row(key).status == "canceled"


def test_a_duplicate_message_runs_nothing(desk):
    with desk.running():
        key = desk.submit()
        desk.wait_ended([key])
        body = json.dumps({"schema_version": 1, "job": {"tenant": TENANT, "id": key.id}})
        desk.queues[POOL, "async"].send(body, tenant=TENANT)
        wait_for(lambda: "duplicate" in [facts.outcome for facts in desk.reporter.jobs])
        assert desk.check_settled([key]) == {"succeeded": 1}
    assert desk.row(key).attempt == 1


def test_a_message_that_cannot_be_read_is_buried(desk):
    desk.queues[POOL, "batch"].send("no json", tenant=TENANT)
    with desk.running():
        wait_for(lambda: desk.dead.depth() == 1 and desk.depth() == 0)


@pytest.mark.parametrize("queue", GPU_QUEUES)
def test_a_dropped_message_has_the_class_and_priority_of_its_queue(desk, queue):
    body = {"schema_version": 1, "id": "dropped", "model": "scale"}
    body["input"] = json.loads(tensor_body([[1.0, 2.0]]))
    with desk.running():
        desk.queues[POOL, queue].send(json.dumps(body), tenant=TENANT)
        wait_for(lambda: [row for row in desk.rows() if row.finished_at])
    [row] = desk.rows()
    assert (row.status, row.lane, row.queue) == ("succeeded", "gpu", queue)
    assert (row.latency_class, row.priority) == of_queue(queue)


def test_a_drain_finishes_what_is_in_hand_and_takes_no_more(desk):
    worker = desk.make()
    with desk.running(worker):
        running = busy(desk, worker)
        keys = [desk.submit() for _ in range(20)]
        wait_for(lambda: worker.core.hand.claimed() == 1 + len(keys))
        worker.drain(10.0)
        later = desk.submit()
        free(desk, running)
    assert {desk.row(key).status for key in keys} == {"succeeded"}
    row = desk.row(later)
    assert (row.status, row.attempt) == ("queued", 0)
    assert not worker.ready()


def test_a_drain_aborts_what_does_not_end_in_time_and_charges_nothing(desk):
    worker = desk.make()
    with desk.running(worker):
        running = busy(desk, worker)
        waiting = [desk.submit() for _ in range(3)]
        wait_for(lambda: worker.core.hand.claimed() == 4)
        worker.drain(600.0)
        worker.drain(0.5)  # a notice with less time than the first
        started_s = time.monotonic()
        wait_for(lambda: worker.drained_ms() > 0)
        assert time.monotonic() - started_s < 5
        rows = [desk.row(key) for key in (running, *waiting)]
    assert [(row.status, row.attempt) for row in rows] == [("queued", 0)] * 4
    found = [desk.queues[POOL, "async"].receive(limit=10, wait_s=0) for _ in range(2)]
    assert sum(map(len, found)) == 4, "the messages are visible at once"


def test_an_outage_of_the_store_charges_no_attempt(desk):
    class Failing(MemoryJobStore):
        down = threading.Event()

        def claim(self, key, **told):
            if self.down.is_set():
                raise StoreUnavailableError("down")
            return super().claim(key, **told)

    store = Failing(clock=time.time)
    desk = WorkerDesk(desk.models, store=store)
    keys = [desk.submit() for _ in range(6)]
    store.down.set()
    with desk.running() as worker:
        wait_for(lambda: worker.core.outage.pause_s > 0)
        store.down.clear()
        desk.wait_ended(keys, timeout_s=30)
        assert desk.check_settled(keys) == {"succeeded": 6}
    assert {desk.row(key).attempt for key in keys} == {1}


def test_inputs_in_memory_are_bounded(desk):
    body = tensor_body([[0.5, 1.0]] * 100)
    keys = [desk.submit(body, model="single") for _ in range(12)]
    size_bytes = desk.row(keys[0]).input.size_bytes
    worker = desk.make(inputs_bytes_max=3 * size_bytes)
    most = []
    hold = worker.core.hand.hold_bytes

    def measured(held, **told):
        found = hold(held, **told)
        most.append(sum(item.size_bytes for item in worker.core.hand.all()))
        return found

    worker.core.hand.hold_bytes = measured
    with desk.running(worker):
        desk.wait_ended(keys)
    assert 0 < max(most) <= 3 * size_bytes


def test_health_says_whether_the_worker_lives_and_takes_jobs(desk):
    worker = desk.make()
    checks = {"/health/live": worker.live, "/health/ready": worker.ready}
    with answering(0, checks) as port:

        def asked(path):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            status = connection.getresponse().status
            connection.close()
            return status

        assert asked("/health/ready") == 503
        with desk.running(worker):
            wait_for(lambda: asked("/health/ready") == 200)
            worker.drain(5.0)
            assert asked("/health/ready") == 503
        assert asked("/health/live") == 200
        assert asked("/else") == 404


def test_a_deep_queue_that_gives_ten_messages_a_call_is_asked_again_at_once(desk):
    asked = []

    class Tens(MemoryQueue):
        def receive(self, *, limit, wait_s):
            found = super().receive(limit=min(limit, 10), wait_s=wait_s)
            asked.append((limit, wait_s, len(found)))
            return found

    desk.queues[POOL, "async"] = Tens(clock=desk.clock)
    keys = [desk.submit() for _ in range(40)]
    with desk.running():
        desk.wait_ended(keys)
        assert desk.check_settled(keys) == {"succeeded": 40}
    assert [(limit, found) for limit, _, found in asked[:2]] == [(24, 10), (10, 10)]
    assert asked[1][1] == 0
