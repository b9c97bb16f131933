"""Puts a pool's models into its package: locked files, transforms with their side files, requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.repository import TRANSFORM_FILE
from stacks.errors import PackagingError
from stacks.packaging import layers
from stacks.packaging.cache import file_digest
from stacks.packaging.requirements import locked, without

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.repository import ModelEntry, Repository
    from shared.schema.spec import Manifest
    from stacks.packaging.content import Content
    from stacks.packaging.fetched import Fetched
    from stacks.packaging.forms import Forms, ShippedForm

NOT_SIDE_FILES: Final = ("model.toml", "golden.json", "golden", "__pycache__")
"""Beside a transform, but of no use to it; so are Markdown, hidden files and other Python scripts
that it does not import."""


def add_models(
    content: Content,
    entries: list[ModelEntry],
    forms: Forms | None = None,
    fetched: Fetched | None = None,
) -> None:
    """Add every served version of these models, as it is or in its form, and their transforms.

    Those that are fetched are left out.
    """
    for entry in entries:
        for version, manifest in entry.manifests.items():
            if (entry.name, version) in (fetched or {}):
                continue
            form = (forms or {}).get((entry.name, version))
            if form is None:
                _add_version(content, entry, version, manifest)
            else:
                _add_form(content, entry, version, form)
        if entry.transform is not None:
            for path in side_files(entry):
                place = path.relative_to(entry.folder).as_posix()
                content.copy(path, to=f"models/{entry.name}/{place}")


def add_requirements(content: Content, repository: Repository, pool: str) -> None:
    """Add what the pool's transforms import, from the pool's lock, less what the layer has.

    Raises PackagingError when there is no lock, or when it disagrees with the layer.
    """
    path, text = _lock_path(repository, pool), pool_lock(repository, pool)
    if not text:
        return
    layer = layers.packages_in(layers.ONNX_RUNTIME)
    _refuse_conflicts(path, locked(text), layer)
    content.requirements = without(text, layer.keys())


def pool_lock(repository: Repository, pool: str) -> str:
    """The lock of what a pool's transforms import; empty: nothing beyond the layers.

    Raises PackagingError when there is none and should be.
    """
    wanted = [entry for entry in repository.models_of(pool) if entry.spec.requirements]
    path = _lock_path(repository, pool)
    if not wanted:
        return ""
    if not path.is_file():
        raise PackagingError(
            f"{path} is missing: {wanted[0].name} requires {wanted[0].spec.requirements[0]}; "
            "lock the pool's requirements with: laneway models lock"
        )
    return path.read_text(encoding="utf-8")


def _lock_path(repository: Repository, pool: str) -> Path:
    return repository.folder / f"requirements-{pool}.txt"


def side_files(entry: ModelEntry) -> Iterator[Path]:
    """The transform and the files beside it, below the model's folder, without its versions.

    What is in a version's file already, as `[source]` says, is not beside it.
    """
    source = entry.spec.source
    appended = (
        {entry.folder / file.appended for file in source.files if file.appended} if source else ()
    )
    for path in sorted(entry.folder.rglob("*")):
        top = path.relative_to(entry.folder).parts[0]
        is_version = any((entry.folder / top / name).exists() for name in _VERSION_MARKS)
        if path.is_file() and not is_version and path not in appended and _is_side_file(path, top):
            yield path


_VERSION_MARKS: Final = ("manifest.json", "model.onnx")


def _is_side_file(path: Path, top: str) -> bool:
    if top in NOT_SIDE_FILES or top.startswith(".") or "__pycache__" in path.parts:
        return False
    if path.suffix == ".py":
        return path.name == TRANSFORM_FILE
    return path.suffix != ".md"


def _add_version(content: Content, entry: ModelEntry, version: str, manifest: Manifest) -> None:
    for file in manifest.files:
        path = entry.folder / version / file.path
        refuse_changed(path, entry.name, file.sha256)
        place = f"models/{entry.name}/{version}/{file.path}"
        content.copy(path, to=place, digest=file.sha256)


def _add_form(content: Content, entry: ModelEntry, version: str, form: ShippedForm) -> None:
    for path, sha256 in form.files.items():
        content.copy(path, to=f"models/{entry.name}/{version}/{path.name}", digest=sha256)


def refuse_changed(path: Path, model: str, sha256: str) -> None:
    """Raise PackagingError for a file that is missing, or not the one that was locked."""
    if not path.is_file():
        raise PackagingError(
            f"{path} is in the manifest, but not on disk; if it comes from a package, get it "
            f"with: laneway models pull {model}"
        )
    if file_digest(path) != sha256:
        raise PackagingError(
            f"{path} is not the file that was locked (SHA-256 differs from its manifest); put "
            f"the file back, or accept the new one with: laneway models lock {model}"
        )


def _refuse_conflicts(path: Path, wanted: dict[str, str], layer: dict[str, str]) -> None:
    for name, version in wanted.items():
        if name in layer and version not in layer[name].split(" or ") and version != layer[name]:
            raise PackagingError(
                f"{path} pins {name} {version}, but layers/onnx_runtime has {layer[name]}; "
                f"allow {layer[name]} in the models' requirements and lock again with: "
                "laneway models lock"
            )
