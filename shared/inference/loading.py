"""Makes a served model from a package on disk, and the pool's sessions from its catalog."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.inference.pipeline import ServedModel
from shared.inference.providers import CPU
from shared.inference.session import load_session
from shared.inference.sessions import Sessions
from shared.inference.transform import load_transform

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.catalog import Catalog, Model, ModelVersion
    from shared.inference.providers import Device

STATM: Final = Path("/proc/self/statm")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def load_model(
    root: Path, model: Model, version: ModelVersion, *, threads: int = 1, device: Device = CPU
) -> ServedModel:
    """Load `version` of `model` from the package at `root`.

    `threads`: intra-op threads where the model's declaration names none.
    Raises ModelUnavailableError, ModelDigestError or TransformFailedError.
    """
    before_bytes = resident_bytes()
    session = load_session(
        root / version.folder,
        version,
        model.session,
        threads=threads,
        fed_by_caller=model.transform is None,
        device=device,
    )
    transform = (
        load_transform(root / model.transform, model=model.name) if model.transform else None
    )
    grown_bytes = resident_bytes() - before_bytes
    return ServedModel(
        model,
        version,
        session,
        transform=transform,
        # Memory that earlier models gave back hides growth: never less than the files.
        size_bytes=max(grown_bytes, version.size_bytes),
    )


def open_sessions(
    root: Path,
    catalog: Catalog,
    *,
    budget_bytes: int,
    threads: int = 1,
    device: Device = CPU,
    then: Callable[[ServedModel], object] | None = None,
) -> Sessions[ServedModel]:
    """The models of the package at `root`, none of them loaded yet.

    `then`: done with each model before anybody uses it, such as a first run.
    """

    def load(name: str, version: str) -> ServedModel:
        model, spec = catalog.find(name, version)
        served = load_model(root, model, spec, threads=threads, device=device)
        if then is not None:
            then(served)
        return served

    def estimate_bytes(name: str, version: str) -> int:
        return catalog.find(name, version)[1].size_bytes

    return Sessions(load, budget_bytes=budget_bytes, estimate_bytes=estimate_bytes)


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0
