"""Which request the local service sends first and prints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from cli.dev.examples import examples
from cli.dev.failures import DevError
from cli.dev.state import AwsAccess, Running
from cli.dev.terminal import commands, pasted
from cli.models.add import add
from shared.repository import read_repository

RUNNING = Running(
    endpoint="http://127.0.0.1:1/api",
    api_key="lw_x",
    aws=AwsAccess(endpoint_url="", access_key_id="", secret_access_key="", region=""),
)


def test_a_golden_request_is_real_and_comes_first(project_models):
    found = examples(read_repository(project_models))
    assert all(example.is_real for example in found)
    found = [example for example in found if example.is_realtime]
    sizes = [len(json.dumps(example.request)) for example in found]
    assert sizes == sorted(sizes)


def test_a_model_without_golden_answers_gets_zeros_in_its_shape(small_models):
    found = {example.model: example for example in examples(read_repository(small_models))}
    assert not found["scale"].is_real
    assert [tensor["name"] for tensor in found["scale"].request["inputs"]] == ["x"]


def test_a_model_that_takes_no_json_comes_last(tmp_path):
    for name, element in (("half", TensorProto.FLOAT16), ("whole", TensorProto.FLOAT)):
        x = helper.make_tensor_value_info("x", element, ["rows", 3])
        y = helper.make_tensor_value_info("y", element, ["rows", 3])
        graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], name, [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        save(model, tmp_path / f"{name}.onnx")
        add(tmp_path / f"{name}.onnx", tmp_path / "models", name=name)

    assert [example.model for example in examples(read_repository(tmp_path / "models"))] == [
        "whole",
        "half",
    ]


def test_models_that_take_jobs_alone_come_last_and_are_waited_for(small_models, tmp_path):
    last = examples(read_repository(small_models))[-1]
    assert (last.model, last.is_realtime) == ("queued", False)
    assert last.headers == {"prefer": "respond-async, wait=20"}

    infer, ready, laneway = commands(RUNNING, last, tmp_path, "laneway")
    assert "-H 'prefer: respond-async, wait=20'" in infer
    assert "prefer" not in ready
    assert "laneway submit --wait queued" in laneway


def test_three_commands_are_printed_and_one_of_them_is_for_a_model_that_takes_jobs_alone(
    small_models, tmp_path
):
    found = examples(read_repository(small_models))
    infer, queued, laneway = pasted(RUNNING, found, tmp_path, "laneway")
    assert f"/{found[0].model}/infer" in infer
    assert "/queued/infer" in queued
    assert f"laneway infer {found[0].model}" in laneway

    at_once = [example for example in found if example.is_realtime]
    assert "/v2/health/ready" in pasted(RUNNING, at_once, tmp_path, "laneway")[1]


def test_a_repository_that_nobody_can_ask_is_refused_with_the_way_out(tmp_path, small_models):
    shutil.copy(small_models / "pools.toml", tmp_path)
    shutil.copytree(small_models / "queued", tmp_path / "queued")
    path = tmp_path / "queued" / "model.toml"
    path.write_text(path.read_text().replace('"async", ', ""))
    with pytest.raises(DevError, match="laneway models add"):
        examples(read_repository(tmp_path))


def test_the_commands_name_the_model_the_key_and_a_file_with_the_request(tmp_path, small_models):
    example = examples(read_repository(small_models))[0]
    infer, ready, laneway = commands(RUNNING, example, tmp_path / "examples", "laneway")
    assert f"/v2/models/{example.model}/infer" in infer
    assert "/v2/health/ready" in ready
    path = laneway.split("--input ")[1]
    assert json.loads(Path(path).read_text()) == example.request
    assert "x-api-key: lw_x" in infer
