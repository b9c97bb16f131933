"""Zips the packages of the local service before the CDK would, and without compressing them.

The CDK takes a zip that it finds in its own cache. Compressing is most of the work of a deployment of
large models, and saves nothing where the zip does not leave the machine. Where a version of the CDK looks
elsewhere, it zips as ever.
"""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_CACHE: Final = ".cache"
_PREFIX: Final = "asset."
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""What the CDK writes into its zips: packages hold bytecode that is valid with it."""


def zip_packages(assembly: Path) -> None:
    """Write the zip of each package of the assembly that has none; those of earlier ones are removed."""
    cache = assembly / _CACHE
    cache.mkdir(exist_ok=True)
    packages = {
        f"{folder.name.removeprefix(_PREFIX)}.zip": folder
        for folder in assembly.glob(f"{_PREFIX}*")
        if folder.is_dir()
    }
    for path in cache.iterdir():
        if path.name not in packages:
            path.unlink()
    for name, folder in packages.items():
        if not (cache / name).exists():
            _write(folder, cache / name)


def _write(folder: Path, target: Path) -> None:
    """The zip is moved into place whole: an interrupted one is never taken for it."""
    draft = target.with_suffix(".draft")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            item = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DATE)
            item.external_attr = path.stat().st_mode << 16
            item.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(item, "w") as written:
                shutil.copyfileobj(source, written, 1 << 20)
    draft.rename(target)
