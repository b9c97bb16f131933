"""Workers that die, linger or meet poison: each accepted job ends once, and its neighbours are not hurt.

Over Lambda's event source and over RabbitMQ. A worker that ends is here one in Lambda, whose batch comes back
whole: the long-lived worker's process is killed in `tests/faults`, on both brokers.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.results.store import JobFailure, RunFacts
from tests.fixtures.job_desk import TENANT, Desk, tensor_body
from tests.fixtures.job_rows import result_of
from tests.fixtures.small_models import write_model, write_repository

pytestmark = pytest.mark.rabbitmq

KILLER = '''"""Ends the process on one text: what the system does to a worker that takes all its memory."""

import numpy as np


def preprocess(inputs):
    if any(text == b"kill" for text in inputs["text"]):
        raise SystemExit("out of memory")
    return {"x": np.array([[len(text), 1.0] for text in inputs["text"]], np.float32)}


def postprocess(outputs, graph_inputs):
    return {"doubled": outputs["y"][:, 0]}
'''


@pytest.fixture(scope="module")
def deadly_models(tmp_path_factory):
    """`small_models` and `killer`, whose transform ends the process."""
    import numpy as np  # noqa: PLC0415  for one constant
    from onnx import helper, numpy_helper  # noqa: PLC0415  for one graph

    folder = tmp_path_factory.mktemp("deadly") / "models"
    folder.mkdir()
    write_repository(folder)
    two = numpy_helper.from_array(np.full((1, 2), 2.0, np.float32), "two")
    double = helper.make_node("Mul", ["x", "two"], ["y"])
    write_model(folder, "killer", "1", ([double], [two]), x=("FP32", [-1, 2]), y=("FP32", [-1, 2]))
    (folder / "killer" / "transform.py").write_text(KILLER)
    with (folder / "killer" / "model.toml").open("a") as file:
        file.write('[[inputs]]\nname = "text"\ndatatype = "BYTES"\nshape = [-1]\n')
        file.write('[[outputs]]\nname = "doubled"\ndatatype = "FP32"\nshape = [-1]\n')
    return folder


def text_body(text):
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    return json.dumps({"inputs": [tensor]}).encode()


def live(desk, rounds):
    """What a stage lives through: deliveries, also those that kill the worker, time, sweeps.

    Gives how often a worker was killed.
    """
    killed = 0
    for _ in range(rounds):
        try:
            desk.start().drain()
        except SystemExit:
            killed += 1
        desk.clock.advance(400)
        desk.sweeper().sweep()
    return killed


def test_a_message_that_kills_every_worker_fails_and_takes_nobody_with_it(deadly_models):
    desk = Desk(deadly_models)
    good = [desk.submit(text_body("x" * n), model="killer") for n in range(1, 10)]
    bad = desk.submit(text_body("kill"), model="killer")

    killed = live(desk, rounds=8)

    assert killed == 3
    assert desk.row(bad).failure.code == "attempts_exhausted"
    assert all(desk.row(key).attempt <= 2 for key in good)
    assert desk.check_settled([*good, bad]) == {"succeeded": 9, "failed": 1}
    assert [json.loads(desk.result(key))["outputs"][0]["data"] for key in good] == [
        [2.0 * n] for n in range(1, 10)
    ]


def test_several_killers_in_one_delivery_end_too(deadly_models):
    desk = Desk(deadly_models)
    keys = [
        desk.submit(text_body(text), model="killer") for text in ("kill", "a", "kill", "b", "kill")
    ]

    live(desk, rounds=16)

    assert desk.check_settled(keys) == {"succeeded": 2, "failed": 3}


class DyingStore:
    """The desk's store in a process that ends at the nth result that it would publish."""

    def __init__(self, store, published):
        self._store = store
        self._left = published

    def __getattr__(self, name):
        return getattr(self._store, name)

    def succeed(self, *arguments, **named):
        if self._left == 0:
            raise SystemExit("killed")
        self._left -= 1
        return self._store.succeed(*arguments, **named)


