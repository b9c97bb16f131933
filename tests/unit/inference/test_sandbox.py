"""A model that is added cannot harm the process that adds it."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from shared.inference.inspect import ModelRefusedError, inspect_model
from shared.inference.sandbox import inspect_in_sandbox
from tests.unit.inference import onnx_graphs as graphs


def save(tmp_path, built):
    path = tmp_path / "model.onnx"
    onnx.save(built, str(path))
    return path


def test_the_sandbox_finds_what_a_plain_look_finds(tmp_path):
    path = save(tmp_path, graphs.two_in_two_out())

    inside, outside = inspect_in_sandbox(path), inspect_model(path)

    assert (inside.inputs, inside.outputs, inside.opset, inside.files) == (
        outside.inputs,
        outside.outputs,
        outside.opset,
        outside.files,
    )
    assert inside.trial.row_independent


def test_a_refusal_comes_out_of_the_sandbox_with_its_words(tmp_path):
    with pytest.raises(ModelRefusedError, match="zipmap"):
        inspect_in_sandbox(save(tmp_path, graphs.zipmap()))


def test_a_model_that_asks_for_all_memory_is_stopped_in_the_sandbox(tmp_path):
    bomb = graphs.model(
        [
            helper.make_node("ConstantOfShape", ["size"], ["big"]),
            helper.make_node("Add", ["x", "big"], ["y"]),
        ],
        [graphs.value("x", "FP32", ["n"])],
        [graphs.value("y", "FP32", ["m"])],
        initializers=[helper.make_tensor("size", TensorProto.INT64, [1], [40 * 10**9])],
    )
    path = save(tmp_path, bomb)

    trial = inspect_in_sandbox(path, memory_bytes=6 << 30).trial

    assert not trial.ran
    assert "memory" in trial.reason


def test_a_model_that_takes_too_long_is_stopped_in_the_sandbox(tmp_path):
    with pytest.raises(ModelRefusedError, match="not loaded and run within"):
        inspect_in_sandbox(save(tmp_path, graphs.identity()), timeout_s=0.01)


def test_a_process_that_dies_is_a_refusal(tmp_path):
    with pytest.raises(ModelRefusedError, match=r"took its process down \(status -?\d+\)"):
        inspect_in_sandbox(save(tmp_path, graphs.identity()), memory_bytes=200 << 20)
