"""What is learned of a model when it is added, and what is refused with a way out."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from shared.catalog import TensorSpec
from shared.inference.inspect import ModelRefusedError, inspect_model
from shared.inference.stacking_trial import difference
from tests.unit.inference import onnx_graphs as graphs


def test_a_model_says_what_it_takes_and_gives(inspected):
    found = inspected(graphs.two_in_two_out())

    assert found.inputs == (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "FP32", (-1, 2)))
    assert [spec.name for spec in found.outputs] == ["sum", "square"]
    assert found.opset == {"ai.onnx": 18}
    assert found.producer == "tests"
    assert found.platform == "onnx_onnxv1"
    assert found.files == ("model.onnx",)


@pytest.mark.parametrize("datatype", graphs.ONNX_TYPES)
def test_every_datatype_can_be_added_and_runs(inspected, datatype):
    found = inspected(graphs.identity(datatype))

    assert found.inputs[0].datatype == datatype
    assert found.trial.ran
    assert found.trial.run_ms > 0
    assert found.trial.row_independent
    assert found.trial.tolerance == 0


def test_external_data_belongs_to_the_model(tmp_path):
    graphs.save_with_external_data(tmp_path / "model.onnx")

    assert inspect_model(tmp_path / "model.onnx").files == ("model.onnx", "weights.bin")


def appended(tmp_path, node):
    """A file of a model and, behind it, bytes that add this node and its output `z`."""
    more = onnx.GraphProto(
        node=[node], output=[helper.make_tensor_value_info("z", TensorProto.FLOAT, ["rows", 2])]
    )
    path = tmp_path / "model.onnx"
    whole = graphs.identity().SerializeToString() + onnx.ModelProto(graph=more).SerializeToString()
    path.write_bytes(whole)
    return path


def test_a_graph_with_more_behind_it_gives_what_that_adds(tmp_path):
    found = inspect_model(appended(tmp_path, helper.make_node("Neg", ["y"], ["z"])))

    assert [output.name for output in found.outputs] == ["y", "z"]
    assert found.trial.row_independent


def test_what_stands_behind_a_graph_is_looked_at_as_the_rest_is(tmp_path):
    path = appended(tmp_path, helper.make_node("Shell", ["y"], ["z"], domain="of.somebody"))

    with pytest.raises(ModelRefusedError, match=r"does not bring: of\.somebody\.Shell"):
        inspect_model(path)


def test_rows_that_change_each_other_are_not_stacked(inspected):
    trial = inspected(graphs.row_dependent()).trial

    assert trial.ran
    assert not trial.row_independent
    assert trial.tolerance > 1e-4
    assert "differs from the same row run alone by" in trial.reason


def test_an_output_without_rows_is_not_stacked(inspected):
    trial = inspected(graphs.total()).trial

    assert not trial.row_independent
    assert "output 'y' has shape [] for 2 rows" in trial.reason


@pytest.mark.parametrize("shape", [(1, 2), (4, 2), ()])
def test_a_fixed_batch_dimension_is_not_stacked(inspected, shape):
    trial = inspected(graphs.identity(shape=shape)).trial

    assert trial.ran
    assert not trial.row_independent
    assert f"no open first dimension, shape {list(shape)}" in trial.reason


def test_small_indices_are_found_for_a_model_that_refuses_large_ones(inspected):
    trial = inspected(graphs.lookup()).trial

    assert trial.ran
    assert trial.row_independent


def test_an_output_of_unknown_rank_gets_the_rank_that_it_had(inspected):
    assert inspected(graphs.unranked_output()).outputs == (TensorSpec("y", "FP32", (-1, -1)),)


def test_a_model_that_runs_with_no_random_input_is_described_all_the_same(inspected):
    picky = graphs.model(
        [helper.make_node("Reshape", ["x", "to"], ["y"])],
        [graphs.value("x", "FP32", ["n", "m"])],
        [graphs.value("y", "FP32", [7919])],
        initializers=[helper.make_tensor("to", TensorProto.INT64, [1], [7919])],
    )

    trial = inspected(picky).trial

    assert not trial.ran
    assert not trial.row_independent
    assert "it did not run with random inputs" in trial.reason


REFUSED = [
    (graphs.zipmap, r'export it with skl2onnx and options=\{"zipmap": False\}'),
    (graphs.sequence_output, "output 'y' is seq.tensor.float.*plain tensors"),
    (graphs.custom_operator, "com.example.Decode; export it with standard operators"),
]


@pytest.mark.parametrize(("build", "words"), REFUSED)
def test_what_the_protocol_cannot_carry_is_refused_with_the_way_out(inspected, build, words):
    with pytest.raises(ModelRefusedError, match=words):
        inspected(build())


def test_an_input_of_unknown_rank_is_refused(inspected):
    unranked = graphs.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [graphs.value("x", "FP32", None)],
        [graphs.value("y", "FP32", None)],
    )

    with pytest.raises(ModelRefusedError, match="declares no number of dimensions"):
        inspected(unranked)


@pytest.mark.parametrize(
    "onnx_type", [TensorProto.COMPLEX64, TensorProto.FLOAT8E4M3FN, TensorProto.INT4]
)
def test_a_datatype_outside_the_protocol_is_refused(inspected, onnx_type):
    odd = graphs.model(
        [helper.make_node("Cast", ["x"], ["y"], to=onnx_type)],
        [graphs.value("x", "FP32", ["n"])],
        [helper.make_tensor_value_info("y", onnx_type, ["n"])],
    )

    with pytest.raises(ModelRefusedError):
        inspected(odd)


def test_bfloat16_and_text_in_one_model_are_refused(inspected):
    both = graphs.model(
        [helper.make_node("Identity", ["a"], ["b"]), helper.make_node("Identity", ["c"], ["d"])],
        [graphs.value("a", "BF16", ["n"]), graphs.value("c", "BYTES", ["n"])],
        [graphs.value("b", "BF16", ["n"]), graphs.value("d", "BYTES", ["n"])],
    )

    with pytest.raises(ModelRefusedError, match="BF16 and string tensors together"):
        inspected(both)


@pytest.mark.parametrize("data", [b"", b"no model", b"\x08\x09\x12"])
def test_a_file_that_is_no_model_is_refused(tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)

    with pytest.raises(ModelRefusedError, match=r"model\.onnx"):
        inspect_model(tmp_path / "model.onnx")


def test_a_truncated_model_is_refused(tmp_path):
    whole = graphs.two_in_two_out().SerializeToString()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ModelRefusedError):
        inspect_model(tmp_path / "model.onnx")


def with_location(tmp_path, location):
    graphs.save_with_external_data(tmp_path / "model.onnx")
    built = onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)
    for entry in built.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    (tmp_path / "model.onnx").write_bytes(built.SerializeToString())
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    with pytest.raises(ModelRefusedError, match="outside the model's folder"):
        inspect_model(with_location(tmp_path, location))


def test_missing_external_data_is_refused(tmp_path):
    with pytest.raises(ModelRefusedError, match=r"'absent\.bin' is missing"):
        inspect_model(with_location(tmp_path, "absent.bin"))


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_external_data_that_is_a_link_is_refused(tmp_path, link):
    path = with_location(tmp_path, "linked.bin")
    link(tmp_path / "weights.bin", tmp_path / "linked.bin")

    with pytest.raises(ModelRefusedError, match="is a link or has hard links"):
        inspect_model(path)


def test_a_loop_without_end_does_not_keep_the_command(inspected, monkeypatch):
    monkeypatch.setattr("shared.inference.trial.RUN_S", 0.2)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            graphs.value("i", "INT64", []),
            graphs.value("go", "BOOL", []),
            graphs.value("v", "FP32", ["n"]),
        ],
        [graphs.value("on", "BOOL", []), graphs.value("w", "FP32", ["n"])],
    )
    endless = graphs.model(
        [helper.make_node("Loop", ["count", "yes", "x"], ["y"], body=body)],
        [graphs.value("x", "FP32", ["n"])],
        [graphs.value("y", "FP32", ["n"])],
        initializers=[
            helper.make_tensor("count", TensorProto.INT64, [], [10**15]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ],
    )

    with pytest.raises(ModelRefusedError, match=r"one row .* was stopped after \d+ ms"):
        inspected(endless)


def test_a_difference_is_relative_to_the_largest_value_of_the_row():
    row = np.array([[100.0, 1e-9]], np.float32)

    assert difference(row, row, "FP32") == 0
    assert difference(row + np.float32(1e-3), row, "FP32") == pytest.approx(1e-5, rel=0.1)
    assert difference(np.array([[np.nan]]), np.array([[np.nan]]), "FP64") == 0
    assert difference(np.array([[np.nan]]), np.array([[1.0]]), "FP64") == 1
    assert difference(np.array([3]), np.array([4]), "INT64") == 1
    assert difference(np.zeros((1, 2)), np.zeros((1, 3)), "FP64") == 1


def test_an_opset_of_the_future_is_refused_with_the_way_out(tmp_path):
    future = graphs.identity()
    future.opset_import[0].version = 99
    onnx.save(future, tmp_path / "model.onnx")

    with pytest.raises(
        ModelRefusedError, match=r"opset ai\.onnx 99; 7 to 26 .*export it again"
    ) as refused:
        inspect_model(tmp_path / "model.onnx")

    assert "[ONNXRuntimeError]" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
