"""What a model file may be and may take, before it is served: one value, made from the pool's declaration.

A pool's `[<pool>.admission]` in pools.toml raises or lowers what is there; operators and their versions
are fixed, since they are what onnxruntime brings.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.limits import LAMBDA_MEMORY_MIB_MAX, LAMBDA_PACKAGE_BYTES, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.schema.spec import PoolSpec

OPSETS: Final[Mapping[str, tuple[int, int]]] = {
    "ai.onnx": (7, 26),
    "ai.onnx.ml": (1, 5),
    "com.microsoft": (1, 1),
}
"""Operator sets that may be used, with the oldest and the newest version: what onnxruntime 1.31 brings and
keeps tests for. Libraries of custom operators are never loaded."""
DEPTH_MAX: Final = 8
"""Graphs inside graphs (If, Loop, Scan, SequenceMap)."""
TOOLS_BYTES: Final = 256 * MIB
"""What Python, numpy, onnx and onnxruntime hold in the process that looks, beside the model."""
MACHINE_SHARE: Final = 0.75
"""Of the memory of the machine that looks: it has other things to do."""
BESIDE_RUN_S: Final = 5.0
"""Of the whole look, besides one run: a model of a few MB takes less than one for reading, loading and measuring."""
MACHINE_FILES_BYTES: Final = 8 << 30
"""Of a model for a machine rather than a function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """For one model version.

    Seconds are of CPU time, so that a busy machine refuses nothing, but for `wall_s`. Each 50 MB of files
    lengthen reading, loading and the whole by a second.
    """

    memory_bytes: int
    """Of the whole process that looks at the model."""
    files_bytes: int
    """The model's file and its external data together; also what its tensors may hold."""
    nodes_max: int
    """With the model's own functions unfolded."""
    run_s: float
    """One run of one row, or of one golden request."""
    depth_max: int = DEPTH_MAX
    total_s: float
    """All steps together, from the process's start; also by the clock, but for time that it waited for a CPU."""
    scan_s: float = 5.0
    load_s: float = 5.0
    wall_s: float = 300.0
    """All steps together, by the clock, whatever the process waited for."""

    def to_json(self) -> dict[str, Any]:
        """Itself as JSON values: also what a kept result is valid for."""
        return asdict(self)


def limits_of(pool: PoolSpec, *, compute: str) -> AdmissionLimits:
    """What a model of this pool may be and take."""
    declared = pool.admission
    on_lambda = compute == "cpu"
    memory_mib = declared.memory_mib or (pool.memory_mib if on_lambda else LAMBDA_MEMORY_MIB_MAX)
    files = LAMBDA_PACKAGE_BYTES if on_lambda else MACHINE_FILES_BYTES
    return AdmissionLimits(
        memory_bytes=min(memory_mib * MIB + TOOLS_BYTES, int(MACHINE_SHARE * machine_bytes())),
        files_bytes=declared.files_mib * MIB if declared.files_mib else files,
        nodes_max=declared.nodes_max,
        run_s=declared.run_s,
        total_s=declared.run_s + BESIDE_RUN_S,
    )


def machine_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def widest_limits(pool: PoolSpec | None = None) -> AdmissionLimits:
    """For a file of which nobody has said yet whether it will run on a gpu; of a pool's, what it declares."""
    from shared.schema.spec import PoolSpec  # noqa: PLC0415  the process that looks has no need of it

    return limits_of(pool or PoolSpec(), compute="gpu")
