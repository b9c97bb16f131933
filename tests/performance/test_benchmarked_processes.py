"""Long-lived processes under measurement: what they count, what they use, and that none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.harness.packages import PEERS
from benchmarks.harness.processes import ProcessFailedError, Program, Worked, running

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = PEERS.parents[1]
FOLDERS = (PEERS / "common", Path(sysconfig.get_path("purelib")))
TWO_COUNT = """
import os, time
from tally import count
count(2 if os.fork() else 5)
time.sleep(60)
"""
MEASURES = """
import signal
from pathlib import Path
from benchmarks.harness.processes import Program, running
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs the tests in the background
folders = [Path(folder) for folder in {folders!r}]
with running(Program(["-c", {counts!r}], folders, {{}})) as process:
    process.wait(lambda: process.done() == 7, what="both have counted")
    print(process._tally, flush=True)
    process.wait(lambda: False, what="never")
"""
COUNTS = """
import time
from tally import count
while True:
    count()
    time.sleep(0.001)
"""


def test_the_jobs_of_all_processes_of_a_program_are_counted_and_all_of_them_end() -> None:
    with running(Program(["-c", TWO_COUNT], FOLDERS, {})) as process:
        process.wait(lambda: process.done() == 7, what="both have counted")
        group = group_of(process._tally)

    assert living(group) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_benchmark_that_is_killed(number: int) -> None:
    script = MEASURES.format(counts=TWO_COUNT, folders=[str(folder) for folder in FOLDERS])
    benchmark = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with benchmark:
        assert benchmark.stdout is not None
        group = group_of(Path(benchmark.stdout.readline().strip()))
        assert len(living(group)) == 2

        benchmark.send_signal(number)
        benchmark.wait(10)

    assert becomes_true(lambda: not living(group))


def group_of(tally: Path) -> int:
    """The process group of those that have counted into this folder."""
    [group] = {os.getpgid(int(path.name)) for path in tally.iterdir()}
    return group


def becomes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def living(group: int) -> list[str]:
    """Processes of a group that are more than an entry that nobody has asked after yet."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group, *_ = entry.read_text().rpartition(")")[2].split()
            found += [entry.parent.name] if int(of_group) == group and state != "Z" else []
    return found


def test_a_rate_is_taken_for_so_long_at_most() -> None:
    with running(Program(["-c", COUNTS], FOLDERS, {})) as process:
        worked = process.throughput(warm=1, until=10**9, seconds=0.3)

    assert 0.3 <= worked.seconds < 10
    assert worked.jobs > 0


def test_a_program_that_ends_is_told_with_its_words() -> None:
    program = Program(["-c", "raise SystemExit('no broker here')"], FOLDERS, {})
    with running(program) as process, pytest.raises(ProcessFailedError, match="no broker here"):
        process.throughput(warm=1, until=2, seconds=5)
    with pytest.raises(ProcessFailedError, match="no broker here"):
        program.finish()


def test_a_rate_is_noisy_when_others_took_a_tenth_of_a_core() -> None:
    quiet = Worked(jobs=10, seconds=2.0, cpu_s=1.0, foreign_s=0.1)
    disturbed = Worked(jobs=10, seconds=2.0, cpu_s=1.0, foreign_s=0.3)

    assert (quiet.noisy, disturbed.noisy) == (False, True)
    assert (quiet.per_job_us, quiet.cpu_per_job_us) == (200_000, 100_000)
