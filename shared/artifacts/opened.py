"""Opens the files of a pool's models as its package says: all in it, or some of them on S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.inference.verifying import PackagedFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from shared.catalog import Catalog, ModelVersion
    from shared.inference.verifying import ModelFiles


def open_files(
    package: Path,
    catalog: Catalog,
    *,
    bucket: str,
    env: Mapping[str, str],
    first: Iterable[ModelVersion] = (),
) -> ModelFiles:
    """The files of the catalog's models; those of `first` are hashed and fetched from now on.

    `bucket`: has what the package has not. `env`: see `FetchedFiles`.
    """
    first = list(first)
    packaged = PackagedFiles(package)
    packaged.begin(first)
    versions = (version for model in catalog.models.values() for version in model.versions.values())
    if not any(version.fetched for version in versions):
        return packaged
    from shared.artifacts.fetched import FetchedFiles  # noqa: PLC0415  an HTTP client that others do without

    fetched = FetchedFiles(packaged, bucket=bucket, env=env)
    fetched.begin(first)
    return fetched
