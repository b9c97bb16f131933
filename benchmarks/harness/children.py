"""Fresh interpreters: starting one, timing it from the outside, and knowing whether it was alone.

A child runs with `-I -S`: no user or machine site-packages, no environment that steers Python, only
the standard library and the folders that it is given. It reports over its own pipe, so that what
the code under test prints costs what printing costs and disturbs nobody.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

from benchmarks.harness.machine import busy_ms, wait_until_quiet

CHILDREN = Path(__file__).parent.parent / "children"
_TIMEOUT_S = 240
# What others may burn while a child runs: 30 ms, or 15 % of the time that the child took.
_FOREIGN_LIMIT_MS = 30
_FOREIGN_LIMIT_SHARE = 0.15


class ChildFailedError(Exception):
    """A child ended badly; the message carries its command and the end of its error output."""


@dataclass(frozen=True)
class Sample:
    """One child: `wall_ms` from spawn to its own finish mark, `cpu_ms` over its whole life."""

    wall_ms: float
    cpu_ms: float
    foreign_ms: float | None
    report: Any

    @property
    def noisy(self) -> bool:
        """Others used enough of the machine meanwhile to blur the figure."""
        if self.foreign_ms is None:
            return False
        return self.foreign_ms > max(_FOREIGN_LIMIT_MS, _FOREIGN_LIMIT_SHARE * self.wall_ms)


@dataclass(frozen=True)
class Child:
    """What to start: a script of `children/`, its arguments, and its environment variables."""

    script: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Patience:
    """How often a disturbed child is run again, within one allowance for the entire run."""

    attempts: int
    left_s: float

    def measure(self, child: Child) -> Sample:
        """Run `child` until it was alone, at most `attempts` times; the least disturbed run wins."""
        samples: list[Sample] = []
        while len(samples) < self.attempts:
            started = time.monotonic()
            if self.attempts > 1 and self.left_s > 0:
                wait_until_quiet(timeout_s=min(2.0, self.left_s))
            samples.append(run_child(child))
            if not samples[-1].noisy or self.left_s <= 0:
                break
            self.left_s -= time.monotonic() - started
        return min(samples, key=lambda sample: sample.foreign_ms or 0.0)


def base_interpreter() -> str:
    """The interpreter behind the virtual environment, so that none of its folders is searched."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def run_child(child: Child) -> Sample:
    """Start `child`, wait for its report. Raises ChildFailedError when it ends without one."""
    read_end, write_end = os.pipe()
    script = str(CHILDREN / child.script)
    command = [base_interpreter(), "-I", "-S", "-B", script, str(write_end), *child.arguments]
    with tempfile.TemporaryFile() as errors:
        busy_before, own_before = busy_ms(), time.process_time()
        started_ns = time.monotonic_ns()
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ.get("PATH", ""), **child.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[write_end],
        )
        os.close(write_end)
        try:
            finished_ns, report = _read_report(read_end, process, errors)
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0  # reaped above, for its usage
        except BaseException:  # such as the signal that ends the benchmark
            process.kill()
            raise
        busy_after, own_after = busy_ms(), time.process_time()
    cpu_ms = (usage.ru_utime + usage.ru_stime) * 1000
    foreign_ms = None
    if busy_before is not None and busy_after is not None:
        own_ms = cpu_ms + (own_after - own_before) * 1000
        foreign_ms = max(0.0, busy_after - busy_before - own_ms)
    return Sample((finished_ns - started_ns) / 1e6, cpu_ms, foreign_ms, report)


def _read_report(read_end: int, process: subprocess.Popen[bytes], errors: Any) -> tuple[int, Any]:
    """The child's `(monotonic ns of its finish, report)`, bounded in time."""
    killer = _kill_after(process, _TIMEOUT_S)
    with os.fdopen(read_end, "rb") as pipe:
        raw = pipe.read()
    killer()
    if not raw:
        process.wait(timeout=10)
        errors.seek(0)
        tail = errors.read().decode(errors="replace")[-2000:]
        raise ChildFailedError(f"{process.args!r} ended with {process.returncode}:\n{tail}")
    finished_ns, report = marshal.loads(raw)  # noqa: S302  # written by our own child a moment ago
    return finished_ns, report


def _kill_after(process: subprocess.Popen[bytes], timeout_s: float) -> Callable[[], None]:
    timer = Timer(timeout_s, process.kill)
    timer.daemon = True
    timer.start()
    return timer.cancel


def interleave(
    variants: Mapping[str, Child], *, rounds: int, patience: Patience, floor: str | None = None
) -> dict[str, list[Sample]]:
    """Run every variant once a round, in turn, after one round that is thrown away.

    With `floor`, that variant is measured again directly before each of the others: the result
    holds it under its own name for the round and as `<name>|floor` beside each other variant.
    """
    samples: dict[str, list[Sample]] = {}
    for number in range(rounds + 1):
        for name in _turned(list(variants), number):
            if name == floor:
                continue
            measured = {f"{name}|floor": variants[floor]} if floor else {}
            for key, child in {**measured, name: variants[name]}.items():
                sample = patience.measure(child)
                if number > 0:
                    samples.setdefault(key, []).append(sample)
    return samples


def _turned(names: Sequence[str], number: int) -> list[str]:
    """`names`, starting one further in each round, so that no variant always follows the same."""
    start = number % len(names)
    return [*names[start:], *names[:start]]
