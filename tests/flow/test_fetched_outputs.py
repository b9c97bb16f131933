"""`outputs` in [session]: of what the graph gives, every lane fetches and answers these alone."""

from __future__ import annotations

import json
import re

import pytest

from cli.models.lock import lock
from cli.models.show import tensor_rows
from shared.errors import SignatureError
from shared.repository import read_model
from tests.fixtures.job_desk import Desk
from tests.fixtures.small_models import write_padded_models

LENGTHS = (5, 2, 9)


@pytest.fixture
def models(tmp_path):
    """`total` gives a sum and the doubled inputs; the sum alone is fetched."""
    folder = write_padded_models(tmp_path / "models")
    declared = folder / "total" / "model.toml"
    declared.write_text(declared.read_text() + '[session]\noutputs = ["total"]\n')
    lock(folder)
    return folder


def body(length, **members):
    inputs = [
        {"name": "x", "shape": [1, length], "datatype": "INT64", "data": [3] * length},
        {"name": "mask", "shape": [1, length], "datatype": "INT64", "data": [1] * length},
    ]
    return json.dumps({"inputs": inputs, **members}).encode()


def test_a_call_and_padded_jobs_are_answered_with_what_is_fetched(models):
    desk = Desk(models)
    keys = [desk.submit(body(length), model="total") for length in LENGTHS]

    desk.start().drain()

    for key, length in zip(keys, LENGTHS, strict=True):
        answer = desk.realtime(body(length), model="total")
        assert desk.row(key).facts.rows_stacked == len(LENGTHS)
        assert desk.result(key) == answer
        assert json.loads(answer)["outputs"] == [
            {"name": "total", "datatype": "INT64", "shape": [1], "data": [3 * length]}
        ]


def test_an_output_that_is_not_fetched_is_none_of_the_models(models):
    with pytest.raises(SignatureError, match=re.escape("'doubled' is not an output of the model")):
        Desk(models).realtime(body(4, outputs=[{"name": "doubled"}]), model="total")


def test_people_are_shown_what_callers_get(models):
    rows = tensor_rows(read_model(models / "total" / "model.toml"))

    assert [name for kind, name, *_ in rows if "output" in kind] == ["total"]
