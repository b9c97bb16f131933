"""`laneway models lock`: manifests and requirements follow what was changed on purpose, nothing else."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from cli.models.add import add
from cli.models.check import check
from cli.models.lock import lock
from cli.models.requirements import LAYER
from cli.output import CommandError

TRANSFORM = "def postprocess(outputs, graph_inputs):\n    return {'y': outputs['y']}\n"


@pytest.fixture
def locked_model(tmp_path, onnx_file):
    """A model of our own in a repository of our own."""
    return add(onnx_file(), tmp_path / "new", name="net").folder


@pytest.fixture
def asks_for(locked_model):
    """Gives the model a transform that asks for packages."""

    def ask(*requirements):
        tensor = 'datatype = "FP32"\nshape = [-1, 2]\n'
        path = locked_model / "model.toml"
        text = re.sub(r"^requirements.*\n", "", path.read_text(encoding="utf-8"))
        if "[[inputs]]" not in text:
            text += f'\n[[inputs]]\nname = "x"\n{tensor}\n[[outputs]]\nname = "y"\n{tensor}'
        path.write_text(f"requirements = {json.dumps(requirements)}\n{text}", encoding="utf-8")
        (locked_model / "transform.py").write_text(TRANSFORM, encoding="utf-8")
        return locked_model.parent

    return ask


def states(repository, **options):
    return {file.path.parent.name: file.state for file in lock(repository, **options)}


def test_a_file_that_was_replaced_is_inspected_anew(locked_model, onnx_file):
    repository = locked_model.parent
    (locked_model / "1/model.onnx").write_bytes(onnx_file(shape=("batch", 5)).read_bytes())
    assert not all(finding.ok for finding in check(repository))

    assert states(repository) == {"1": "inspected anew"}

    assert all(finding.ok for finding in check(repository))
    manifest = json.loads((locked_model / "1/manifest.json").read_text(encoding="utf-8"))
    assert manifest["inputs"][0]["shape"] == [-1, 5]


def test_what_did_not_change_is_not_written(locked_model):
    path = locked_model / "1/manifest.json"
    before = path.stat().st_mtime_ns

    assert states(locked_model.parent) == {"1": "unchanged"}
    assert path.stat().st_mtime_ns == before


def test_a_missing_or_spoilt_manifest_is_written_anew(locked_model):
    path = locked_model / "1/manifest.json"
    before = path.read_text(encoding="utf-8")
    path.write_text("{}", encoding="utf-8")

    assert states(locked_model.parent) == {"1": "inspected anew"}
    assert path.read_text(encoding="utf-8") == before


def test_the_lineage_of_the_default_version_goes_into_its_manifest(repository):
    path = repository / "breast-cancer/model.toml"
    text = path.read_text(encoding="utf-8").replace("accuracy = 0.979", "accuracy = 0.5")
    path.write_text(text, encoding="utf-8")

    assert states(repository) == {"1": "unchanged", "2": "lineage updated"}


def test_measuring_again_finds_the_same(repository):
    path = repository / "breast-cancer/1/manifest.json"
    before = path.read_text(encoding="utf-8")

    assert states(repository, measure=True) == {"1": "inspected anew", "2": "inspected anew"}
    assert path.read_text(encoding="utf-8") == before


def test_weights_that_were_not_pulled_are_said_to_be_absent(repository):
    (repository / "breast-cancer/1/model.onnx").unlink()

    assert states(repository)["1"] == "not here"


def test_a_file_that_cannot_be_served_is_refused(locked_model):
    (locked_model / "1/model.onnx").write_bytes(b"spoilt")

    with pytest.raises(CommandError, match="cannot be served"):
        lock(locked_model.parent)


def test_what_transforms_import_is_locked_with_hashes(asks_for, make_wheel):
    wheel = make_wheel("some-reader", "1.4")
    repository = asks_for("some-reader>=1,<2")

    lock(repository)

    text = (repository / "requirements-shared.txt").read_text(encoding="utf-8")
    assert "some-reader==1.4" in text
    assert f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in text
    assert all(finding.ok for finding in check(repository))


def test_other_requirements_make_the_lock_stale_until_it_is_written_anew(asks_for, make_wheel):
    make_wheel("some-reader", "1.4")
    make_wheel("some-reader", "2.0")
    lock(asks_for("some-reader<2"))

    repository = asks_for("some-reader>=2")

    assert any("made for other requirements" in finding.detail for finding in check(repository))
    lock(repository)
    assert all(finding.ok for finding in check(repository))


def test_a_version_that_still_fits_is_kept_when_a_newer_one_appears(asks_for, make_wheel):
    make_wheel("some-reader", "1.4")
    repository = asks_for("some-reader<2")
    lock(repository)
    make_wheel("some-reader", "1.5")

    lock(repository)

    assert "some-reader==1.4" in (repository / "requirements-shared.txt").read_text(
        encoding="utf-8"
    )


def test_the_layers_packages_are_constraints_and_not_repeated(asks_for, make_wheel):
    (version,) = re.findall(r"^numpy==(\S+)", LAYER.read_text(encoding="utf-8"), re.MULTILINE)[:1]
    make_wheel("numpy", version)
    make_wheel("some-reader", "1.4", metadata="Requires-Dist: numpy>=1\n")
    repository = asks_for("some-reader")

    lock(repository)

    text = (repository / "requirements-shared.txt").read_text(encoding="utf-8")
    assert "some-reader==1.4" in text
    assert "numpy" not in text


def test_a_requirement_that_the_layer_contradicts_is_refused_in_uvs_words(asks_for, make_wheel):
    make_wheel("numpy", "1.0")
    repository = asks_for("numpy<2")

    with pytest.raises(CommandError, match=r"locking the requirements of pool 'shared' failed"):
        lock(repository)


def test_a_lock_that_nobody_needs_any_more_is_removed(asks_for, make_wheel):
    make_wheel("some-reader", "1.4")
    repository = asks_for("some-reader")
    lock(repository)

    lock(asks_for())

    assert not (repository / "requirements-shared.txt").exists()
