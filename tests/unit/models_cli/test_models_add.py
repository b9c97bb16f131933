"""`laneway models add`: any ONNX file in, or a refusal that says why and leaves nothing behind."""

from __future__ import annotations

import shutil

import onnx
import pytest
from onnx import TensorProto, helper

from cli.models.add import add
from cli.models.check import check
from cli.models.edit import use
from cli.models.summary import summary
from cli.output import CommandError
from shared.inference.running import answer, load
from shared.repository import read_model, read_repository

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.0]}]}


def answers(folder, version=None):
    return answer(load(read_model(folder / "model.toml"), version), ROW)["y"]["data"]


def everything(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_an_added_model_is_served_at_once(tmp_path, onnx_file):
    repository = tmp_path / "new"

    added = add(onnx_file(), repository, name="double", description='says "two"')

    spec = read_repository(repository).models["double"].spec
    assert answers(added.folder) == [3.0, 4.0]
    assert (spec.description, spec.default_version, spec.pool) == ('says "two"', "1", "shared")
    assert all(finding.ok for finding in check(repository))


def test_the_manifest_says_what_the_file_says(tmp_path, onnx_file):
    manifest = add(onnx_file(), tmp_path / "new", name="double").manifest

    assert [(t.name, t.datatype, t.shape) for t in manifest.inputs] == [("x", "FP32", (-1, 2))]
    assert [(t.name, t.datatype, t.shape) for t in manifest.outputs] == [("y", "FP32", (-1, 2))]
    assert manifest.opset == {"ai.onnx": 21}
    assert manifest.producer == "tests"
    assert (manifest.stacking.row_independent, manifest.stacking.tolerance) == (True, 0.0)


def test_the_next_version_waits_until_it_is_used(tmp_path, onnx_file):
    repository = tmp_path / "new"
    add(onnx_file(), repository, name="net")
    square = onnx_file("square.onnx", nodes=[helper.make_node("Mul", ["x", "x"], ["y"])])

    added = add(square, repository, name="net")

    assert (added.manifest.version, added.is_new_model) == ("2", False)
    assert answers(added.folder) == [3.0, 4.0]
    use(added.folder, "2")
    assert answers(added.folder) == [2.25, 4.0]
    assert answers(added.folder, "1") == [3.0, 4.0]


def test_external_data_comes_along_and_is_locked(tmp_path, weighted):
    path = weighted()

    added = add(path, tmp_path / "new", name="net")

    shutil.rmtree(path.parent)
    assert [file.path for file in added.manifest.files] == ["model.onnx", "net.weights"]
    assert answers(added.folder) == [4.5, 6.0]


def test_a_model_with_a_fixed_batch_is_added_and_never_stacked(tmp_path, onnx_file):
    added = add(onnx_file(shape=(1, 2)), tmp_path / "new", name="net")

    spec = read_model(added.folder / "model.toml").spec
    assert spec.batching.max_batch_size == 1
    assert not added.manifest.stacking.row_independent
    assert any("never run together" in note for note in added.notes)


def test_rows_that_influence_each_other_are_found_by_running(tmp_path, onnx_file):
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=1),
        helper.make_node("Add", ["x", "total"], ["y"]),
    ]

    added = add(onnx_file(nodes=nodes), tmp_path / "new", name="net")

    assert not added.manifest.stacking.row_independent
    assert "differs from the same row run alone" in added.manifest.stacking.reason


def test_a_version_that_callers_must_notice_says_so(tmp_path, onnx_file):
    repository = tmp_path / "new"
    add(onnx_file(), repository, name="net")

    added = add(onnx_file("wide.onnx", shape=("batch", 3)), repository, name="net")

    assert "its inputs differ from those of version 1" in added.notes


def test_a_pool_that_is_not_there_is_said(tmp_path, onnx_file):
    added = add(onnx_file(), tmp_path / "new", name="net", pool="heavy")

    assert any("pool 'heavy' is not in pools.toml" in note for note in added.notes)


