"""Why a process that looked at a model ended without an answer, in words for the model's owner."""

from __future__ import annotations

import os
import signal
from typing import IO, TYPE_CHECKING, Any, Final

from shared.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.inference.admission_limits import AdmissionLimits

LAST_WORDS: Final = 300
RAISE: Final = "raise run_s in [<pool>.admission] of pools.toml"
RUNS: Final = ("running", "giving")
"""How the steps begin that a pool's `run_s` bounds."""


def why_it_ended(
    status: int,
    lines: list[dict[str, Any]],
    said: IO[bytes],
    limits: AdmissionLimits,
    what: str,
) -> str:
    """Of a process that gave no answer: what it was at, what ended it, and the way out."""
    step = last_step(lines)
    doing = str(step.get("step", "starting"))
    if -status in (signal.SIGPROF, signal.SIGXCPU):
        return _out_of_time(step, doing, limits, what)
    said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_WORDS))
    words = said.read().decode(errors="replace").strip().rpartition("\n")[2]
    return (
        f"{what} took its process down while {doing} (status {status}"
        f"{': ' + words if words else ''}) with {limits.memory_bytes // MIB} MiB of memory; it would "
        "do the same to a function, so make it smaller, or give its pool more memory_mib"
    )


def _out_of_time(step: Mapping[str, Any], doing: str, limits: AdmissionLimits, what: str) -> str:
    if "cpu_s" not in step:
        total_s = float(step.get("total_s") or limits.total_s)
        return (
            f"{what}: looking at it took more than {total_s:.3g} s of CPU time in all, the last of them {doing}; "
            f"simplify the model, or {RAISE}"
        )
    raised = f", or {RAISE}" if doing.startswith(RUNS) else ""
    return f"{what}: {doing} took more than {float(step['cpu_s']):.3g} s of CPU time; simplify the model{raised}"


def last_step(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line of the step that it said last."""
    return next((line for line in reversed(lines) if "step" in line), {})
