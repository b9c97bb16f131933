"""Holds a pool to Lambda's limit on unzipped code, and says which model to move when it is passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.limits import LAMBDA_PACKAGE_BYTES, MIB
from stacks.errors import PackagingError
from stacks.packaging.cache import size_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.repository import ModelEntry, Repository
    from stacks.packaging.assets import Asset


def fits(package: Asset, layers: Sequence[Asset]) -> bool:
    """Whether Lambda takes the package with its layers."""
    return sum(size_bytes(part.folder) for part in (package, *layers)) <= LAMBDA_PACKAGE_BYTES


def check_size(pool: str, package: Asset, layers: Sequence[Asset], repository: Repository) -> None:
    """Raise PackagingError when the package and its layers together pass the limit."""
    layer_bytes = sum(size_bytes(layer.folder) for layer in layers)
    total_bytes = size_bytes(package.folder) + layer_bytes
    if total_bytes <= LAMBDA_PACKAGE_BYTES:
        return
    largest = max(repository.models_of(pool), key=model_bytes)
    raise PackagingError(
        f"pool {pool!r} is {_mib(total_bytes)} unzipped, of which the layers are "
        f"{_mib(layer_bytes)}; Lambda takes {_mib(LAMBDA_PACKAGE_BYTES)}. Its largest model is "
        f"{largest.name!r} with {_mib(model_bytes(largest))} in versions "
        f"{', '.join(largest.manifests)}: give it a pool of its own in models/pools.toml, serve "
        "fewer versions (`serve` in model.toml), or quantize it"
    )


def model_bytes(entry: ModelEntry) -> int:
    """Bytes of the files of all served versions."""
    return sum(file.size_bytes for version in entry.manifests.values() for file in version.files)


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
