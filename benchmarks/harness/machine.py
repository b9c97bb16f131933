"""Which machine a run took place on, and how much of it others used meanwhile.

The foreign share is read from the kernel's counters (10 ms ticks over all cores), so it works on
Linux only; elsewhere it is unknown and no sample is called noisy.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_STAT = Path("/proc/stat")
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
# user, nice, system, irq, softirq, steal: every column of the first line that is time not idle
_BUSY_COLUMNS = (1, 2, 3, 6, 7, 8)
_PACKAGES = ("onnxruntime", "numpy", "orjson", "pydantic", "pydantic-core", "aws-lambda-powertools")


def busy_ms() -> float | None:
    """CPU milliseconds that the whole machine has used since boot; None where it does not say."""
    if not _STAT.exists():
        return None
    columns = _STAT.read_text().split("\n", 1)[0].split()
    return sum(int(columns[index]) for index in _BUSY_COLUMNS) * _TICK_MS


def runnable_others() -> int:
    """How many threads other than this one want a core right now (0 where unknown)."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]) - 1
    except FileNotFoundError:
        return 0


def wait_until_quiet(*, timeout_s: float) -> None:
    """Return when nobody else was runnable three times in a row, or after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    quiet_in_a_row = 0
    while quiet_in_a_row < 3 and time.monotonic() < deadline:
        quiet_in_a_row = quiet_in_a_row + 1 if runnable_others() == 0 else 0
        time.sleep(0.005)


def describe() -> dict[str, object]:
    """JSON-ready facts about machine, date, commit and versions."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except FileNotFoundError:
        return platform.processor() or "unknown"
    found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", info, re.MULTILINE))
    return (
        f"{found.get('model name', 'unknown')} "
        f"(family {found.get('cpu family', '?')}, model {found.get('model', '?')})"
    )


def _commit() -> str:
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607  # git is where the user has it
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
