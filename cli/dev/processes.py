"""Starts the tools behind the local service, so that none of them outlives it.

Every process runs under `guard`, which ends its whole group when this process closes the pipe, ends or
is killed. None of them sees the caller's AWS configuration.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from cli.dev import guard
from cli.dev.failures import DevError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_STOP_TIMEOUT_S = guard.STOP_GRACE_S + 5.0
_TAIL_LINES = 25


class Guarded:
    """A running command; `stop()`, or leaving the `with` block, ends it and all that it started."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        working_folder: Path,
        scratch: Path,
        log: Path,
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._start(command, environment, working_folder, scratch, output)

    def _start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        working_folder: Path,
        scratch: Path,
        output: IO[bytes],
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, str(scratch), "--", *command],
            cwd=working_folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for the service, which then stops this
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for the command's own end; its exit code."""
        return self._process.wait()

    def ask_to_stop(self) -> None:
        """Begin to end the command; `stop` then has less to wait for."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()

    def stop(self) -> None:
        """End the command and everything that it started; returns when nothing is left."""
        self.ask_to_stop()
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        """The last lines that the command wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


def finish(process: Guarded, failure: str) -> None:
    """Wait for the process's end; DevError with `failure` and its last lines when it failed."""
    if process.wait():
        raise DevError(f"{failure}\n\n{process.tail()}\n\nThe whole output: {process.log}")


def plain_environment(home: Path, scratch: Path) -> dict[str, str]:
    """The caller's environment without any AWS setting and with a home of its own.

    The home is where the CDK CLI caches accounts by access key and looks for AWS profiles. uv keeps its
    own cache and configuration, or every layer would be downloaded anew.
    """
    real_home = Path.home()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "CDK_", "MINISTACK_", "PYTHON", "LAMBDA_"))
    }
    return {
        "UV_CACHE_DIR": str(real_home / ".cache" / "uv"),
        "XDG_CONFIG_HOME": str(real_home / ".config"),
        "NETRC": str(real_home / ".netrc"),
        **kept,
        "NO_COLOR": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
