"""Jobs of unlike lengths on a gpu pool's worker: one kind, one run, each its own answer."""

from __future__ import annotations

import json

import pytest

from cli.models.lock import lock
from tests.fixtures.small_models import write_padded_models
from tests.fixtures.worker_desk import POOL, WorkerDesk, wait_for

LENGTHS = (5, 2, 16, 1, 5, 9)


@pytest.fixture(scope="module")
def padded_models(tmp_path_factory):
    folder = write_padded_models(
        tmp_path_factory.mktemp("padded") / "models", pool=POOL, compute="gpu"
    )
    lock(folder)
    return folder


def body(length):
    numbers = list(range(1, length + 1))
    inputs = [
        {"name": name, "shape": [1, length], "datatype": "INT64", "data": data}
        for name, data in (("x", numbers), ("mask", [1] * length))
    ]
    return json.dumps({"inputs": inputs}).encode()


def test_unlike_lengths_wait_as_one_kind_and_run_together(padded_models):
    desk = WorkerDesk(padded_models, preload=("total",))
    worker = desk.make()
    keys = [desk.submit(body(length), model="total") for length in LENGTHS]
    with desk.running(worker):
        desk.wait_ended(keys)
        wait_for(lambda: desk.depth() == 0)
    for key, length in zip(keys, LENGTHS, strict=True):
        outputs = json.loads(desk.row(key).result.payload.inline)["outputs"]
        numbers = range(1, length + 1)
        assert outputs[0]["data"] == [sum(numbers)]
        assert (outputs[1]["shape"], outputs[1]["data"]) == (
            [1, length],
            [2 * number for number in numbers],
        )
    assert max(desk.row(key).facts.rows_stacked for key in keys) == len(LENGTHS)
