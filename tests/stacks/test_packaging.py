"""Packages hold what their function needs, are rebuilt when that changes, and refuse what cannot run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from shared.catalog import load_catalog
from shared.limits import LAMBDA_PACKAGE_BYTES
from shared.repository import ModelEntry, Repository, read_repository
from shared.schema.spec import (
    Manifest,
    ManifestFile,
    ModelSpec,
    PoolSpec,
    Source,
    SourceFile,
    Stacking,
)
from stacks.errors import PackagingError
from stacks.packaging import Asset, BuildContext
from stacks.packaging.budget import check_size
from stacks.packaging.build import build_function, build_ingress, build_pool
from stacks.packaging.bytecode import compile_tree
from stacks.packaging.cache import built
from stacks.packaging.content import Content
from stacks.packaging.layers import ONNX_RUNTIME, packages_in
from stacks.packaging.models import add_requirements, side_files
from stacks.packaging.requirements import locked, without
from stacks.packaging.sources import modules_needed

PROJECT = Path(__file__).parents[2]
POOL = "shared"


@pytest.fixture
def context(tmp_path: Path) -> BuildContext:
    return BuildContext(root=tmp_path / "build")


@pytest.fixture
def models(small_models: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(small_models, tmp_path / "models"))


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_pools_package_holds_its_function_models_and_catalog(models, context) -> None:
    repository = read_repository(models)

    package = build_pool(repository, POOL, context)

    names = names_in(package.folder)
    assert {"functions/realtime/handler.py", "functions/api_gateway.py", "catalog.json"} <= names
    catalog = load_catalog(package.folder / "catalog.json")
    assert set(catalog.models) == {entry.name for entry in repository.models_of(POOL)}
    assert catalog.validators
    for model in catalog.models.values():
        for version in model.versions.values():
            for file in version.files:
                size = (package.folder / version.folder / file.path).stat().st_size
                assert size == file.size_bytes


def test_a_pools_package_leaves_out_what_only_synthesis_and_other_functions_need(
    models, context
) -> None:
    names = names_in(build_pool(read_repository(models), POOL, context).folder)

    assert not any(name.startswith(("functions/ingress", "functions/authorizer")) for name in names)
    assert "shared/repository.py" not in names


def test_the_ingress_package_describes_every_model_and_holds_none(models, context) -> None:
    repository = read_repository(models)

    package = build_ingress(repository, context)

    names = names_in(package.folder)
    assert {
        "functions/ingress/handler.py",
        "catalog.json",
        "openapi.json",
        "shared/schema/docs.html",
    } <= names
    assert not any(name.startswith(("models/", "shared/inference")) for name in names)
    described = json.loads((package.folder / "openapi.json").read_bytes())
    assert set(load_catalog(package.folder / "catalog.json").models) == set(repository.models)
    for name, entry in repository.models.items():
        if "realtime" in entry.spec.latency_classes:
            assert f"/v2/models/{name}/infer" in described["paths"]


def test_every_source_in_a_package_has_its_bytecode(models, context) -> None:
    for package in (
        build_pool(read_repository(models), POOL, context),
        build_function("authorizer", context, with_lock=False),
    ):
        names = names_in(package.folder)
        sources = [name for name in names if name.endswith(".py")]
        compiled = {name for name in names if name.endswith(".pyc")}
        assert len(sources) == len(compiled)


def test_nothing_is_built_twice(models, context) -> None:
    first = build_pool(read_repository(models), POOL, context)
    marker = first.folder / "catalog.json"
    written = marker.stat().st_ino, marker.stat().st_mtime_ns

    second = build_pool(read_repository(models), POOL, context)

    assert second == first
    assert (marker.stat().st_ino, marker.stat().st_mtime_ns) == written


def test_a_changed_transform_makes_another_package(models, context) -> None:
    repository = read_repository(models)
    before = build_pool(repository, POOL, context)
    transform = next(e.transform for e in repository.models.values() if e.transform is not None)
    transform.write_text(transform.read_text() + "\n# changed\n")

    after = build_pool(read_repository(models), POOL, context)

    assert after.digest != before.digest


def test_the_architecture_is_part_of_what_a_package_is(models, context) -> None:
    repository = read_repository(models)
    other = dataclasses.replace(context, architecture="arm64")

    assert (
        build_pool(repository, POOL, context).digest != build_pool(repository, POOL, other).digest
    )


def test_an_interrupted_build_is_not_taken_for_a_finished_one(tmp_path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").write_text("")
        raise PackagingError("stopped")

    with pytest.raises(PackagingError):
        built(tmp_path, "kind", "digest", fails)

    whole = built(tmp_path, "kind", "digest", lambda folder: (folder / "all").touch())
    assert names_in(whole.folder) == {"all"}


def test_a_model_file_that_changed_after_locking_is_refused(models, context) -> None:
    repository = read_repository(models)
    entry = repository.models_of(POOL)[0]
    path = entry.folder / entry.spec.default_version / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")

    with pytest.raises(PackagingError, match=rf"not the file that was locked.*lock {entry.name}"):
        build_pool(repository, POOL, context)


def test_a_model_file_that_is_missing_is_refused_with_how_to_get_it(models, context) -> None:
    repository = read_repository(models)
    entry = repository.models_of(POOL)[0]
    (entry.folder / entry.spec.default_version / "model.onnx").unlink()

    with pytest.raises(PackagingError, match=rf"not on disk.*laneway models pull {entry.name}"):
        build_pool(repository, POOL, context)


def test_a_transform_keeps_the_files_beside_it_and_not_those_of_its_author(tmp_path) -> None:
    folder = tmp_path / "text"
    for name in (
        "transform.py", "vocab.txt", "data/labels.json", "model.toml", "golden.json", "SOURCE.md",
        "make_golden.py", ".notes", "more.onnx", "1/model.onnx", "1/manifest.json", "__pycache__/x.pyc",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    digest = "0" * 64
    appended = SourceFile(
        member="m", path="1/model.onnx", sha256=digest, appended="more.onnx", result_sha256=digest
    )
    source = Source(package="text==1", sha256=digest, files=(appended,))
    spec = ModelSpec(default_version="1", source=source)
    entry = ModelEntry(name="text", folder=folder, spec=spec, manifests={})

    kept = {path.relative_to(folder).as_posix() for path in side_files(entry)}

    assert kept == {"transform.py", "vocab.txt", "data/labels.json"}


def repository_with(folder: Path, *, requirements: tuple[str, ...] = (), size: int = 1):
    (folder / "1").mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        model="big",
        version="1",
        files=(ManifestFile(path="model.onnx", sha256="0" * 64, size_bytes=size),),
        inputs=({"name": "x", "datatype": "FP32", "shape": [1]},),
        outputs=({"name": "y", "datatype": "FP32", "shape": [1]},),
        opset={"": 21},
        stacking=Stacking(row_independent=True),
    )
    spec = ModelSpec(default_version="1", requirements=requirements)
    entry = ModelEntry(name="big", folder=folder, spec=spec, manifests={"1": manifest})
    return Repository(folder=folder, models={"big": entry}, pools={POOL: PoolSpec()})


def test_requirements_without_a_lock_are_refused_with_how_to_lock(tmp_path) -> None:
    repository = repository_with(tmp_path, requirements=("pillow>=12",))

    with pytest.raises(
        PackagingError, match=r"requirements-shared\.txt is missing.*pillow.*laneway models lock"
    ):
        add_requirements(Content(), repository, POOL)


def test_a_requirement_at_odds_with_the_layer_names_the_pair(tmp_path) -> None:
    repository = repository_with(tmp_path, requirements=("orjson<3",))
    (tmp_path / "requirements-shared.txt").write_text("orjson==2.0.0 \\\n    --hash=sha256:0\n")

    with pytest.raises(PackagingError, match=r"orjson 2\.0\.0.*layers/onnx_runtime has 3\."):
        add_requirements(Content(), repository, POOL)


def test_what_the_layer_has_is_not_packaged_again(tmp_path) -> None:
    repository = repository_with(tmp_path, requirements=("thing", "orjson"))
    version = packages_in(ONNX_RUNTIME)["orjson"]
    (tmp_path / "requirements-shared.txt").write_text(
        f"orjson=={version} \\\n    --hash=sha256:0\nthing==1.0 \\\n    --hash=sha256:1\n"
    )
    content = Content()

    add_requirements(content, repository, POOL)

    assert locked(content.requirements) == {"thing": "1.0"}
    assert "sha256:0" not in content.requirements
    assert "sha256:1" in content.requirements


def test_packages_are_left_out_of_a_lock_with_their_hashes() -> None:
    lock = "a-b==1 ; python_version < '3.12' \\\n    --hash=sha256:0\n    # via x\nc==2 \\\n    --hash=sha256:1\n"

    assert without(lock, {"a-b"}) == "c==2 \\\n    --hash=sha256:1\n"
    assert locked("A_b==1\na.b==2 ; python_version < '3.12'\n") == {"a-b": "1 or 2"}


def sparse(folder: Path, size_bytes: int) -> Asset:
    """A folder that counts this many bytes and takes none."""
    folder.mkdir()
    with (folder / "big").open("wb") as file:
        file.truncate(size_bytes)
    return Asset(folder=folder, digest="0")


def test_a_pool_over_lambdas_limit_is_refused_with_its_largest_model(tmp_path) -> None:
    repository = repository_with(tmp_path / "models", size=200 * 1024 * 1024)
    layer = sparse(tmp_path / "layer", 90 * 1024 * 1024)
    package = sparse(tmp_path / "package", LAMBDA_PACKAGE_BYTES - 90 * 1024 * 1024 + 1)

    with pytest.raises(
        PackagingError, match=r"pool 'shared'.*250 MiB.*'big' with 200 MiB.*pool of its own"
    ):
        check_size(POOL, package, (layer,), repository)


def test_a_pool_exactly_at_the_limit_is_deployed(tmp_path) -> None:
    repository = repository_with(tmp_path / "models")
    layer = sparse(tmp_path / "layer", 90 * 1024 * 1024)
    package = sparse(tmp_path / "package", LAMBDA_PACKAGE_BYTES - 90 * 1024 * 1024)

    check_size(POOL, package, (layer,), repository)


def test_a_source_that_does_not_compile_is_refused_with_its_place(tmp_path) -> None:
    (tmp_path / "transform.py").write_text("def broken(:\n")

    with pytest.raises(PackagingError, match=r"(?s)does not compile.*transform\.py"):
        compile_tree(tmp_path, deployed_at="/var/task")


def test_imports_are_followed_into_functions_and_not_into_type_checking(tmp_path) -> None:
    files = {
        "functions/__init__.py": "",
        "functions/a.py": (
            "from typing import TYPE_CHECKING\n"
            "from shared import direct\n"
            "if TYPE_CHECKING:\n    from shared.annotation import X\n"
            "def later():\n    try:\n        import shared.lazy\n"
            "    except ImportError:\n        import shared.fallback\n"
        ),
        "shared/__init__.py": "",
        "shared/direct.py": "import shared.deep.inner\n",
        "shared/annotation.py": "",
        "shared/lazy.py": "",
        "shared/fallback.py": "",
        "shared/unused.py": "",
        "shared/deep/__init__.py": "",
        "shared/deep/inner.py": "import json\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    found = modules_needed(tmp_path, tmp_path / "functions" / "a.py")

    names = {path.relative_to(tmp_path).as_posix() for path in found}
    assert names == set(files) - {"shared/annotation.py", "shared/unused.py"}


@pytest.mark.parametrize(
    "function",
    [
        "realtime",
        "queue_worker",
        "ingress",
        "authorizer",
        "sweeper",
        "webhooks",
        "batch_splitter",
        "batch_finisher",
        "fleet_scaler",
        "send",
        "deployments",
    ],
)
def test_every_function_of_the_project_is_packaged_with_what_it_imports(function) -> None:
    entry = PROJECT / "functions" / function / "handler.py"

    names = {path.relative_to(PROJECT).as_posix() for path in modules_needed(PROJECT, entry)}

    assert f"functions/{function}/handler.py" in names
    assert {"functions/__init__.py", "shared/__init__.py"} <= names
