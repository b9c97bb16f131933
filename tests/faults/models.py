"""The models of the fault tests: one that computes, one that can be held up, one that kills its process."""

from __future__ import annotations

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.fixtures.small_models import write_model

FEATURES = 16
TOLERANCE = 1e-5
"""Declared for `mlp`: how much an answer may differ when its job ran stacked."""

GATED = '''"""After the run it says that it was there, and waits while this process is held."""

import os
import time
from pathlib import Path

PLACE = Path(os.environ["FAULTS_PLACE"])
HELD_S_MAX = 120


def postprocess(outputs, graph_inputs):
    (PLACE / f"entered-{os.getpid()}").touch()
    end = time.monotonic() + HELD_S_MAX
    while (PLACE / f"hold-{os.getpid()}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return {"y": outputs["y"]}
'''

DEADLY = '''"""Ends the process on a negative number, as the system does when memory is gone."""

import os
import signal


def preprocess(inputs):
    if (inputs["x"] < 0).any():
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": inputs["x"]}
'''


def write_fault_models(folder):
    """Pool `shared`: mlp (two layers), plain (doubles), slow (doubles, can be held), deadly, greedy."""
    folder.mkdir()
    (folder / "pools.toml").write_text("[shared]\n")
    write_model(folder, "mlp", "1", _two_layers(), x=("FP32", [-1, FEATURES]), y=("FP32", [-1, 3]))
    manifest = folder / "mlp" / "1" / "manifest.json"
    said = json.loads(manifest.read_text())
    said["stacking"]["tolerance"] = TOLERANCE
    manifest.write_text(json.dumps(said))
    for name, transform in (("plain", None), ("slow", GATED), ("deadly", DEADLY)):
        write_model(folder, name, "1", _double(), x=("FP32", [-1, 2]), y=("FP32", [-1, 2]))
        if transform:
            _add_transform(folder / name, transform)
    write_model(folder, "greedy", "1", _greedy(), x=("FP32", [-1, 2]), y=("FP32", [-1, 2]))
    return folder


def _add_transform(model, source):
    (model / "transform.py").write_text(source)
    with (model / "model.toml").open("a") as file:
        file.writelines(
            f'[[{kind}]]\nname = "{name}"\ndatatype = "FP32"\nshape = [-1, 2]\n'
            for kind, name in (("inputs", "x"), ("outputs", "y"))
        )


def _two_layers():
    """A graph whose sums may come out in another order when rows are stacked."""
    random = np.random.default_rng(7)
    weights = {
        name: numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w1", (FEATURES, 48)), ("b1", (48,)), ("w2", (48, 3)))
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"]),
        helper.make_node("Add", ["m", "b1"], ["a"]),
        helper.make_node("Tanh", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "w2"], ["y"]),
    ]
    return nodes, list(weights.values())


def _double():
    two = numpy_helper.from_array(np.full((1, 2), 2.0, np.float32), "two")
    return [helper.make_node("Mul", ["x", "two"], ["y"])], [two]


def _greedy():
    """Gives its input back, after it held four times as many numbers at once as the largest one in it."""
    steps = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["count"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["count", "first"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("Sin", ["zeros"], ["sines"]),
        helper.make_node("Concat", ["zeros", "sines"], ["both"], axis=0),
        helper.make_node("ReduceSum", ["both"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return steps, [numpy_helper.from_array(np.array([0], np.int64), "first")]
