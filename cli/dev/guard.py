"""Runs one command and leaves nothing of it behind, however its owner ends.

    python -I guard.py FOLDER -- COMMAND...

The owner holds the other end of standard input. When that closes, because the owner asked for it, ended
or was killed, or when the command itself ends, every process of the command's group is stopped and
FOLDER, its scratch space, is emptied. A file of its own with nothing but the standard library in it,
because it must start in milliseconds and must not share the fate of its owner.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STOP_GRACE_S = 1.0
"""How long the command's processes may take to end by themselves."""
_REAP_PAUSE_S = 0.02
_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h: orphans below this process become its children, so that it can wait for them."""


def main(arguments: list[str]) -> int:
    """Run the command until it ends or standard input closes; the command's exit code."""
    folder, separator, *command = arguments
    if separator != "--" or not command:
        sys.stderr.write("usage: guard.py FOLDER -- COMMAND...\n")
        return 2
    _adopt_orphans()
    woken = _wake_on_signals()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while child.poll() is None:
            ready, _, _ = select.select([sys.stdin.fileno(), woken], [], [])
            if sys.stdin.fileno() in ready or _stop_asked(woken):
                break
    finally:
        _end_group(child)
        empty(Path(folder))
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def empty(folder: Path) -> None:
    """Remove everything in the folder; the folder stays."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wake_on_signals() -> int:
    """A descriptor that becomes readable on a signal, one byte (its number) each."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return read_end


def _stop_asked(woken: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        return any(number != signal.SIGCHLD for number in os.read(woken, 64))
    return False


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, wait, then insist; returns when no process of it is left."""
    for number, patience_s in ((signal.SIGTERM, STOP_GRACE_S), (signal.SIGKILL, 2.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not _group_lives(child):
                return
            time.sleep(_REAP_PAUSE_S)


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    child.poll()
    with contextlib.suppress(ChildProcessError):
        while child.returncode is not None and os.waitpid(-1, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS answers so when only zombies are left
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