def test_a_worker_that_dies_after_three_of_ten_leaves_seven_to_the_next(small_models):
    desk = Desk(small_models)
    keys = [desk.submit(tensor_body([[float(n), 1.0]])) for n in range(10)]
    whole = desk.worker
    desk.worker = replace(whole, store=DyingStore(desk.store, 3))
    with pytest.raises(SystemExit):
        desk.start().drain()
    desk.worker = whole
    done = {key: desk.row(key) for key in keys if desk.row(key).status == "succeeded"}
    desk.check(keys)
    assert len(done) == 3

    live(desk, rounds=2)

    assert {key: desk.row(key) for key in done} == done
    assert sorted(desk.row(key).attempt for key in keys) == [1] * 3 + [2] * 7
    assert desk.check_settled(keys) == {"succeeded": 10}


def test_a_worker_that_lingers_past_its_lease_publishes_nothing(small_models, make_desk):
    desk = make_desk(small_models)
    key = desk.submit(tensor_body([[1.0, 2.0]]), webhook="https://example.org/hook")
    zombie = desk.store.claim(key, owner="zombie", lease_until=desk.clock() + 30, now=desk.clock())
    desk.clock.advance(31)
    desk.start().drain()
    published = desk.row(key)

    fence, now = zombie.row.fence, desk.clock()
    facts = RunFacts(queue_ms=1, run_ms=1, rows_stacked=1)
    failure = JobFailure(status_code=500, code="late", error="late")
    assert not desk.store.succeed(key, fence=fence, result=result_of(), facts=facts, now=now)
    assert not desk.store.fail(key, fence=fence, failure=failure, facts=None, now=now)
    assert not desk.store.release(key, fence=fence, now=now)

    assert desk.row(key) == published
    assert desk.events.depth() == 1
    assert desk.check_settled([key]) == {"succeeded": 1}


class Interloper:
    """The desk's store, where another worker takes the job over just before the result is published."""

    def __init__(self, desk):
        self._desk = desk

    def __getattr__(self, name):
        return getattr(self._desk.store, name)

    def succeed(self, key, **named):
        desk = self._desk
        desk.clock.advance(100)
        desk.store.claim(key, owner="other", lease_until=desk.clock() + 60, now=desk.clock())
        return desk.store.succeed(key, **named)


def test_a_lost_lease_drops_the_result_and_the_new_owner_s_stands(small_models, make_desk):
    desk = make_desk(small_models)
    key = desk.submit(tensor_body([[1.0, 2.0]]))
    whole = desk.worker
    desk.worker = replace(whole, store=Interloper(desk))

    desk.start().drain()

    assert desk.waiting() == 0
    assert [facts.outcome for facts in desk.reporter.jobs] == ["lost"]
    assert (desk.row(key).status, desk.row(key).lease_owner) == ("running", "other")
    desk.worker = whole
    live(desk, rounds=3)
    assert desk.check_settled([key]) == {"succeeded": 1}


def test_a_job_canceled_while_it_runs_stays_canceled(small_models, make_desk):
    desk = make_desk(small_models)
    key = desk.submit(tensor_body([[1.0, 2.0]]))

    class Canceling(Interloper):
        def succeed(self, key, **named):
            desk.store.cancel(key, now=desk.clock())
            return desk.store.succeed(key, **named)

    desk.worker = replace(desk.worker, store=Canceling(desk))
    desk.start().drain()

    assert desk.check_settled([key]) == {"canceled": 1}
    assert desk.row(key).result is None


def test_nine_of_ten_succeed_beside_poison(small_models, make_desk):
    desk = make_desk(small_models)
    keys = [desk.submit(tensor_body([[float(n), 1.0]])) for n in range(9)]
    desk.drop('{"schema_version": 2, "model": "scale"}')

    desk.start().drain()

    assert desk.dead.depth() == 1
    assert desk.check_settled(keys) == {"succeeded": 9}


def test_three_hundred_jobs_delivered_out_of_order_and_twice_end_once_each(small_models, make_desk):
    desk = make_desk(small_models, batch_size=100)
    keys = [desk.submit(tensor_body([[float(n), 1.0]]), job_id=f"n{n}") for n in range(300)]
    for key in reversed(keys):
        desk.drop({"schema_version": 1, "job": {"tenant": TENANT, "id": key.id}})

    live(desk, rounds=3)

    outcomes = [facts.outcome for facts in desk.reporter.jobs]
    assert outcomes.count("succeeded") == 300
    assert desk.check_settled(keys) == {"succeeded": 300}
    assert all(desk.row(key).attempt == 1 for key in keys)
