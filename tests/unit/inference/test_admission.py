"""Which versions of a repository may be served: what is refused, what is remembered, and for how long."""

from __future__ import annotations

import hashlib
import json
import os
import socket

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shared.inference.admission import Admissions
from shared.inference.admission_limits import widest_limits
from shared.inference.findings import ModelRefusedError
from shared.inference.graph_scan import scan
from shared.repository import read_repository
from tests.fixtures import bombs
from tests.fixtures.small_models import write_model


@pytest.fixture
def repository(tmp_path):
    """One model that doubles, in a folder that tests may change."""
    folder = tmp_path / "models"
    folder.mkdir()
    double = helper.make_node("Add", ["x", "x"], ["y"])
    write_model(folder, "double", "1", [double], x=("FP32", [-1, 2]), y=("FP32", [-1, 2]))
    return folder


def verdict(folder, kept=None):
    (one,) = Admissions(kept).of_repository(read_repository(folder))
    return one


def lock(folder, *, files=("model.onnx",)):
    """Write down the digests of what is there."""
    path = folder / "double" / "1" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"] = [
        {
            "path": file,
            "sha256": hashlib.sha256((path.parent / file).read_bytes()).hexdigest(),
            "size_bytes": (path.parent / file).stat().st_size,
        }
        for file in files
    ]
    path.write_text(json.dumps(manifest))


