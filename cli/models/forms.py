"""Measures whether the offline-optimised form of a version pays, which its manifest then says.

The form itself is not kept: packages make it anew from the locked files (`stacks.packaging.forms`).
"""

from __future__ import annotations

import platform
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.models import manifest as manifests
from shared.repository import FORM_FILE, MODEL_FILE, WEIGHTS_FILE
from shared.schema.spec import Machine, MeasuredForm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.inference.admission_limits import AdmissionLimits
    from shared.inference.findings import Compared, Started
    from shared.schema.spec import FormOptimization, Manifest, ModelSpec

FILES_BYTES_MIN: Final = 8_000_000
"""Models of fewer bytes start in some ten milliseconds as they are."""
START_RATIO_MAX: Final = 0.75
SAVES_CPU_MS_MIN: Final = 20.0
RUN_RATIO_MAX: Final = 1.03
ROUNDS: Final = 3
_MACHINES: Final[Mapping[str, Machine]] = {
    "x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64",
}  # fmt: skip


def this_machine() -> Machine:
    """The architecture that forms are made for here."""
    return _MACHINES.get(platform.machine(), "x86_64")


def is_measured(manifest: Manifest, spec: ModelSpec) -> bool:
    """Whether there is nothing to measure, or it was measured with the onnxruntime that is installed."""
    size_bytes = sum(file.size_bytes for file in manifest.files)
    if spec.form == "plain" or spec.compute == "gpu" or size_bytes < FILES_BYTES_MIN:
        return True
    found = manifest.forms.get(this_machine())
    return found is not None and found.onnxruntime == version_of("onnxruntime")


def record_form(folder: Path, spec: ModelSpec) -> MeasuredForm | None:
    """Measure the version in `folder`, which has its manifest, and write into that what was found.

    None for a model that is not looked at: too small, on a gpu, or declared to be served as it is.
    """
    manifest = manifests.previous(folder)
    unmeasured = manifest and manifest.model_copy(update={"forms": {}})
    if manifest is None or unmeasured is None or is_measured(unmeasured, spec):
        return None
    found = measure_form(folder, spec)
    forms = {**manifest.forms, this_machine(): found}
    manifests.write(folder, manifest.model_copy(update={"forms": forms}))
    return found


def recorded_or_measured(folder: Path, spec: ModelSpec) -> MeasuredForm | None:
    """What the manifest of the version in `folder` says, where that holds here; else what is measured now.

    None as above; nothing is written.
    """
    manifest = manifests.previous(folder)
    if manifest is None:
        return None
    if is_measured(manifest, spec):
        return None if spec.form == "plain" else manifest.forms.get(this_machine())
    return measure_form(folder, spec)


def measure_form(folder: Path, spec: ModelSpec) -> MeasuredForm:
    """Make the form of the version in `folder`, which has its manifest, and compare it; nothing of it is kept."""
    from shared.inference.admission_limits import widest_limits
    from shared.inference.findings import ModelRefusedError
    from shared.inference.sandbox import make_form_in_sandbox

    limits, made_by = widest_limits(), version_of("onnxruntime")
    with tempfile.TemporaryDirectory() as made:
        target = Path(made)
        try:
            compared = make_form_in_sandbox(folder.parent, folder.name, target, limits)
            optimization, found = _best(compared)
            plain, form = _starts(folder, spec, target, optimization, limits)
        except ModelRefusedError as error:
            return MeasuredForm(onnxruntime=made_by, reason=str(error)[:400])
        size_bytes = sum(path.stat().st_size for path in target.iterdir())
    reason = why_not(found, plain, form)
    return MeasuredForm(
        onnxruntime=made_by,
        optimization=None if reason else optimization,
        reason=reason,
        start_ratio=round(form.cpu_ms / plain.cpu_ms, 2),
        memory_ratio=round(form.memory_mib / plain.memory_mib, 2) if plain.memory_mib else None,
        run_ratio=round(found.run_ratio, 2),
        size_bytes=size_bytes,
    )


def _best(compared: Mapping[FormOptimization, Compared]) -> tuple[FormOptimization, Compared]:
    """The way of loading it that starts fastest, of those that answer the same as fast; else the first."""
    for optimization, found in compared.items():
        if found.equal and found.run_ratio <= RUN_RATIO_MAX:
            return optimization, found
    return next(iter(compared.items()))


def _starts(
    folder: Path, spec: ModelSpec, made: Path, optimization: str, limits: AdmissionLimits
) -> tuple[Started, Started]:
    """Starts of the plain file and of its form, in fresh processes in turn: the least of each."""
    from shared.inference.sandbox import measure_start_in_sandbox

    session = spec.session.model_dump(exclude={"outputs"})
    plain = ([folder / MODEL_FILE, *_external(folder)], spec.session.optimization)
    form = ([made / FORM_FILE, made / WEIGHTS_FILE], optimization)
    starts = [
        [measure_start_in_sandbox(files, session, level, limits) for files, level in (plain, form)]
        for _ in range(ROUNDS)
    ]
    of_plain, of_form = (
        min(found, key=lambda start: start.cpu_ms) for found in zip(*starts, strict=True)
    )
    return of_plain, of_form


def _external(folder: Path) -> list[Path]:
    manifest = manifests.previous(folder)
    return [folder / file.path for file in manifest.files[1:]] if manifest else []


def why_not(found: Compared, plain: Started, form: Started) -> str:
    """Why the form does not pay, or "": it has to start sooner, run no slower and answer the same."""
    if not found.equal:
        return "its answers differ from the plain file's"
    if found.run_ratio > RUN_RATIO_MAX:
        return f"a run takes {found.run_ratio:.2f} times as long"
    saves_ms = plain.cpu_ms - form.cpu_ms
    if saves_ms < SAVES_CPU_MS_MIN or form.cpu_ms > START_RATIO_MAX * plain.cpu_ms:
        return f"a start takes {form.cpu_ms:.0f} ms of CPU time in place of {plain.cpu_ms:.0f}"
    return ""
