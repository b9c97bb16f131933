"""Which models a repository on disk has, read one by one, so that one broken model hides no other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cli.output import CommandError
from shared.repository import RepositoryError, read_pools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shared.inference.admission_limits import AdmissionLimits

MODEL_TOML = "model.toml"


def model_folders(repository: Path, names: Sequence[str] = ()) -> list[Path]:
    """The folders of the models named, or of all; CommandError for a name that is not there."""
    if not repository.is_dir():
        raise CommandError(
            f"{repository} is not a folder; name the model repository with --models or LANEWAY_MODELS"
        )
    found = {path.parent.name: path.parent for path in sorted(repository.glob(f"*/{MODEL_TOML}"))}
    unknown = [name for name in names if name not in found]
    if unknown:
        has = ", ".join(found) or "no model"
        raise CommandError(f"{repository} has no model {unknown[0]!r}; it has {has}")
    return [found[name] for name in names or found]


def inspection_limits(repository: Path, pool: str) -> AdmissionLimits:
    """What the pool gives a model, and all there is where it declares nothing or cannot be read."""
    from shared.inference.admission_limits import widest_limits

    try:
        return widest_limits(read_pools(repository).get(pool))
    except RepositoryError:
        return widest_limits()


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def human_size(size_bytes: int) -> str:
    """A size for people: `118.9 kB`, `22.9 MB`; decimal, as package indexes count."""
    for unit, divisor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= divisor:
            return f"{size_bytes / divisor:.1f} {unit}"
    return f"{size_bytes} B"
