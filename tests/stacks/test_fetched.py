"""A version that no package can hold is uploaded by itself, and only its pool's functions may read it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from shared.catalog import load_catalog
from shared.limits import LAMBDA_PACKAGE_BYTES, MIB
from shared.repository import read_repository
from stacks.deployment import Deployment
from stacks.errors import PackagingError, SynthError
from stacks.packaging import Asset, BuildContext
from stacks.packaging.build import build_fitting_pool
from stacks.packaging.fetched import disk_mib, fetched_of
from stacks.stages import STAGES

POOL = "shared"


def layer(folder, left_bytes):
    """A layer that leaves so many bytes of a package, and takes none."""
    folder.mkdir()
    with (folder / "big").open("wb") as file:
        file.truncate(LAMBDA_PACKAGE_BYTES - left_bytes)
    return Asset(folder=folder, digest="0")


@pytest.fixture
def larger(small_models, tmp_path):
    """The models of pool `shared`, one of which has a megabyte that the others have not."""
    models = shutil.copytree(small_models, tmp_path / "models")
    folder = models / "scale" / "2"
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\x42\x00" * MIB)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"][0] |= locked(folder / "model.onnx")
    path.write_text(json.dumps(manifest))
    toml = models / "scale" / "model.toml"
    toml.write_text(toml.read_text().replace('default_version = "1"', 'default_version = "2"'))
    return read_repository(models)


def locked(path):
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


@pytest.fixture
def layers(tmp_path):
    """Beside which there is room for the code, and for models of less than a megabyte."""
    return (layer(tmp_path / "layer", 5 * MIB),)


def test_a_version_that_no_package_can_hold_is_left_out_and_named_by_its_key(
    larger, layers, tmp_path
):
    found = fetched_of(larger.models_of(POOL), layers)
    assert list(found) == [("scale", "2")]

    package = build_fitting_pool(larger, POOL, BuildContext(root=tmp_path / "build"), layers=layers)
    model = load_catalog(package.folder / "catalog.json").models["scale"]
    assert model.version("2").fetched
    assert not model.version("1").fetched
    assert not (package.folder / "models" / "scale" / "2" / "model.onnx").exists()
    assert (package.folder / "models" / "scale" / "1" / "model.onnx").exists()


def test_models_that_each_fit_are_not_left_out(larger, tmp_path):
    assert fetched_of(larger.models_of(POOL), (layer(tmp_path / "layer", 11 * MIB),)) == {}


def test_more_than_a_function_has_disk_for_is_refused_with_the_way_out(larger, layers):
    entry = larger.models["scale"]
    manifest = entry.manifests["2"]
    huge = manifest.files[0].model_copy(update={"size_bytes": 10_000 * MIB})
    manifests = {"2": manifest.model_copy(update={"files": (huge,)})}

    with pytest.raises(PackagingError, match=r"scale 2 .* need a disk of 10512 MiB .*serve fewer"):
        fetched_of([replace(entry, manifests=manifests)], layers)


@pytest.fixture
def pools(repository, assets, tmp_path):
    """Synthesizes the stack of pools alone, of which pool `shared` fetches something; gives its folder."""
    from aws_cdk import App  # noqa: PLC0415 - after `stacks`, which the sorter moves

    from stacks.pools import PoolsStack  # noqa: PLC0415 - as above

    def synth(found, **changes):
        stage = replace(STAGES["dev"], **changes)
        fetching = replace(assets, fetched={POOL: found})
        app = App(outdir=str(tmp_path / "cdk"), analytics_reporting=False)
        PoolsStack(app, deployment=Deployment(stage=stage, repository=repository, assets=fetching))
        app.synth()
        return tmp_path / "cdk"

    return synth


def test_functions_read_just_their_pools_objects_and_have_a_disk_for_them(larger, layers, pools):
    found = fetched_of(larger.models_of(POOL), layers)
    [file] = found["scale", "2"]

    folder = pools(found)

    uploaded = (folder / "laneway-dev-pools.assets.json").read_text()
    assert f'"objectKey": "{file.key}"' in uploaded
    template = json.loads((folder / "laneway-dev-pools.template.json").read_bytes())
    properties = [
        (resource["Type"], resource.get("Properties", {}))
        for resource in template["Resources"].values()
    ]
    functions = {
        item["FunctionName"].removeprefix("laneway-dev-"): item
        for kind, item in properties
        if kind == "AWS::Lambda::Function"
    }
    for name in ("shared-realtime", "shared-queue-worker", "shared-chunk-worker"):
        assert functions[name]["EphemeralStorage"] == {"Size": disk_mib(found)}
        assert functions[name]["Environment"]["Variables"]["MODELS_BUCKET"]
    assert "EphemeralStorage" not in functions["hot-realtime"]
    assert functions["hot-realtime"]["Environment"]["Variables"]["MODELS_BUCKET"] == ""
    allowed = [
        statement
        for kind, item in properties
        if kind == "AWS::IAM::Policy"
        for statement in item["PolicyDocument"]["Statement"]
        if statement.get("Sid") == "FetchModels"
    ]
    assert len(allowed) == 3
    for statement in allowed:
        assert statement["Action"] == "s3:GetObject"
        assert json.dumps(statement["Resource"]).endswith(f'/{file.key}"]]}}')


def test_a_disk_that_snapstart_cannot_keep_is_refused(larger, layers, pools):
    found = fetched_of(larger.models_of(POOL), layers)

    with pytest.raises(SynthError, match="SnapStart takes 512 MiB of disk at most"):
        pools(found, warm={POOL: "snapstart"})
