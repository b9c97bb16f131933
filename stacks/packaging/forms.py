"""Makes the offline-optimised forms that a package ships in place of a version's files, and keeps them.

Which versions have one was measured when they were locked, and is in their manifests. Here it is made from the
locked files, in a process with limits, compared with them once more, and kept under `build/` by what it is
made of. A version keeps its files where another onnxruntime measured it than the layer has, where the package
is for another architecture than this machine's, or where the package has no room.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import shared.inference
from shared.inference.admission_limits import widest_limits
from shared.inference.findings import ModelRefusedError
from shared.inference.sandbox import make_form_in_sandbox
from shared.repository import FORM_FILE, MODEL_FILE, WEIGHTS_FILE
from stacks.errors import PackagingError
from stacks.packaging.cache import built, digest_of, file_digest
from stacks.packaging.layers import ONNX_RUNTIME, packages_in
from stacks.packaging.models import refuse_changed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shared.repository import ModelEntry
    from shared.schema.spec import FormOptimization, Manifest, MeasuredForm
    from stacks.packaging.assets import BuildContext
    from stacks.stages import Architecture

_RUNTIME: Final = "onnxruntime"
_MADE_BY: Final = [Path(shared.inference.__path__[0]) / name for name in ("forms.py", "session.py")]
ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "x86_64": "x86_64",
    "aarch64": "arm64",
    "arm64": "arm64",
}


@dataclass(frozen=True, slots=True)
class ShippedForm:
    """The form of one version, made."""

    files: Mapping[Path, str]
    """The graph, then its weights, with their SHA-256."""
    optimization: str
    grows_bytes: int
    """By how much it is larger than the files that it stands for."""

    def to_catalog(self) -> dict[str, Any]:
        """What the function checks before it loads it."""
        return {
            "files": [
                {"path": path.name, "sha256": sha256, "size_bytes": path.stat().st_size}
                for path, sha256 in self.files.items()
            ],
            "optimization": self.optimization,
            "onnxruntime": version_of(_RUNTIME),
        }


Forms = dict[tuple[str, str], ShippedForm]
"""By model and version."""


def forms_of(
    entries: Iterable[ModelEntry],
    context: BuildContext,
    *,
    without: Collection[tuple[str, str]] = (),
) -> Forms:
    """The forms that these models' packages would ship, made unless they were already.

    `without`: versions that are not in a package, and so have none.
    Raises PackagingError where one that was measured cannot be made, or answers differently here.
    """
    return {
        (entry.name, version): _form(entry, manifest, measured, context)
        for entry in entries
        if entry.spec.form != "plain"
        for version, manifest in entry.manifests.items()
        if (entry.name, version) not in without
        and (measured := manifest.forms.get(context.architecture)) is not None
        and measured.optimization is not None
        and _is_for(measured, context)
    }


def add_forms(catalog: Mapping[str, Any], forms: Forms) -> None:
    """Say in the compiled catalog of a package which forms it ships."""
    for model in catalog["models"]:
        for version in model["versions"]:
            form = forms.get((model["name"], version["version"]))
            if form is not None:
                version["form"] = form.to_catalog()


def _is_for(measured: MeasuredForm, context: BuildContext) -> bool:
    """Whether it can be made here, and what loads it is what measured it."""
    versions = {version_of(_RUNTIME), packages_in(ONNX_RUNTIME).get(_RUNTIME)}
    here = ARCHITECTURES.get(platform.machine())
    return versions == {measured.onnxruntime} and here == context.architecture


def _form(
    entry: ModelEntry, manifest: Manifest, measured: MeasuredForm, context: BuildContext
) -> ShippedForm:
    optimization = measured.optimization or "disabled"
    for file in manifest.files:
        refuse_changed(entry.folder / manifest.version / file.path, entry.name, file.sha256)

    def build(folder: Path) -> None:
        _make(entry, manifest.version, optimization, folder)

    digest = digest_of(
        [
            *(path.read_bytes() for path in _MADE_BY),
            entry.spec.session.model_dump_json(),
            measured.onnxruntime,
            optimization,
            *(part for file in manifest.files for part in (file.path, file.sha256)),
        ]
    )
    made = built(context.root, f"form-{entry.name}-{context.architecture}", digest, build).folder
    files = {made / name: file_digest(made / name) for name in (FORM_FILE, WEIGHTS_FILE)}
    size_bytes = sum(path.stat().st_size for path in files)
    grows_bytes = size_bytes - sum(file.size_bytes for file in manifest.files)
    return ShippedForm(files, optimization, grows_bytes)


def _make(entry: ModelEntry, version: str, optimization: FormOptimization, folder: Path) -> None:
    what = f"the offline-optimised form of model {entry.name!r} version {version!r}"
    way_out = f'measure it anew with: laneway models lock {entry.name} --measure; or declare form = "plain"'
    try:
        compared = make_form_in_sandbox(
            entry.folder, version, folder, widest_limits(), only=optimization
        )
    except ModelRefusedError as error:
        raise PackagingError(f"{what} cannot be made: {error}; {way_out}") from error
    if not compared[optimization].equal:
        raise PackagingError(f"{what} answers differently here than {MODEL_FILE}; {way_out}")
