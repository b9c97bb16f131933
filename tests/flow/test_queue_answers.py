"""What a job of a real model answers: the realtime call's bytes when it ran alone, its values when stacked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.rabbitmq

MODELS = Path(__file__).parents[2] / "models"
MODEL = "breast-cancer"


@pytest.fixture
def desk(make_desk):
    return make_desk(MODELS)


def bodies(rows_each):
    """The golden request cut into requests of so many rows each."""
    golden = json.loads((MODELS / MODEL / "golden.json").read_text())
    first = golden[0] if isinstance(golden, list) else golden
    [tensor] = first["request"]["inputs"]
    rows = np.array(tensor["data"]).reshape(tensor["shape"])
    cut = [rows[start : start + rows_each] for start in range(0, len(rows), rows_each)]
    return [
        json.dumps(
            {"inputs": [{**tensor, "shape": list(part.shape), "data": part.ravel().tolist()}]}
        ).encode()
        for part in cut
    ]


def outputs(body):
    return {item["name"]: np.array(item["data"]) for item in json.loads(body)["outputs"]}


@pytest.mark.parametrize("version", ["1", "2"])
def test_alone_a_job_answers_the_realtime_bytes(desk, version):
    for body in bodies(1)[:3]:
        key = desk.submit(body, model=MODEL, version=version)
        desk.start().drain()
        assert desk.row(key).facts.rows_stacked == 1
        assert desk.result(key) == desk.realtime(body, model=MODEL, version=version)


@pytest.mark.parametrize("version", ["1", "2"])
def test_stacked_a_job_answers_the_realtime_values_within_the_model_s_tolerance(desk, version):
    sent = bodies(1)
    keys = [desk.submit(body, model=MODEL, version=version) for body in sent]

    desk.start().drain()

    tolerance = desk.catalog.find(MODEL, version)[1].stacking_tolerance
    assert tolerance is not None
    most = max(desk.row(key).facts.rows_stacked for key in keys)
    assert 1 < most <= len(keys)
    for key, body in zip(keys, sent, strict=True):
        got, expected = (
            outputs(desk.result(key)),
            outputs(desk.realtime(body, model=MODEL, version=version)),
        )
        assert got.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(got[name], values, rtol=max(tolerance, 1e-7), atol=0)
