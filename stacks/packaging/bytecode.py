"""Compiles every source of a package, so that the deployed zip is loaded without compiling.

The CDK dates every file in its zips 1980, so bytecode that validates by time never would;
`unchecked-hash` bytecode is loaded as it is. performance bars C1 to C3 stand on this.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from stacks.errors import PackagingError

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S = 300


def compile_tree(folder: Path, *, deployed_at: str) -> None:
    """Compile all of `folder`; tracebacks name files below `deployed_at`, where it will be unpacked.

    Raises PackagingError when a source does not compile.
    """
    command = [
        sys.executable, "-I", "-m", "compileall", "-q", "-f", "-j", "0",
        "--invalidation-mode", "unchecked-hash",
        "-s", str(folder), "-p", deployed_at, str(folder),
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603 - our own interpreter on folders that we made
        command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise PackagingError(f"{folder}: a source does not compile:\n{done.stdout}{done.stderr}")
