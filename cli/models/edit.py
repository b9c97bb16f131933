"""Changes model.toml in place and keeps its comments and order."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import tomlkit

from cli.models import manifest as manifests
from cli.models.folders import MODEL_TOML
from cli.output import CommandError
from shared.repository import read_manifest, read_model_spec, versions_on_disk

if TYPE_CHECKING:
    from pathlib import Path

    from shared.schema.spec import Lineage, ModelSpec

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def use(folder: Path, version: str) -> list[str]:
    """Make `version` the default and keep the others served; the versions that are served then.

    The version that was the default stays in the package, so that going back needs no build.
    `[lineage]` speaks for the default version, so it changes with it; the old one's is kept in its
    manifest.
    """
    path = folder / MODEL_TOML
    spec = read_model_spec(path)
    on_disk = versions_on_disk(folder)
    if version not in on_disk:
        raise CommandError(
            f"model {folder.name!r} has no version {version!r}; it has {', '.join(on_disk)}"
        )
    lineage = read_manifest(folder / version / manifests.MANIFEST_FILE).lineage
    served = spec.serve if spec.serve is not None else (spec.default_version,)
    serve = [version, *(other for other in served if other != version)]
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document["default_version"] = version
    if spec.serve is not None or len(serve) > 1:
        document["serve"] = serve
    if version != spec.default_version:
        _keep_lineage(folder, spec)
        _set_lineage(document, spec.lineage, lineage)
    _replace(path, tomlkit.dumps(document))
    return serve


def _keep_lineage(folder: Path, spec: ModelSpec) -> None:
    """Carry what model.toml says into the manifest of the version that it said it for."""
    version = folder / spec.default_version
    before = manifests.previous(version)
    if before is not None and before.lineage != spec.lineage:
        manifests.write(version, before.model_copy(update={"lineage": spec.lineage}))


def _set_lineage(document: tomlkit.TOMLDocument, old: Lineage, new: Lineage) -> None:
    if old == new:
        return
    table: Any = document.setdefault("lineage", tomlkit.table())
    for key, value in new.model_dump().items():
        if value in (None, {}):
            table.pop(key, None)
        elif value != getattr(old, key):
            table[key] = _inline(value) if isinstance(value, dict) else value


def _inline(numbers: dict[str, float]) -> Any:
    """An inline table as people write it: `{ accuracy = 0.97 }`."""
    pairs = [
        f"{key if BARE_KEY.fullmatch(key) else json.dumps(key)} = {value!r}"
        for key, value in numbers.items()
    ]
    return tomlkit.parse(f"table = {{ {', '.join(pairs)} }}")["table"]


def _replace(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    read_model_spec(partial)
    partial.replace(path)
