"""The guard ends all that it started, however its owner ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from cli.dev import guard

FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("scratch", "w").close()
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path):
    """Start a script under the guard; the guard's process."""
    started = []

    def start(script, *, stdin=subprocess.PIPE):
        command = [sys.executable, "-I", guard.__file__, str(tmp_path), "--"]
        process = subprocess.Popen(
            [*command, sys.executable, "-c", script],
            stdin=stdin,
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        process.wait(timeout=20)


def pids(process):
    return [int(pid) for pid in process.stdout.readline().split()]


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_closing_its_input_ends_the_whole_family_and_empties_the_folder(start, tmp_path):
    process = start(FAMILY)
    family = pids(process)
    assert all(is_running(pid) for pid in family)
    assert (tmp_path / "scratch").exists()
    process.stdin.close()
    process.wait(timeout=20)
    assert not any(is_running(pid) for pid in family)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_guard_ends_the_family(start, number):
    process = start(FAMILY)
    family = pids(process)
    process.send_signal(number)
    process.wait(timeout=20)
    assert not any(is_running(pid) for pid in family)


def test_an_owner_that_is_killed_takes_the_family_along(start, tmp_path):
    holder_end, guard_end = os.pipe()[::-1]
    with subprocess.Popen(["sleep", "600"], pass_fds=[holder_end]) as owner:
        process = start(FAMILY, stdin=guard_end)
        os.close(guard_end)
        os.close(holder_end)
        family = pids(process)
        owner.kill()
    process.wait(timeout=20)
    assert not any(is_running(pid) for pid in family)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ignores_the_request_is_killed(start):
    process = start(STUBBORN)
    (pid,) = pids(process)
    begin = time.monotonic()
    process.stdin.close()
    process.wait(timeout=20)
    assert not is_running(pid)
    assert time.monotonic() - begin >= guard.STOP_GRACE_S


def test_the_commands_exit_code_is_the_guards(start):
    assert start("raise SystemExit(7)").wait(timeout=20) == 7


def test_a_child_that_the_command_leaves_behind_is_ended_with_it(start):
    process = start(FAMILY.replace("time.sleep(600)\n", "\n"))
    family = pids(process)
    process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        assert not any(is_running(pid) for pid in family)
