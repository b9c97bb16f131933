"""How much memory this process may write to: a ceiling, so that a run that wants more fails alone.

Without one, Linux ends the whole process (or Lambda the environment) in the midst of a run, and with
it whatever else it had in hand. Below it the allocation fails, onnxruntime gives that as an error of
the run, and the model is dropped with all that it held.

The ceiling is RLIMIT_DATA: every private mapping that can be written to, touched or not, whoever made
it (onnxruntime's arena, its weights and texts, numpy, Python). It costs a run nothing. macOS takes the
limit and does not hold it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from shared.inference.sessions import Sessions

STATM: Final = Path("/proc/self/statm")
STATM_RESIDENT: Final = 1
STATM_DATA: Final = 5
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
CONTAINER_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
STACK_BYTES: Final = 8 << 20
"""Of one thread, as Linux has it unless it is told otherwise."""
CEILING: Final = 0.9
"""Of the memory that there is: the rest is code, page cache and whatever else runs."""
FULL: Final = 0.75
"""Of the ceiling: with so much still held after models were dropped, the process is no use any more."""


def hold_below(memory_bytes: int, *, threads: int = 0) -> None:
    """Put the ceiling under so much memory; it is never raised again.

    `threads`: that the process is going to have; their stacks count in full and are hardly touched.
    """
    wanted = int(memory_bytes * CEILING) + threads * STACK_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):  # macOS
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def container_bytes() -> int:
    """The memory that this process's container may take, or the machine has."""
    machine = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES
    found = [_number(path) for path in CONTAINER_LIMITS]
    return min(machine, *(number for number in found if number))


def recover(sessions: Sessions[Any]) -> None:
    """After a model was dropped for want of memory: give back to the system what nobody holds.

    Where that is not enough the other models go too, to be loaded when they are next asked for. Raises
    SystemExit when even that is not: something else keeps it, and only a new process is without it.
    """
    sessions.spent = False
    _give_back()
    if _is_full():
        sessions.clear()
        _give_back()
    if _is_full():
        raise SystemExit(
            "memory that a run took was not given back; a new process starts without it"
        )


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    return _statm(STATM_RESIDENT)


def settled_bytes() -> int:
    """Resident memory once what this process has freed was given back to the system: takes milliseconds."""
    _trim()
    return resident_bytes()


def _is_full() -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return limit != resource.RLIM_INFINITY and _statm(STATM_DATA) > limit * FULL


def _give_back() -> None:
    gc.collect()
    _trim()


def _trim() -> None:
    with suppress(OSError, AttributeError):  # glibc has it, others need it less
        ctypes.CDLL(None).malloc_trim(0)


def _statm(place: int) -> int:
    try:
        return int(STATM.read_text().split()[place]) * PAGE_BYTES
    except OSError:
        return 0


def _number(path: Path) -> int:
    """0 for a file that is not there or says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
