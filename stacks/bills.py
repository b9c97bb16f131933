"""Bills of materials of all that is deployed, as CycloneDX: `python -m stacks.bills` writes them (make sbom).

One for each layer, package of a function, package of a pool and worker image. What is in them is read from the locks and
manifests that they are built from, for the machine that they run on; nothing is built, and nobody is asked.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from shared.repository import ModelEntry, Repository, read_repository
from stacks.packaging.assets import PROJECT, BuildContext
from stacks.packaging.image import WORKER, Device, pool_requirements
from stacks.packaging.layers import CONTROL, ONNX_RUNTIME, packages_in
from stacks.packaging.models import pool_lock
from stacks.packaging.requirements import without

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER: Final = PROJECT / "build" / "sbom"
OF_POOLS: Final = frozenset({"realtime", "queue_worker"})
"""Functions that are deployed from the packages of pools."""
_PINNED: Final = re.compile(r"^[A-Za-z0-9][^#\\]*==[^#\\]*")
_BASE: Final = re.compile(
    r"^FROM (?P<name>[\w./-]+):(?P<tag>[\w.-]+)@sha256:(?P<sha256>\w{64}) AS base-(?P<device>\w+)"
)
_SYSTEM: Final = "from the base's archive, in the version that it has on the day of the build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one thing that is deployed is made of."""

    name: str
    """Also the file's, with `.cdx.json`."""
    about: str
    lock: str = ""
    """Text of locked requirements."""
    models: tuple[ModelEntry, ...] = ()
    others: tuple[Component, ...] = field(default=())


def bills(repository: Repository) -> Iterator[Bill]:
    """Of everything that any stage deploys."""
    for recipe in (ONNX_RUNTIME, CONTROL):
        yield Bill(
            name=f"layer-{recipe.name}", about="a layer of functions", lock=recipe.requirements
        )
    for handler in sorted((PROJECT / "functions").glob("*/handler.py")):
        if handler.parent.name in OF_POOLS:
            continue
        lock = handler.with_name("requirements.txt")
        yield Bill(
            name=f"function-{handler.parent.name}",
            about="a function's package, beside the layers",
            lock=lock.read_text(encoding="utf-8") if lock.is_file() else "",
        )
    for pool in repository.pools:
        entries = tuple(repository.models_of(pool))
        if not entries:
            continue
        if any(entry.spec.compute == "gpu" for entry in entries):
            yield _image(repository, pool, entries, device="cuda")
        else:
            yield _pool(repository, pool, entries)
            yield _image(repository, pool, entries, device="cpu")


def write_bills(repository: Repository, folder: Path = FOLDER) -> list[Path]:
    """The files written, each a bill."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for bill in bills(repository):
        path = folder / f"{bill.name}.cdx.json"
        path.write_text(JsonV1Dot6(document(bill)).output_as_string(indent=2), encoding="utf-8")
        written.append(path)
    return written


def document(bill: Bill, context: BuildContext | None = None) -> Bom:
    """The bill as CycloneDX, for the context's machine and interpreter."""
    project = Component(
        type=ComponentType.APPLICATION,
        name=f"laneway-{bill.name}",
        version=version("laneway"),
        description=bill.about,
        bom_ref=bill.name,
    )
    parts = [
        *(_package(item) for item in locked_for(bill.lock, context or BuildContext())),
        *(_model(entry, served) for entry in bill.models for served in entry.manifests),
        *bill.others,
    ]
    made_of = "\n".join(part.bom_ref.value or "" for part in (project, *parts))
    bom = Bom(components=parts, serial_number=uuid5(NAMESPACE_URL, made_of))
    bom.metadata.component = project
    if bill.lock:
        digest = hashlib.sha256(bill.lock.encode()).hexdigest()
        bom.metadata.properties.add(Property(name="laneway:lock-sha256", value=digest))
    bom.register_dependency(project, parts)
    return bom


def locked_for(lock: str, context: BuildContext) -> Iterator[Requirement]:
    """The packages of a lock that the context's machine gets: locks are for every machine."""
    major, minor = context.python_minor
    machine = {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": "aarch64" if context.architecture == "arm64" else "x86_64",
        "python_version": f"{major}.{minor}",
        "python_full_version": f"{major}.{minor}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for line in lock.splitlines():
        found = _PINNED.match(line)
        if found:
            requirement = Requirement(found[0].strip())
            if requirement.marker is None or requirement.marker.evaluate(machine):
                yield requirement


def _pool(repository: Repository, pool: str, entries: tuple[ModelEntry, ...]) -> Bill:
    lock = pool_lock(repository, pool)
    return Bill(
        name=f"pool-{pool}",
        about="the package of a pool's functions, beside the layers",
        lock=without(lock, packages_in(ONNX_RUNTIME).keys()),
        models=entries,
    )


def _image(
    repository: Repository, pool: str, entries: tuple[ModelEntry, ...], *, device: Device
) -> Bill:
    lock = WORKER / f"requirements-{device}.txt"
    return Bill(
        name=f"image-{pool}-{device}",
        about="the image of a pool's long-lived workers",
        lock=lock.read_text(encoding="utf-8") + pool_requirements(repository, pool, lock),
        models=entries,
        others=tuple(_base(device)),
    )


def _base(device: Device) -> Iterator[Component]:
    """The image that it is built on, and what is added to that."""
    text = (WORKER / "Dockerfile").read_text(encoding="utf-8")
    for line in text.splitlines():
        found = _BASE.match(line)
        if found and found["device"] == device:
            yield Component(
                type=ComponentType.CONTAINER,
                name=found["name"],
                version=found["tag"],
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=found["sha256"])],
                bom_ref=f"base-{device}",
            )
    for name in ("ca-certificates", "python3.12"):
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            description=_SYSTEM,
            purl=PackageURL("deb", "ubuntu", name),
            bom_ref=f"deb-{name}",
        )


def _package(requirement: Requirement) -> Component:
    (pinned,) = (item.version for item in requirement.specifier)
    purl = PackageURL("pypi", None, requirement.name, pinned)
    return Component(
        type=ComponentType.LIBRARY,
        name=requirement.name,
        version=pinned,
        purl=purl,
        bom_ref=purl.to_string(),
    )


def _model(entry: ModelEntry, served: str) -> Component:
    """A model with its files, as its manifest has them."""
    name = f"model-{entry.name}-{served}"
    files = [
        Component(
            type=ComponentType.FILE,
            name=file.path,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
            bom_ref=f"{name}/{file.path}",
        )
        for file in entry.manifests[served].files
    ]
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=entry.name,
        version=served,
        description=entry.spec.description or None,
        components=files,
        bom_ref=name,
    )


def main(arguments: Iterable[str]) -> int:
    """Write them all and say where."""
    parser = argparse.ArgumentParser(description="Write bills of materials into build/sbom.")
    parser.add_argument("--models", type=Path, default=PROJECT / "models")
    told = parser.parse_args(list(arguments))
    for path in write_bills(read_repository(told.models)):
        sys.stdout.write(f"{path.relative_to(PROJECT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
