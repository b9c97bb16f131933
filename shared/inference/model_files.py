"""The files of a model on disk: plain ones, beside each other, not larger than they may be."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from shared.inference.findings import ModelRefusedError
from shared.limits import MIB

if TYPE_CHECKING:
    from shared.inference.admission_limits import AdmissionLimits


def check_plain_file(path: Path, where: str, *, linked: bool = False) -> int:
    """The size of a plain file. Raises ModelRefusedError for anything else.

    `linked`: whether it may have other names. Data that a graph names may not: it would be read whatever
    it is, and given away in an answer.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise ModelRefusedError(
            f"{where} is missing; it belongs beside the model, as it was exported"
        ) from error
    if not stat.S_ISREG(status.st_mode) or (status.st_nlink > 1 and not linked):
        raise ModelRefusedError(
            f"{where} is a link or has hard links; make a plain copy of it (cp -L)"
        )
    return status.st_size


def check_total(name: str, size_bytes: int, limits: AdmissionLimits) -> None:
    """Refuse a model whose files have more bytes than they may. Raises ModelRefusedError."""
    if size_bytes > limits.files_bytes:
        raise ModelRefusedError(
            f"{name} has {size_bytes // MIB} MiB with its external data, more than the "
            f"{limits.files_bytes // MIB} MiB that a model may have here; quantize it, or raise "
            "files_mib in [<pool>.admission] of pools.toml where the pool has room"
        )


def check_external(folder: Path, location: str, end_bytes: int) -> int:
    """The size of an external data file: a plain file beside the model that holds all it should."""
    where = f"external data file {location[:200]!r}"
    pure = PurePosixPath(location)
    if pure.is_absolute() or ".." in pure.parts or not pure.name or "\0" in location:
        raise ModelRefusedError(
            f"{where} lies outside the model's folder; save it beside the model"
        )
    for parent in pure.parents:
        if (folder / parent).is_symlink() and str(parent) != ".":
            raise ModelRefusedError(f"{where} lies behind a link; copy the files themselves")
    size_bytes = check_plain_file(folder / pure, where)
    if size_bytes < end_bytes:
        raise ModelRefusedError(
            f"{where} has {size_bytes} bytes, and the graph reads up to {end_bytes}; copy it whole"
        )
    return size_bytes