@pytest.mark.parametrize(
    ("size_mib", "way_out"), [(160, "pool of its own"), (251, "functions fetch it from S3")]
)
def test_a_model_too_big_for_a_package_is_said_with_the_way_out(tmp_path, size_mib, way_out):
    size_bytes = size_mib * 1024 * 1024
    weights = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[size_bytes])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(size_bytes)
    graph = helper.make_graph(
        [helper.make_node("Slice", ["w", "zero", "one"], ["b"]),
         helper.make_node("Cast", ["b"], ["f"], to=TensorProto.FLOAT),
         helper.make_node("Add", ["x", "f"], ["y"])],
        "big",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
        [weights, helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
         helper.make_tensor("one", TensorProto.INT64, [1], [1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "big.onnx")

    added = add(tmp_path / "big.onnx", tmp_path / "models", name="big")

    assert any(f"{size_mib} MiB" in note and way_out in note for note in added.notes)


def test_the_summary_names_what_was_found_and_the_next_commands(tmp_path, onnx_file):
    repository = tmp_path / "new"

    lines = list(summary(add(onnx_file(), repository, name="net"), repository))

    assert "  takes  x: FP32 [-1, 2]" in lines
    assert f"  laneway models check net --models {repository}" in lines
    assert f"  make dev MODELS={repository}" in lines


def a_map(onnx_file):
    nodes = [
        helper.make_node(
            "ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b"]
        )
    ]
    value = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    outputs = [helper.make_value_info("y", helper.make_sequence_type_proto(value))]
    return onnx_file(nodes=nodes, outputs=outputs, domains=(("", 21), ("ai.onnx.ml", 3)))


def a_custom_operator(onnx_file):
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain="example.org")]
    return onnx_file(nodes=nodes, domains=(("", 21), ("example.org", 1)))


def a_text_file(onnx_file):
    path = onnx_file()
    path.write_text("not a model", encoding="utf-8")
    return path


def half_a_file(onnx_file):
    path = onnx_file()
    path.write_bytes(path.read_bytes()[:40])
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_map, "zipmap"),
        (a_custom_operator, r"example\.org\.Frobnicate"),
        (a_text_file, "not an ONNX file"),
        (half_a_file, "cannot be served"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_way_out(tmp_path, onnx_file, make, words):
    repository = tmp_path / "new"

    with pytest.raises(CommandError, match=words):
        add(make(onnx_file), repository, name="net")
    assert not repository.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "Net"}, "not a model's name"),
        ({"name": "../net"}, "not a model's name"),
        ({"name": "stats"}, "a call of the protocol"),
        ({"name": "net", "version": "a/b"}, "not a version"),
        ({"name": "net", "version": ".."}, "not a version"),
    ],
)
def test_a_name_that_cannot_stand_in_an_address_is_refused(tmp_path, onnx_file, options, words):
    with pytest.raises(CommandError, match=words):
        add(onnx_file(), tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_version_never_changes(tmp_path, onnx_file):
    repository = tmp_path / "new"
    add(onnx_file(), repository, name="net", version="2024.1")
    before = everything(repository)

    with pytest.raises(CommandError, match="a version never changes"):
        add(onnx_file(), repository, name="net", version="2024.1")
    assert everything(repository) == before


def test_external_data_outside_the_models_folder_is_refused(tmp_path, weighted):
    path = weighted()
    model = onnx.load(str(path), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../../etc/passwd"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(CommandError, match="outside the model's folder"):
        add(path, tmp_path / "new", name="net")


def test_external_data_with_a_name_that_is_taken_is_refused(tmp_path, weighted):
    repository = tmp_path / "new"

    with pytest.raises(CommandError, match="a name that is taken here"):
        add(weighted("manifest.json"), repository, name="net")
    assert list(repository.iterdir()) == []


def test_a_broken_declaration_of_the_model_leaves_the_new_version_out(tmp_path, onnx_file):
    repository = tmp_path / "new"
    folder = add(onnx_file(), repository, name="net").folder
    shutil.rmtree(folder / "1")

    with pytest.raises(Exception, match=r"default_version '1'|manifest\.json is missing"):
        add(onnx_file(), repository, name="net", version="7")
    assert not (folder / "7").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"nix\.onnx is not a file"):
        add(tmp_path / "nix.onnx", tmp_path / "new", name="net")
