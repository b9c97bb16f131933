"""A pool of small models made for what a delivery can meet."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.fixtures.job_desk import Desk
from tests.fixtures.small_models import write_model, write_repository

FIXED_TRANSFORM = '''"""Counts what it is told; refuses an empty text and breaks on another."""

import numpy as np


def preprocess(inputs):
    texts = inputs["text"]
    if any(text == b"" for text in texts):
        raise ValueError("text is empty")
    return {"x": np.array([[len(text), 1.0] for text in texts], np.float32)}


def postprocess(outputs, graph_inputs):
    if (outputs["y"] == 14).any():
        raise KeyError("a defect that names secret-value")
    return {"doubled": outputs["y"][:, 0]}
'''


@pytest.fixture(scope="session")
def queue_models(tmp_path_factory):
    """`small_models` and: dependent (rows depend on each other), tied (a table of three), texts (transform)."""
    folder = tmp_path_factory.mktemp("queue") / "models"
    folder.mkdir()
    write_repository(folder)
    softmax = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    write_model(folder, "dependent", "1", [softmax], x=("FP32", [-1, 2]), y=("FP32", [-1, 2]))
    manifest = folder / "dependent" / "1" / "manifest.json"
    declared = json.loads(manifest.read_text()) | {"stacking": {"row_independent": False}}
    manifest.write_text(json.dumps(declared))
    table = numpy_helper.from_array(np.array([10.0, 20.0, 30.0], np.float32), "table")
    gather = helper.make_node("Gather", ["table", "x"], ["y"])
    write_model(folder, "tied", "1", ([gather], [table]), x=("INT64", [-1]), y=("FP32", [-1]))
    two = numpy_helper.from_array(np.full((1, 2), 2.0, np.float32), "two")
    double = helper.make_node("Mul", ["x", "two"], ["y"])
    write_model(folder, "texts", "1", ([double], [two]), x=("FP32", [-1, 2]), y=("FP32", [-1, 2]))
    (folder / "texts" / "transform.py").write_text(FIXED_TRANSFORM)
    with (folder / "texts" / "model.toml").open("a") as file:
        file.write('[[inputs]]\nname = "text"\ndatatype = "BYTES"\nshape = [-1]\n')
        file.write('[[outputs]]\nname = "doubled"\ndatatype = "FP32"\nshape = [-1]\n')
    return folder


@pytest.fixture
def desk(queue_models):
    return Desk(queue_models)
