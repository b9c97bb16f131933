"""Reading a model repository: what is accepted, what is refused, and what the refusal says."""

from __future__ import annotations

import json

import pytest

from shared.catalog import parse_catalog
from shared.errors import ModelNotFoundError, VersionNotFoundError
from shared.repository import RepositoryError, compile_catalog, read_repository

TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}


def manifest(name, number, **changes):
    return {
        "model": name,
        "version": number,
        "files": [{"path": "model.onnx", "sha256": "0" * 64, "size_bytes": 10}],
        "inputs": [TENSOR],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "opset": {"ai.onnx": 21},
        "stacking": {"row_independent": True, "tolerance": 0.0},
        **changes,
    }


def add_model(folder, name="iris", *, toml='default_version = "1"', versions=("1",)):
    (folder / name).mkdir()
    (folder / name / "model.toml").write_text(toml)
    for version in versions:
        (folder / name / version).mkdir()
        path = folder / name / version / "manifest.json"
        path.write_text(json.dumps(manifest(name, version)))


def catalog_of(folder, **options):
    return parse_catalog(compile_catalog(read_repository(folder), **options))


def test_a_minimal_model_gets_the_documented_defaults(tmp_path):
    add_model(tmp_path)
    model, version = catalog_of(tmp_path).find("iris")
    assert (model.pool, model.latency_classes) == ("shared", ("realtime", "async", "batch"))
    assert (model.compute, model.transform, model.allow_non_finite) == ("cpu", None, False)
    assert version.folder == "models/iris/1"
    assert version.inputs == version.graph_inputs
    assert version.size_bytes == 10


def test_the_version_before_the_default_is_served_too_and_ten_comes_after_nine(tmp_path):
    add_model(tmp_path, toml='default_version = "10"', versions=("1", "9", "10", "11"))
    model, version = catalog_of(tmp_path).find("iris")
    assert list(model.versions) == ["10", "9"]
    assert version.version == "10"


def test_serve_names_exactly_the_packaged_versions(tmp_path):
    add_model(tmp_path, toml='default_version = "2"\nserve = ["1", "2"]', versions=("1", "2", "3"))
    assert list(catalog_of(tmp_path).model("iris").versions) == ["2", "1"]


def test_an_unknown_model_and_an_unknown_version_say_where_to_look(tmp_path):
    add_model(tmp_path)
    catalog = catalog_of(tmp_path)
    with pytest.raises(ModelNotFoundError, match="GET /v2/models"):
        catalog.find("rose")
    with pytest.raises(VersionNotFoundError, match="served versions: 1"):
        catalog.find("iris", "7")


def test_a_pool_has_only_its_own_models(tmp_path):
    (tmp_path / "pools.toml").write_text("[shared]\n[large]\nmemory_mib = 4096\n")
    add_model(tmp_path)
    add_model(tmp_path, "bert", toml='default_version = "1"\npool = "large"')
    assert list(catalog_of(tmp_path, pool="large").models) == ["bert"]
    assert list(catalog_of(tmp_path).models) == ["bert", "iris"]


def test_a_transform_replaces_the_public_signature_but_not_the_graphs(tmp_path):
    public = (
        '[[inputs]]\nname = "text"\ndatatype = "BYTES"\nshape = [-1]\n'
        '[[outputs]]\nname = "vector"\ndatatype = "FP32"\nshape = [-1, 2]\n'
    )
    add_model(tmp_path, toml=f'default_version = "1"\n{public}')
    (tmp_path / "iris" / "transform.py").write_text("")
    model, version = catalog_of(tmp_path).find("iris")
    assert model.transform == "models/iris/transform.py"
    assert [tensor.name for tensor in version.inputs] == ["text"]
    assert [tensor.name for tensor in version.graph_inputs] == ["x"]


