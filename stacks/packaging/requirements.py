"""Reads locked requirement files and installs them into a folder, for another machine and without Docker."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from uv import find_uv_bin

from stacks.errors import PackagingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from stacks.packaging.assets import BuildContext
    from stacks.stages import Architecture

PLATFORMS: Final[Mapping[Architecture, str]] = {
    "x86_64": "x86_64-manylinux_2_28",
    "arm64": "aarch64-manylinux_2_28",
}
"""What Amazon Linux 2023 loads, the base of Lambda's runtimes from Python 3.12 on. onnxruntime has no
wheels for the base of Python 3.11, so a deployment from it is warned of (stacks/pools.py)."""

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_TIMEOUT_S = 600


def locked(text: str) -> dict[str, str]:
    """Versions by normalised name, from the text of a locked requirements file.

    A package that the lock pins per interpreter appears with every version, joined by " or ".
    """
    versions: dict[str, list[str]] = {}
    for line in text.splitlines():
        found = _PINNED.match(line)
        if found:
            versions.setdefault(_normal(found["name"]), []).append(found["version"])
    return {name: " or ".join(found) for name, found in versions.items()}


def without(text: str, names: Collection[str]) -> str:
    """The same lock without these packages: their line and the hashes below it."""
    kept, keep = [], True
    for line in text.splitlines():
        found = _PINNED.match(line)
        if found:
            keep = _normal(found["name"]) not in names
        if keep:
            kept.append(line)
    return "\n".join([*kept, ""])


def install(text: str, folder: Path, context: BuildContext) -> None:
    """Install locked requirements into `folder`; every file is checked against the lock's hashes.

    Only wheels are taken: nothing is built and no package's code runs here.
    """
    if not locked(text):
        return
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch) / "requirements.txt"
        lock.write_text(text, encoding="utf-8")
        _run_uv(lock, folder, context)


def _run_uv(lock: Path, folder: Path, context: BuildContext) -> None:
    major, minor = context.python_minor
    command = [
        find_uv_bin(), "pip", "install", "--quiet", "--target", str(folder),
        "--python-platform", PLATFORMS[context.architecture],
        "--python-version", f"{major}.{minor}",
        "--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(lock),
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603 - the pinned uv of our own environment
        command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise PackagingError(
            f"installing locked requirements for {context.key} failed:\n{done.stderr.strip()}"
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
