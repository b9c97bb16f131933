"""The bills of materials: valid CycloneDX, and of what the locks, manifests and the Dockerfile say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from shared.repository import read_repository
from stacks.bills import OF_POOLS, locked_for, main, write_bills
from stacks.packaging.assets import BuildContext
from stacks.packaging.layers import CONTROL, ONNX_RUNTIME, packages_in

PROJECT = Path(__file__).parents[2]
LOCK = """\
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00
numpy==2.4.1 ; python_full_version >= '3.12' \\
    --hash=sha256:01
numpy==2.3.9 ; python_full_version < '3.12' \\
    --hash=sha256:02
uvloop[all]==1.2 \\
    --hash=sha256:03
    # via nobody==9
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The text of each bill, by name."""
    paths = write_bills(read_repository(PROJECT / "models"), tmp_path_factory.mktemp("sbom"))
    return {path.name.removesuffix(".cdx.json"): path.read_text() for path in paths}


def parts(written, name, kind="library"):
    return {
        item["name"]: item.get("version", "")
        for item in json.loads(written[name])["components"]
        if item["type"] == kind
    }


def test_everything_that_is_deployed_has_one(written):
    functions = {
        f"function-{path.parent.name}"
        for path in (PROJECT / "functions").glob("*/handler.py")
        if path.parent.name not in OF_POOLS
    }
    layers = {"layer-onnx_runtime", "layer-control"}
    pools = {"pool-shared", "image-shared-cpu", "image-heavy-cuda"}
    assert set(written) == functions | layers | pools


def test_each_is_valid_cyclonedx(written):
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert {name: validator.validate_str(text) for name, text in written.items()} == dict.fromkeys(
        written
    )


@pytest.mark.parametrize("recipe", [ONNX_RUNTIME, CONTROL], ids=lambda recipe: recipe.name)
def test_a_layers_bill_is_its_lock_less_what_is_dropped(written, recipe):
    found, locked = parts(written, f"layer-{recipe.name}"), packages_in(recipe)
    assert found
    assert {name.lower() for name in found} <= locked.keys()
    assert all(version in locked[name.lower()] for name, version in found.items())
    assert not found.keys() & recipe.drop_packages


def test_a_worker_image_names_its_runtime_its_base_and_its_models_files(written):
    name = "image-heavy-cuda"
    assert "onnxruntime-gpu" in parts(written, name)
    (base,) = [
        item for item in json.loads(written[name])["components"] if item["type"] == "container"
    ]
    assert (
        f"FROM {base['name']}:{base['version']}@sha256:{base['hashes'][0]['content']} "
        in (PROJECT / "gpu_workers" / "Dockerfile").read_text()
    )
    models = [
        item
        for item in json.loads(written[name])["components"]
        if item["type"] == "machine-learning-model"
    ]
    for model in models:
        manifest = PROJECT / "models" / model["name"] / model["version"] / "manifest.json"
        files = {item["path"]: item["sha256"] for item in json.loads(manifest.read_text())["files"]}
        told = {item["name"]: item["hashes"][0]["content"] for item in model["components"]}
        assert told == files
    assert models


def test_what_other_machines_and_interpreters_get_is_left_out():
    for minor, version in ((11, "2.3.9"), (13, "2.4.1")):
        found = locked_for(LOCK, BuildContext(python_minor=(3, minor)))
        assert [(item.name, str(item.specifier)) for item in found] == [
            ("numpy", f"=={version}"),
            ("uvloop", "==1.2"),
        ]


def test_the_same_contents_have_the_same_number(written, tmp_path):
    again = write_bills(read_repository(PROJECT / "models"), tmp_path)
    numbers = {path.name: json.loads(path.read_text())["serialNumber"] for path in again}
    assert numbers == {
        f"{name}.cdx.json": json.loads(text)["serialNumber"] for name, text in written.items()
    }
    assert len(set(numbers.values())) == len(numbers)


def test_no_bill_names_a_place_of_this_machine(written):
    assert not [name for name, text in written.items() if re.search(r'"/|file:', text)]


def test_the_command_says_where_they_are(capsys):
    assert main([]) == 0
    assert "build/sbom/layer-control.cdx.json" in capsys.readouterr().out.splitlines()
