"""Jobs of unlike lengths in one delivery: padded to run together, answered as the realtime call answers."""

from __future__ import annotations

import json

import pytest

from cli.models.lock import lock
from tests.fixtures.job_desk import Desk
from tests.fixtures.small_models import write_padded_models

LENGTHS = (5, 2, 9, 1, 5, 16, 3)


@pytest.fixture(scope="module")
def padded_models(tmp_path_factory):
    folder = write_padded_models(tmp_path_factory.mktemp("padded") / "models")
    lock(folder)
    return folder


@pytest.fixture
def desk(padded_models):
    return Desk(padded_models)


def body(length, *, datatype="INT64", masked=True):
    """A row of so many numbers, with a mask of ones where the model takes one."""
    whole = datatype == "INT64"
    data = [place * 3 + 1 if whole else float(place * 3 + 1) for place in range(length)]
    inputs = [{"name": "x", "shape": [1, length], "datatype": datatype, "data": data}]
    if masked:
        ones = [1] * length
        inputs.append({"name": "mask", "shape": [1, length], "datatype": "INT64", "data": ones})
    return json.dumps({"inputs": inputs}).encode()


def test_jobs_of_unlike_lengths_share_a_run_and_each_gets_the_realtime_answer(desk):
    bodies = [body(length) for length in LENGTHS]
    keys = [desk.submit(one, model="total") for one in bodies]

    [poll] = desk.start().drain()

    assert poll.failed == ()
    for key, one in zip(keys, bodies, strict=True):
        assert desk.row(key).facts.rows_stacked == len(LENGTHS)
        assert desk.result(key) == desk.realtime(one, model="total")
    assert desk.check_settled(keys) == {"succeeded": len(LENGTHS)}


def test_jobs_of_a_model_whose_answers_change_when_padded_run_apart(desk):
    bodies = [body(length, datatype="FP32", masked=False) for length in LENGTHS]
    keys = [desk.submit(one, model="mean") for one in bodies]

    desk.start().drain()

    for key, one, length in zip(keys, bodies, LENGTHS, strict=True):
        assert desk.row(key).facts.rows_stacked == LENGTHS.count(length)
        assert desk.result(key) == desk.realtime(one, model="mean")


def test_a_job_that_cannot_be_padded_fails_or_succeeds_alone(desk):
    good = [desk.submit(body(length), model="total") for length in (2, 4)]
    odd = json.loads(body(3))
    odd["inputs"][1] |= {"shape": [1, 2], "data": [1, 1]}
    bad = desk.submit(json.dumps(odd).encode(), model="total")

    desk.start().drain()

    assert desk.row(bad).failure.code == "signature_mismatch"
    assert [desk.row(key).facts.rows_stacked for key in good] == [2, 2]
