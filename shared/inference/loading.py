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
from shared.inference.verifying import PackagedFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shared.catalog import Catalog, Model, ModelVersion
    from shared.inference.providers import Device
    from shared.inference.verifying import ModelFiles


def load_model(
    root: Path,
    model: Model,
    version: ModelVersion,
    *,
    threads: int = 1,
    device: Device = CPU,
    files: ModelFiles | None = None,
    resident: Callable[[], int] = resident_bytes,
) -> ServedModel:
    """Load `version` of `model` from the package at `root`.

    `threads`: intra-op threads where the model's declaration names none. `files`: None: all are in the package.
    `resident`: gives the process's memory, by whose growth the model is counted.
    Raises ModelUnavailableError, ModelDigestError or TransformFailedError.
    """
    files = files or PackagedFiles(root)
    folder = files.folder_of(version)
    before_bytes = resident()
    session = load_session(
        folder,
        version,
        model.session,
        threads=threads,
        fed_by_caller=model.transform is None,
        device=device,
        hashed=files.sha256_of,
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
    files: ModelFiles | None = None,
    settle: bool = False,
) -> Sessions[ServedModel]:
    """The models of the package at `root`, none of them loaded yet.

    One that asks for more memory than the process may have is dropped, and loaded anew when it is next used.

    `then`: done with each model before anybody uses it, such as a first run. `files`: as above. `settle`: give
    back to the system what each load leaves in the heap, which is about as much as the model, before the model's
    memory is counted; takes milliseconds, which a cold start has not.
    """

    def load(name: str, version: str) -> ServedModel:
        model, spec = catalog.find(name, version)
        # What evicted models left would be filled first: the model would count for too little, the heap grow.
        resident = settled_bytes if settle or sessions.evicted else resident_bytes
        served = load_model(
            root, model, spec, threads=threads, device=device, files=files, resident=resident
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
