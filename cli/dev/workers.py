"""The function processes of the emulator: finding them, and ending those of replaced versions.

The emulator keeps the process and the unpacked folder of a version that a deploy has replaced for as
long as it lives (read in ministack 1.5.33, seen on 2026-11-21); a day of edits would fill memory and disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_lambda import LambdaClient

FOLDER_PREFIX: Final = "ministack-lambda-"
_SCRIPT: Final = "_worker.py"


@dataclass(frozen=True, slots=True)
class Worker:
    """One function process and the folder that its package was unpacked into."""

    pid: int
    folder: Path

    def serves(self, function: str) -> bool:
        """Whether it is a process of this function, of whatever version."""
        return self.folder.name.startswith(f"{FOLDER_PREFIX}{function}-")


def workers(scratch: Path) -> list[Worker]:
    """The function processes of the emulator whose temporary folder this is."""
    found = []
    for pid, arguments in _processes():
        script = next((Path(a) for a in arguments if a.endswith(f"/{_SCRIPT}")), None)
        if script is not None and script.parent.parent == scratch:
            found.append(Worker(pid, script.parent))
    return found


def live_versions(client: LambdaClient, alias: str) -> dict[str, str]:
    """Function -> the version that its alias points to; functions without the alias are left out."""
    versions = {}
    for page in client.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            name = function["FunctionName"]
            with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                versions[name] = client.get_alias(FunctionName=name, Name=alias)["FunctionVersion"]
    return versions


def retire(old: list[Worker], before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """End those of the `old` processes whose function moved to another version."""
    moved = [name for name, version in before.items() if after.get(name) != version]
    for worker in (worker for worker in old if any(worker.serves(name) for name in moved)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)
        shutil.rmtree(worker.folder, ignore_errors=True)


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Process id and arguments of everything that runs here."""
    if Path("/proc/self/cmdline").exists():
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_text(errors="replace").split("\0")
        return
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout
    for line in listing.splitlines():
        pid, *arguments = line.split()
        yield int(pid), arguments
