"""What a worker logs of a run that failed on the model's side: the runtime's words, and no caller reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper, numpy_helper

from shared.job_telemetry import JobTelemetry
from tests.fixtures.job_desk import Desk, tensor_body
from tests.fixtures.small_models import write_model

ASTRAY = '''"""Asks for an entry of the table that is not there."""

import numpy as np


def preprocess(inputs):
    return {"x": np.full(len(inputs["x"]), 9, np.int64)}
'''


@pytest.fixture
def desk(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "pools.toml").write_text("[shared]\n")
    table = numpy_helper.from_array(np.array([10.0, 20.0], np.float32), "table")
    gather = helper.make_node("Gather", ["table", "x"], ["y"])
    tensors = {"x": ("INT64", [-1]), "y": ("FP32", [-1])}
    write_model(folder, "astray", "1", ([gather], [table]), **tensors)
    (folder / "astray" / "transform.py").write_text(ASTRAY)
    with (folder / "astray" / "model.toml").open("a") as file:
        file.write('[[inputs]]\nname = "x"\ndatatype = "FP32"\nshape = [-1, 2]\n')
        file.write('[[outputs]]\nname = "y"\ndatatype = "FP32"\nshape = [-1]\n')
    return Desk(folder)


def test_the_line_of_the_job_has_the_runtimes_words_and_its_row_has_not(desk, capsys):
    key = desk.submit(tensor_body([[1.0, 2.0]]), model="astray")
    desk.start().drain()
    telemetry = JobTelemetry(service="worker", stage="dev", pool="shared")

    for facts in desk.reporter.jobs:
        telemetry.job(facts)

    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines() if text[:1] == "{"]
    [line] = [line for line in lines if line.get("outcome") == "failed"]
    assert (line["job_id"], line["code"]) == (key.id, "model_run_failed")
    assert "out of data bounds" in line["detail"]
    assert desk.row(key).failure.code == "model_run_failed"
    assert line["detail"] not in desk.row(key).failure.error
