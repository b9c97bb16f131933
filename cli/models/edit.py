"""Changes model.toml in place and keeps its comments and order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from cli.models.folders import MODEL_TOML
from cli.output import CommandError
from shared.repository import read_manifest, read_model_spec, versions_on_disk

if TYPE_CHECKING:
    from pathlib import Path


def use(folder: Path, version: str) -> list[str]:
    """Make `version` the default and keep the others served; the versions that are served then.

    The version that was the default stays in the package, so that going back needs no build.
    """
    path = folder / MODEL_TOML
    spec = read_model_spec(path)
    on_disk = versions_on_disk(folder)
    if version not in on_disk:
        raise CommandError(
            f"model {folder.name!r} has no version {version!r}; it has {', '.join(on_disk)}"
        )
    read_manifest(folder / version / "manifest.json")
    served = spec.serve if spec.serve is not None else (spec.default_version,)
    serve = [version, *(other for other in served if other != version)]
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document["default_version"] = version
    if spec.serve is not None or len(serve) > 1:
        document["serve"] = serve
    _replace(path, tomlkit.dumps(document))
    return serve


def _replace(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    read_model_spec(partial)
    partial.replace(path)
