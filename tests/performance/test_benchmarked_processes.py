"""Long-lived processes under measurement: what they count, what they use, and that none is left."""

from __future__ import annotations

import contextlib
import sysconfig
from pathlib import Path

import pytest

from benchmarks.harness.packages import PEERS
from benchmarks.harness.processes import ProcessFailedError, Program, Worked, running

FOLDERS = (PEERS / "common", Path(sysconfig.get_path("purelib")))
TWO_COUNT = """
import os, time
from tally import count
count(2 if os.fork() else 5)
time.sleep(60)
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
        group = process._process.pid

    assert living(group) == []


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
