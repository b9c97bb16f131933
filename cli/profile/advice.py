"""From what was measured to what to declare: memory, threads, warm mode, form. Pure.

A function below 1769 MiB has a share of one vCPU; its times are estimated by that share, and said to be
estimates. Prices: us-east-1, read 2026-11-21.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from cli.models.show import form_figures
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.schema.spec import MeasuredForm

GB_SECOND_USD: Final = 0.0000166667
MILLION_CALLS_USD: Final = 0.20
SIZES_MIB: Final = (512, 768, 1024, 1536, 1769, 3538, 5307, 7076)
RUNTIME_MIB: Final = 48.0
"""What Lambda's own processes take of a function's memory; an estimate."""
SPARE: Final = 1.15
"""How much more memory than was seen a function should have."""
SAME_PRICE: Final = 1.1
"""Within this much of the cheapest size, the one that starts soonest is better."""
THREADS_GAIN: Final = 1.5
"""How much faster two threads must be to be worth twice the memory's price."""


NO_FORM: Final = 'offline-optimised form: none is made of files below 8 MB, nor with form = "plain" in model.toml'
NO_FETCHED_FORM: Final = "offline-optimised form: none is made of a model that is fetched: it would be larger, and longer on its way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests of one process with so many threads, milliseconds."""

    threads: int
    parts_ms: Mapping[str, float]
    p50_ms: float
    p99_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The offline-optimised form of the model, as it was measured, and what became of it."""

    measured: MeasuredForm
    shipped: bool
    """Whether the package that was profiled has it."""
    lock: str
    """The command that writes into the manifest what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A memory size: what a call would take and cost there."""

    memory_mib: int
    threads: int
    start_ms: float
    p50_ms: float
    p99_ms: float
    million_usd: float
    """Of a million warm calls, by whole milliseconds, as Lambda bills them; the gateway's part is not in it."""
    fits: bool
    meets: bool
    """Whether the 99th percentile of warm calls is within the model's promise."""
    estimated: bool
    """By its share of a vCPU, not measured."""


def sizes(
    requests: Sequence[Requests], *, start_ms: float, peak_mib: float, target_p99_ms: int
) -> list[Size]:
    """Every size of `SIZES_MIB` whose threads were measured."""
    by_threads = {measured.threads: measured for measured in requests}
    found = []
    for memory_mib in SIZES_MIB:
        measured = by_threads.get(max(1, memory_mib // LAMBDA_MEMORY_MIB_PER_VCPU))
        if measured is not None:
            found.append(_size(memory_mib, measured, start_ms, peak_mib, target_p99_ms))
    return found


def needed_mib(peak_mib: float) -> float:
    """The memory of a function whose process was seen to take so much."""
    return (peak_mib + RUNTIME_MIB) * SPARE


def choose(offered: Sequence[Size]) -> Size | None:
    """The cheapest size that keeps the promise, else the fastest that fits; None where none fits.

    Of sizes of about the same price, the one that starts soonest.
    """
    fitting = [size for size in offered if size.fits]
    keeping = [size for size in fitting if size.meets]
    if not keeping:
        return min(fitting, key=lambda size: size.p99_ms, default=None)
    most_usd = SAME_PRICE * min(size.million_usd for size in keeping)
    cheap = [size for size in keeping if size.million_usd <= most_usd]
    return min(cheap, key=lambda size: (size.start_ms, size.million_usd))


def advise(
    offered: Sequence[Size],
    requests: Sequence[Requests],
    form: Form | None,
    *,
    target_p99_ms: int,
    fetched: bool = False,
) -> list[str]:
    """What to declare and why, a sentence each; `fetched`: the package leaves the model on S3."""
    chosen = choose(offered)
    if chosen is None:
        return ['no memory size that was looked at holds this model: give it compute = "gpu"']
    said = [_memory(chosen, target_p99_ms)]
    said += _threads(requests)
    said.append(_warm(chosen, target_p99_ms, fetched=fetched))
    if fetched:
        return [*said, NO_FETCHED_FORM]
    return [*said, _form(form) if form else NO_FORM]


def _size(
    memory_mib: int, measured: Requests, start_ms: float, peak_mib: float, target_p99_ms: int
) -> Size:
    share = memory_mib / LAMBDA_MEMORY_MIB_PER_VCPU
    slower = max(1.0, 1 / share)
    p50_ms, p99_ms = measured.p50_ms * slower, measured.p99_ms * slower
    gb_s = memory_mib / 1024 * ceil(p50_ms) / 1000
    return Size(
        memory_mib=memory_mib,
        threads=measured.threads,
        start_ms=start_ms * slower,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        million_usd=gb_s * 1e6 * GB_SECOND_USD + MILLION_CALLS_USD,
        fits=memory_mib >= needed_mib(peak_mib),
        meets=p99_ms <= target_p99_ms,
        estimated=share < 1,
    )


def _memory(chosen: Size, target_p99_ms: int) -> str:
    kept = (
        f"keeps {target_p99_ms} ms at the 99th percentile"
        if chosen.meets
        else f"is the fastest, and still misses {target_p99_ms} ms at the 99th percentile"
    )
    return f"memory_mib = {chosen.memory_mib}: {kept}, {chosen.million_usd:.2f} USD a million calls"


def _threads(requests: Sequence[Requests]) -> list[str]:
    alone = next((item for item in requests if item.threads == 1), None)
    best = min(requests, key=lambda item: item.p50_ms)
    if alone is None or best.threads == 1:
        return ["intra_op_threads: one; more were no faster"] if len(requests) > 1 else []
    gain = alone.p50_ms / best.p50_ms
    worth = "worth" if gain >= THREADS_GAIN else "not worth"
    return [
        f"intra_op_threads: {best.threads} are {gain:.1f} times as fast as one, {worth} the memory"
    ]


def _warm(chosen: Size, target_p99_ms: int, *, fetched: bool) -> str:
    if chosen.start_ms <= target_p99_ms:
        return f'warm = "on-demand": a start of {chosen.start_ms:.0f} ms is within the promise too'
    said = (
        f"warm: a start takes {chosen.start_ms:.0f} ms and misses the promise: keep environments warm "
        "(`{ min = 1, max = ... }`)"
    )
    if fetched:  # SnapStart takes no disk that a fetched model has room on
        return said
    return f'{said}, or take "snapstart" where the traffic has long pauses'


def _form(form: Form) -> str:
    if form.measured.optimization is None:
        return f"offline-optimised form: does not pay ({form.measured.reason})"
    figures = form_figures(form.measured)
    if form.shipped:
        return f"offline-optimised form: the package has it ({figures})"
    return f"offline-optimised form: pays ({figures}); have it packaged with: {form.lock}"
