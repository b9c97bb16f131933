"""Long-lived processes under measurement: workers and servers of ours and of peers.

Each is started under a guard (`cli.dev.guard`) in a session of its own, in which it may start others: all of
it ends with the measurement, also where the benchmark itself is killed. A process tells how many jobs it has
done through `peers/common/tally.py`.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.harness.children import base_interpreter
from benchmarks.harness.machine import busy_ms
from cli.dev import guard
from shared.inference import NO_TELEMETRY

START_S_MAX = 60.0
_POLL_S = 0.01
_FOREIGN_SHARE = 0.1
_END_S_MAX = guard.STOP_GRACE_S + 5.0
_PARENT, _SESSION, _USER, _SYSTEM = 1, 3, 11, 12
"""Columns of /proc/<pid>/stat after the command's name (proc(5))."""


class ProcessFailedError(Exception):
    """A process ended, or did not do its work in time; carries the end of its output."""


@dataclass(frozen=True)
class Worked:
    """`jobs` done in `seconds`, with `cpu_s` of its processes and `foreign_s` of nobody's that we know."""

    jobs: int
    seconds: float
    cpu_s: float
    foreign_s: float
    calls: int = 0
    """Of AWS, where it counts them."""

    @property
    def per_job_us(self) -> float:
        """Microseconds a job."""
        return self.seconds / self.jobs * 1e6

    @property
    def cpu_per_job_us(self) -> float:
        """Microseconds of CPU time that its processes took for a job."""
        return self.cpu_s / self.jobs * 1e6

    @property
    def calls_per_job(self) -> float:
        """Calls of AWS for a job."""
        return self.calls / self.jobs

    @property
    def noisy(self) -> bool:
        """Others took more than a tenth of a core meanwhile."""
        return self.foreign_s > _FOREIGN_SHARE * self.seconds


@dataclass(frozen=True)
class Program:
    """What to start: Python with `arguments`, the folders that it imports from, its environment."""

    arguments: Sequence[str]
    folders: Sequence[Path]
    environment: Mapping[str, str]

    @property
    def command(self) -> list[str]:
        """With no site-packages but what `folders` hold."""
        return [base_interpreter(), "-S", "-s", *self.arguments]

    def variables(self) -> dict[str, str]:
        """Its whole environment."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": ":".join(str(folder) for folder in self.folders),
            "OMP_NUM_THREADS": "1",
            **NO_TELEMETRY,
            **self.environment,
        }

    def finish(self, *, timeout_s: float = 240) -> None:
        """Run it to its end. Raises ProcessFailedError when that was no good one."""
        done = subprocess.run(
            self.command,
            env=self.variables(),
            cwd=self.folders[0],
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise ProcessFailedError(
                f"{self.command} ended with {done.returncode}:\n{done.stderr.decode()[-2000:]}"
            )


@contextlib.contextmanager
def running(program: Program, *, beside: Sequence[int] = ()) -> Iterator[Running]:
    """The program, running; ended with all that it started.

    `beside`: sessions of processes that serve it, whose CPU time is not noise.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-tally-") as tally,
        tempfile.TemporaryFile() as output,
    ):
        process = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, tally, "--", *program.command],
            env={**program.variables(), "BENCH_TALLY": tally},
            cwd=program.folders[0],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Running(process, Path(tally), output, beside)
        finally:
            _end(process)


class Running:
    """A process that does jobs and counts them."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        tally: Path,
        output: IO[bytes],
        beside: Sequence[int],
    ) -> None:
        self._process = process
        self._with = beside
        self._tally = tally
        self._output = output

    def done(self) -> int:
        """Jobs so far, of all its processes."""
        return self._counted()[0]

    def _counted(self) -> tuple[int, int]:
        """Jobs and calls of AWS so far, of all its processes."""
        told = [
            struct.unpack("<qq", content)
            for path in self._tally.iterdir()
            if (content := path.read_bytes())
        ]
        return sum(jobs for jobs, _ in told), sum(calls for _, calls in told)

    def wait(
        self, condition: Callable[[], bool], *, what: str, timeout_s: float = START_S_MAX
    ) -> None:
        """Return when `condition` holds. Raises ProcessFailedError when it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ProcessFailedError(f"{what}: not so\n{self._said()}")
            time.sleep(_POLL_S)

    def throughput(
        self, *, warm: int, until: int, seconds: float, done: Callable[[], int] | None = None
    ) -> Worked:
        """What it does between its `warm`-th job and the `until`-th, or for `seconds`.

        `done`: how many it has done, where it does not count itself.
        """
        done = done or self.done
        self.wait(lambda: done() >= warm, what=f"{warm} jobs are done")
        first, began, before = done(), time.monotonic(), self._used()
        calls = self._counted()[1]
        self.wait(
            lambda: done() >= until or time.monotonic() > began + seconds,
            what=f"{until} jobs are done",
        )
        last, took, after = done(), time.monotonic() - began, self._used()
        calls = self._counted()[1] - calls
        own_s, all_s, known_s = (late - early for early, late in zip(before, after, strict=True))
        return Worked(last - first, took, own_s, max(0.0, all_s - known_s), calls)

    def _used(self) -> tuple[float, float, float]:
        """CPU seconds so far: of its processes, of the machine, and of all the processes that we know."""
        own_s, beside_s = _used_s(under=self._process.pid), _used_s(sessions=self._with)
        return own_s, (busy_ms() or 0.0) / 1000, own_s + beside_s + time.process_time()

    def _said(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")[-3000:]


def _used_s(*, under: int = 0, sessions: Sequence[int] = ()) -> float:
    """CPU seconds of the processes that live of some sessions, or of those of a guard's children.

    0 where the system does not say.
    """
    told = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            columns = entry.read_text().rpartition(")")[2].split()
            told.append([int(columns[place]) for place in (_PARENT, _SESSION, _USER, _SYSTEM)])
    wanted = {*sessions, *(session for parent, session, _, _ in told if parent == under)}
    ticks = sum(user + system for _, session, user, system in told if session in wanted)
    return ticks / os.sysconf("SC_CLK_TCK")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the guard end all of it; returns when none is left."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
