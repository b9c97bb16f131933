"""Makes a served model from a package on disk, and the pool's sessions from its catalog."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shared.inference.memory import resident_bytes, settled_bytes
from shared.inference.pipeline import ServedModel
from shared.inference.providers import CPU
from shared.inference.session import load_session
from shared.inference.sessions import Sessions
from shared.inference.transform import load_transform
from shared.inference.verifying import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shared.catalog import Catalog, Model, ModelVersion
    from shared.inference.providers import Device


def load_model(
    root: Path,
    model: Model,
    version: ModelVersion,
    *,
    threads: int = 1,
    device: Device = CPU,
    hashed: Callable[[Path], str] = sha256_of,
    resident: Callable[[], int] = resident_bytes,
) -> ServedModel:
    """Load `version` of `model` from the package at `root`.

    `threads`: intra-op threads where the model's declaration names none. `hashed`: gives the SHA-256 of a file.
    `resident`: gives the process's memory, by whose growth the model is counted.
    Raises ModelUnavailableError, ModelDigestError or TransformFailedError.
    """
    before_bytes = resident()
    session = load_session(
        root / version.folder,
        version,
        model.session,
        threads=threads,
        fed_by_caller=model.transform is None,
        device=device,
        hashed=hashed,
    )
    transform = (
        load_transform(root / model.transform, model=model.name) if model.transform else None
    )
    grown_bytes = resident() - before_bytes
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
    hashed: Callable[[Path], str] = sha256_of,
) -> Sessions[ServedModel]:
    """The models of the package at `root`, none of them loaded yet.

    One that asks for more memory than the process may have is dropped, and loaded anew when it is next used.

    `then`: done with each model before anybody uses it, such as a first run. `hashed`: as above.
    """

    def load(name: str, version: str) -> ServedModel:
        model, spec = catalog.find(name, version)
        # What evicted models left would be filled first: the model would count for too little, the heap grow.
        resident = settled_bytes if sessions.evicted else resident_bytes
        served = load_model(
            root, model, spec, threads=threads, device=device, hashed=hashed, resident=resident
        )
        served.session.rows_meant = model.max_batch_size
        served.session.on_spent = partial(sessions.drop, name, version)
        if then is not None:
            then(served)
        return served

    def estimate_bytes(name: str, version: str) -> int:
        return catalog.find(name, version)[1].size_bytes

    sessions: Sessions[ServedModel] = Sessions(
        load, budget_bytes=budget_bytes, estimate_bytes=estimate_bytes
    )
    return sessions