def test_runs_fetch_the_outputs_that_are_declared_in_their_order(tmp_path):
    given = [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("a", "b", "c")]
    add_model(tmp_path, toml='default_version = "1"\n[session]\noutputs = ["c", "a"]')
    path = tmp_path / "iris" / "1" / "manifest.json"
    path.write_text(json.dumps(manifest("iris", "1", outputs=given)))

    _, version = catalog_of(tmp_path).find("iris")

    assert [tensor.name for tensor in version.graph_outputs] == ["c", "a"]
    assert version.outputs == version.graph_outputs


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("default_version = 1", "default_version"),
        (
            'default_version = "1"\n[session]\noutputs = ["z"]',
            "session.outputs: the graph of version '1' has no output 'z'; it has y",
        ),
        ('default_version = "1"\n[session]\noutputs = ["y", "y"]', "outputs names one twice"),
        ('default_version = "2"', "versions found: 1"),
        ('default_version = "1"\npool = "large"', r"add a \[large\] table"),
        ('default_version = "1"\nlatency_class = ["async"]', "latency_class"),
        ('default_version = "1"\ncompute = "gpu"', 'list only "async" and "batch"'),
        ('default_version = "1"\nserve = ["2"]', "serve must contain"),
        ('default_version = "1"\nlatency_classes = ["async", "async"]', "twice"),
        ('default_version = "1"\nrequirements = ["x"]', "there is none"),
        ('default_version = "1"\n[[inputs]]\nname="t"\ndatatype="BYTES"\nshape=[-1]', "transform"),
        ("default_version = ", "is not TOML"),
    ],
)
def test_a_wrong_declaration_is_refused_with_the_file_and_the_fact(tmp_path, toml, says):
    add_model(tmp_path, toml=toml)
    with pytest.raises(RepositoryError, match=says) as refusal:
        read_repository(tmp_path)
    assert "model.toml" in str(refusal.value)


def test_a_pool_with_two_kinds_of_compute_is_refused_with_both_models(tmp_path):
    add_model(tmp_path, name="iris")
    gpu = 'default_version = "1"\ncompute = "gpu"\nlatency_classes = ["async"]'
    add_model(tmp_path, name="large", toml=gpu)
    with pytest.raises(RepositoryError, match="'large' has compute 'gpu' and model 'iris'"):
        read_repository(tmp_path)


def test_a_missing_manifest_names_the_command_that_writes_it(tmp_path):
    add_model(tmp_path)
    (tmp_path / "iris" / "1" / "model.onnx").write_bytes(b"")
    (tmp_path / "iris" / "1" / "manifest.json").unlink()
    with pytest.raises(RepositoryError, match="laneway models lock iris"):
        read_repository(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "rose"}, "was written for rose"),
        ({"files": []}, "files"),
        ({"files": [{"path": "../x", "sha256": "0" * 64, "size_bytes": 1}]}, "files.0.path"),
        ({"files": [{"path": "/etc/x", "sha256": "0" * 64, "size_bytes": 1}]}, "files.0.path"),
        ({"files": [{"path": "a/../x", "sha256": "0" * 64, "size_bytes": 1}]}, "leaves its folder"),
        ({"inputs": [{**TENSOR, "datatype": "FP8"}]}, "inputs.0.datatype"),
        ({"inputs": [{**TENSOR, "shape": [-2]}]}, "inputs.0.shape"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_member(tmp_path, change, says):
    add_model(tmp_path)
    path = tmp_path / "iris" / "1" / "manifest.json"
    path.write_text(json.dumps(manifest("iris", "1", **change)))
    with pytest.raises(RepositoryError, match=says):
        read_repository(tmp_path)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[shared]\nmemory_mib = 20480", "shared.memory_mib"),
        ("[shared]\nwarm = { min = 5, max = 2 }", "min 5 is above max 2"),
        ('[shared]\nwarm = "sometimes"', "shared.warm"),
        ("shared = 1", "write it as"),
    ],
)
def test_a_wrong_pool_is_refused_with_the_member(tmp_path, toml, says):
    (tmp_path / "pools.toml").write_text(toml)
    add_model(tmp_path)
    with pytest.raises(RepositoryError, match=says):
        read_repository(tmp_path)


def test_an_empty_folder_names_the_first_command(tmp_path):
    with pytest.raises(RepositoryError, match="laneway models add"):
        read_repository(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(RepositoryError, match="is not a folder"):
        read_repository(tmp_path / "nowhere")
