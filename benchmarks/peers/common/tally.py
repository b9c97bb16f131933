"""How many jobs this process has done, and calls of AWS made, where the benchmark that started it reads them.

A file for each process in the folder `BENCH_TALLY`, sixteen bytes of it mapped: counting costs nothing
that could be measured.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from pathlib import Path

_JOBS, _CALLS, _SIZE = 0, 8, 16
_files: dict[int, mmap.mmap] = {}
_calling = threading.Lock()


def count(jobs: int = 1) -> None:
    """Add to what this process has done; one thread of a process counts at a time."""
    _add(_JOBS, jobs)


def count_call(**_: object) -> None:
    """Add a call of AWS, from any thread; a handler of botocore's `before-call`."""
    with _calling:
        _add(_CALLS, 1)


def _add(place: int, more: int) -> None:
    mapped = _files.get(os.getpid()) or _open()
    (before,) = struct.unpack_from("<q", mapped, place)
    struct.pack_into("<q", mapped, place, before + more)


def _open() -> mmap.mmap:
    path = Path(os.environ["BENCH_TALLY"]) / str(os.getpid())
    path.write_bytes(bytes(_SIZE))
    with path.open("r+b") as file:
        mapped = _files[os.getpid()] = mmap.mmap(file.fileno(), _SIZE)
    return mapped
