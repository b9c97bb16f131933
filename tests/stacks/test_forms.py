"""A package ships a version's offline-optimised form where locking found that it pays, and where it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shutil
import time
from importlib.metadata import version as version_of

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from shared.catalog import SessionSpec, load_catalog
from shared.errors import ModelDigestError, ModelUnavailableError
from shared.inference.session import load_session
from shared.limits import LAMBDA_PACKAGE_BYTES
from shared.repository import read_repository
from stacks.errors import PackagingError
from stacks.packaging import Asset, BuildContext
from stacks.packaging.build import build_fitting_pool, build_pool
from stacks.packaging.fetched import CODE_BYTES
from stacks.packaging.forms import forms_of
from tests.fixtures.small_models import write_model

SPEC = SessionSpec(None, 1, "all", memory_arena=True)
MACHINE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
OTHER = {"x86_64": "arm64", "arm64": "x86_64"}[MACHINE]
WIDTH = 1280
FORM = ["optimized.onnx", "optimized.onnx.data"]


def quantized():
    """A product with weights of one byte each, which optimising makes floats."""
    weights = np.random.default_rng(0).integers(-99, 99, (WIDTH, WIDTH), np.int8)
    constants = [numpy_helper.from_array(weights, "stored")]
    nodes = [
        helper.make_node("Cast", ["stored"], ["weights"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "weights"], ["y"]),
    ]
    return nodes, constants


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "pools.toml").write_text("[shared]\n")
    write_model(folder, "wide", "1", quantized(), x=("FP32", [-1, WIDTH]), y=("FP32", [-1, WIDTH]))
    measure(folder, onnxruntime=version_of("onnxruntime"), optimization="disabled")
    return folder


def measure(models, *, machine=MACHINE, **found):
    """What locking would have found of the version."""
    path = models / "wide" / "1" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "forms": {machine: found}}))


@pytest.fixture
def models(locked, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(locked, tmp_path / "models")


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return BuildContext(root=tmp_path_factory.mktemp("build"), architecture=MACHINE)


@pytest.fixture
def shipped(locked, context, tmp_path):
    """A copy of the package with the form, and what its catalog says of the version."""
    package = build_fitting_pool(read_repository(locked), "shared", context, layers=())
    folder = shutil.copytree(package.folder, tmp_path / "package")
    return folder, load_catalog(folder / "catalog.json").find("wide")[1]


@pytest.fixture
def plain(locked, context):
    """The package without, and what its catalog says."""
    package = build_pool(read_repository(locked), "shared", context)
    return package.folder, load_catalog(package.folder / "catalog.json").find("wide")[1]


def names_in(folder, version):
    return sorted(path.name for path in (folder / version.folder).iterdir())


def forms(models, context):
    return forms_of(read_repository(models).models.values(), context)


def answer(folder, version):
    x = np.random.default_rng(1).standard_normal((3, WIDTH), np.float32)
    session = load_session(folder / version.folder, version, SPEC)
    return session.run({"x": x}, ["y"], time.monotonic() + 60)[0].tobytes()


def test_the_form_is_shipped_in_place_of_the_file_and_answers_the_same(shipped, plain):
    form, as_locked = shipped[1], plain[1]

    assert names_in(*shipped) == FORM
    assert names_in(*plain) == ["model.onnx"]
    assert answer(*shipped) == answer(*plain)
    assert form.digest == as_locked.digest  # what is served is named by the file that was locked
    assert form.size_bytes > as_locked.size_bytes


@pytest.mark.parametrize("file", FORM)
def test_a_form_that_changed_after_packaging_is_not_loaded(shipped, file):
    folder, version = shipped
    path = folder / version.folder / file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(ModelDigestError, match=f"file '{file}' of model 'wide'"):
        load_session(path.parent, version, SPEC)


def test_a_form_is_loaded_by_the_onnxruntime_that_made_it_alone(shipped):
    folder, version = shipped
    other = dataclasses.replace(version.form, onnxruntime="1.0.0")

    with pytest.raises(ModelUnavailableError, match=r"by onnxruntime 1\.0\.0, .* deploy it again"):
        load_session(folder / version.folder, dataclasses.replace(version, form=other), SPEC)


@pytest.mark.parametrize(
    "found",
    [
        {"onnxruntime": "1.0.0", "optimization": "disabled"},
        {"onnxruntime": version_of("onnxruntime"), "reason": "a run takes 2 times as long"},
        {
            "onnxruntime": version_of("onnxruntime"),
            "optimization": "disabled",
            "machine": OTHER,
        },
    ],
    ids=["measured by another onnxruntime", "does not pay", "measured on another machine"],
)
def test_the_plain_file_is_shipped_otherwise(models, context, found):
    measure(models, **found)

    assert forms(models, context) == {}


def test_a_package_for_another_machine_than_this_has_the_plain_file(models, context):
    measure(models, machine=OTHER, onnxruntime=version_of("onnxruntime"), optimization="disabled")

    assert forms(models, dataclasses.replace(context, architecture=OTHER)) == {}


def test_a_model_may_declare_that_its_file_is_served_as_it_is(models, context):
    with (models / "wide" / "model.toml").open("a") as file:
        file.write('form = "plain"\n')

    assert forms(models, context) == {}


def layer_beside(folder, left_bytes):
    """A layer beside which a package has so much room for models, and which takes none."""
    folder.mkdir()
    with (folder / "big").open("wb") as file:
        file.truncate(LAMBDA_PACKAGE_BYTES - CODE_BYTES - left_bytes)
    return Asset(folder=folder, digest="0")


def test_a_form_that_there_is_no_room_for_is_left_out(locked, context, plain, tmp_path):
    layer = layer_beside(tmp_path / "layer", plain[1].size_bytes)

    fitting = build_fitting_pool(read_repository(locked), "shared", context, layers=(layer,))

    assert names_in(fitting.folder, plain[1]) == ["model.onnx"]


def test_a_version_that_is_fetched_is_fetched_as_it_is(locked, context, plain, tmp_path):
    layer = layer_beside(tmp_path / "layer", plain[1].size_bytes - 1)

    package = build_fitting_pool(read_repository(locked), "shared", context, layers=(layer,))

    [version] = load_catalog(package.folder / "catalog.json").find("wide")[0].versions.values()
    assert version.fetched
    assert version.form is None
    assert [(file.path, file.size_bytes) for file in version.loaded] == [
        ("model.onnx", plain[1].size_bytes)
    ]


def test_a_form_is_made_once(locked, context):
    [first] = forms(locked, context).values()
    written = [path.stat().st_ino for path in first.files]

    [second] = forms(locked, context).values()

    assert [path.stat().st_ino for path in second.files] == written


def test_a_form_that_answers_differently_here_is_refused_with_the_way_out(models, context):
    folder = models / "wide" / "1"
    model = onnx.load(folder / "model.onnx")
    noise = helper.make_node("RandomNormalLike", ["product"], ["noise"])
    model.graph.node[1].output[0] = "product"
    model.graph.node.extend([noise, helper.make_node("Add", ["product", "noise"], ["y"])])
    relock(folder, model)

    with pytest.raises(PackagingError, match=r"answers differently here.*lock wide --measure"):
        forms(models, context)


def test_a_version_without_weights_to_put_apart_has_no_form(models, context):
    folder = models / "wide" / "1"
    model = onnx.load(folder / "model.onnx")
    del model.graph.initializer[:]
    del model.graph.node[:]
    model.graph.node.extend(
        [helper.make_node("ReduceMean", ["x"], ["m"]), helper.make_node("Identity", ["m"], ["y"])]
    )
    relock(folder, model)

    with pytest.raises(PackagingError, match=r"cannot be made: it has no weights"):
        forms(models, context)


def relock(folder, model):
    """Put another graph in place of the one that was locked, with its digest."""
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"][0] |= {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
    }
    path.write_text(json.dumps(manifest))