def weighted(folder, location="weights.bin", **entries):
    """A graph with its weights in another file, of which `entries` say what the graph reads."""
    weights = numpy_helper.from_array(np.full((1, 2), 3, np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "xy")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [weights]
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    version = folder / "double" / "1"
    onnx.save(
        built,
        version / "model.onnx",
        save_as_external_data=True,
        location=location,
        size_threshold=0,
    )
    if entries:
        tensor = (built := onnx.load(version / "model.onnx", load_external_data=False)).graph
        for entry in tensor.initializer[0].external_data:
            entry.value = entries.get(entry.key, entry.value)
        (version / "model.onnx").write_bytes(built.SerializeToString())
    return version


STATIC = {
    bombs.chain: "more than 20000 nodes; simplify it",
    bombs.nested: "nested deeper than 8",
    bombs.laughs: "more than 20000 nodes with its functions unfolded",
    bombs.laughs_under_one_name: "more than 20000 nodes with its functions unfolded",
    bombs.calls_itself: "calls itself",
    bombs.sparse: "stand for 38146[0-9]+ MiB",
    bombs.empty_shape: "stand for 38146[0-9]+ MiB",
}


@pytest.mark.parametrize(
    ("bomb", "words"), STATIC.items(), ids=lambda item: getattr(item, "__name__", "")
)
def test_a_graph_that_unfolds_into_too_much_is_refused_unread(tmp_path, bomb, words):
    with pytest.raises(ModelRefusedError, match=words):
        scan(bombs.save(tmp_path / "model.onnx", bomb), widest_limits())


@pytest.mark.parametrize("place", bombs.OUTSIDE, ids=lambda place: place.__name__)
def test_data_of_a_file_elsewhere_is_found_wherever_the_format_has_room_for_a_tensor(
    tmp_path, place
):
    (tmp_path / "elsewhere").write_bytes(bytes(8))
    bomb = bombs.save(tmp_path / "model" / "model.onnx", place)
    os.link(tmp_path / "elsewhere", bomb.parent / "weights.bin")

    with pytest.raises(ModelRefusedError, match=r"'weights\.bin' is a link or has hard links"):
        scan(bomb)


def test_a_domain_of_the_models_own_has_what_the_model_defines_in_it_and_no_more(tmp_path):
    built = bombs.laughs(levels=0)
    built.graph.node[0].op_type = "Other"
    (tmp_path / "model.onnx").write_bytes(built.SerializeToString())

    with pytest.raises(ModelRefusedError, match=r"does not bring: own\.Other;"):
        scan(tmp_path / "model.onnx")


@pytest.mark.parametrize("version", [6, 27])
def test_an_opset_outside_the_list_is_refused(tmp_path, version):
    old = bombs.constant_of_shape()
    old.opset_import[0].version = version
    (tmp_path / "model.onnx").write_bytes(old.SerializeToString())

    with pytest.raises(ModelRefusedError, match=rf"opset ai\.onnx {version}; 7 to 26 are served"):
        scan(tmp_path / "model.onnx")


def test_external_data_that_ends_before_the_graph_does_is_refused(repository):
    weighted(repository, length="4096")
    lock(repository, files=("model.onnx", "weights.bin"))

    assert "has 8 bytes, and the graph reads up to 4096" in verdict(repository).refusal


def test_a_file_that_the_graph_reads_and_the_manifest_does_not_lock_is_refused(repository):
    weighted(repository)
    lock(repository)

    assert "'weights.bin', which its manifest does not list" in verdict(repository).refusal


@pytest.mark.parametrize(
    ("link", "file"),
    [(os.symlink, "model.onnx"), (os.symlink, "weights.bin"), (os.link, "weights.bin")],
)
def test_a_file_that_is_elsewhere_too_is_refused(repository, tmp_path, link, file):
    version = weighted(repository)
    lock(repository, files=("model.onnx", "weights.bin"))
    (version / file).rename(tmp_path / "elsewhere")
    link(tmp_path / "elsewhere", version / file)

    assert f"file '{file}' is a link or has hard links" in verdict(repository).refusal


def test_the_graph_itself_may_have_another_name_as_in_a_linked_copy_of_a_repository(
    repository, tmp_path
):
    os.link(repository / "double" / "1" / "model.onnx", tmp_path / "elsewhere")

    assert verdict(repository).judgement is not None


def test_a_file_that_never_ends_is_refused_and_not_waited_for(repository):
    path = repository / "double" / "1" / "model.onnx"
    path.unlink()
    os.mkfifo(path)

    assert "is a link" in verdict(repository).refusal


REACHING = """
import os, socket, tempfile

if "AWS_SECRET_ACCESS_KEY" in os.environ:
    raise RuntimeError("it has the credentials")
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=5)
except OSError as error:
    raise RuntimeError(f"no way out: {{type(error).__name__}}") from error
"""


def test_nothing_in_the_process_that_looks_reaches_the_network_or_has_credentials(
    repository, monkeypatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    declared = "".join(
        f'[[{kind}]]\nname = "{name}"\ndatatype = "FP32"\nshape = [-1, 2]\n'
        for kind, name in (("inputs", "x"), ("outputs", "y"))
    )
    with (repository / "double" / "model.toml").open("a") as file:
        file.write(declared)
    with socket.create_server(("127.0.0.1", 0)) as server:
        reaching = REACHING.format(port=server.getsockname()[1])
        (repository / "double" / "transform.py").write_text(reaching)

        refusal = verdict(repository).refusal

    assert "no way out: PermissionError" in refusal


def test_what_was_admitted_is_remembered_until_something_changes(repository, tmp_path):
    kept = tmp_path / "kept"
    assert verdict(repository, kept).judgement.golden == 0
    (record,) = kept.glob("*.json")
    record.write_text('{"golden": 77}')  # what only somebody who remembers can know

    assert verdict(repository, kept).judgement.golden == 77

    (repository / "pools.toml").write_text("[shared.admission]\nrun_s = 3\n")
    assert verdict(repository, kept).judgement.golden == 0
    assert len(list(kept.glob("*.json"))) == 2


def test_a_refusal_and_a_changed_file_are_not_remembered(repository, tmp_path):
    kept = tmp_path / "kept"
    verdict(repository, kept)
    bombs.save(repository / "double" / "1" / "model.onnx", bombs.nested)

    assert "was locked" in verdict(repository, kept).refusal
    lock(repository)
    assert "nested deeper" in verdict(repository, kept).refusal
    assert len(list(kept.glob("*.json"))) == 1


def test_a_pool_declares_what_its_models_may_take(repository):
    (repository / "pools.toml").write_text("[shared.admission]\nnodes_max = 1\n")
    version = weighted(repository)
    lock(repository, files=("model.onnx", "weights.bin"))
    assert verdict(repository).judgement is not None

    bombs.save(version / "model.onnx", lambda: bombs.chain(2))
    lock(repository)
    assert "more than 1 nodes" in verdict(repository).refusal


def test_a_model_that_never_ran_and_has_no_golden_answer_is_refused(repository):
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "xy")
    three = helper.make_tensor("shape", TensorProto.INT64, [2], [3, 2])
    graph = helper.make_graph([reshape], "three-rows-only", [x], [y], [three])
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (repository / "double" / "1" / "model.onnx").write_bytes(built.SerializeToString())
    lock(repository)
    assert "did not run with random inputs" in verdict(repository).refusal

    data = [1.0] * 6
    tensor = {"name": "x", "shape": [3, 2], "datatype": "FP32", "data": data}
    answer = {"name": "y", "shape": [3, 2], "datatype": "FP32", "data": data}
    golden = {
        "made_by": "hand",
        "name": "three rows",
        "request": {"inputs": [tensor]},
        "expected": {"outputs": [answer]},
        "tolerance": {"y": {"measure": "equal"}},
    }
    (repository / "double" / "golden.json").write_text(json.dumps(golden))
    assert verdict(repository).judgement.golden == 1
