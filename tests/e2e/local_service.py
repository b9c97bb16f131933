"""A `laneway dev` under test: the very command that users start, watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = Path(__file__).parents[2]
LANEWAY = Path(sys.executable).with_name("laneway")
START_TIMEOUT_S = 240.0
REDEPLOY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 120.0
"""Each function that ran had unpacked its package anew, and all of that is removed."""

HOSTILE_AWS_SETTINGS = {
    "AWS_PROFILE": "a-profile-that-nobody-has",
    "AWS_REGION": "eu-north-1",
    "AWS_ACCESS_KEY_ID": "not-for-laneway",
    "AWS_SECRET_ACCESS_KEY": "not-for-laneway",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
}
"""A caller's own settings: whoever reads one of them fails."""


@dataclass
class LocalService:
    """A `laneway dev` process and all that it has printed."""

    process: subprocess.Popen[str]
    state: Path
    port: int
    models: Path
    lines: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def facts(self) -> dict:
        return json.loads((self.state / "dev.json").read_text())

    @property
    def endpoint(self) -> str:
        return self.facts["endpoint"]

    @property
    def address(self) -> str:
        """The endpoint as tritonclient takes it."""
        return self.endpoint.removeprefix("http://")

    @property
    def headers(self) -> dict[str, str]:
        # A fresh dict each time: tritonclient writes into its caller's.
        return {"x-api-key": self.facts["api_key"]}

    def wait_for(self, text: str, *, timeout_s: float, after: int = 0) -> int:
        """The number of the first line from `after` on that holds `text`."""

        def found() -> int | None:
            numbered = enumerate(self.lines[after:], after)
            return next((number for number, line in numbered if text in line), None)

        with self.changed:
            self.changed.wait_for(
                lambda: found() is not None or not self.reader.is_alive(), timeout_s
            )
        number = found()
        assert number is not None, f"{text!r} was not printed in {timeout_s} s:\n{self.output}"
        return number

    @contextlib.contextmanager
    def told_after_change(self, name: str) -> Iterator[list[str]]:
        """Change the file `name` in the block; afterwards the list has what was said of the redeploy."""
        mark, said = len(self.lines), []
        yield said
        began = self.wait_for(f"/{name}", timeout_s=REDEPLOY_TIMEOUT_S, after=mark)
        ended = self.wait_for("redeploy", timeout_s=REDEPLOY_TIMEOUT_S, after=began + 1)
        said.append(self.lines[ended])

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=STOP_TIMEOUT_S)

    def scratch(self) -> list[Path]:
        """What is in the temporary folders of the service's tools."""
        return [path for folder in (self.state / "tmp").glob("*") for path in folder.glob("*")]

    def processes(self) -> list[str]:
        """The command lines of everything that runs out of the service's folder."""
        return list(self.running().values())

    def running(self) -> dict[int, str]:
        """Process ids and command lines of all that is told the service's folder, or was started in it."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_text().replace("\0", " ").strip()
                told = (entry / "environ").read_text(errors="replace")
                if str(self.state) in command or f"HOME={self.state}" in told:
                    found[int(entry.name)] = command
        return found

    def worker(self) -> int:
        """The process that runs the jobs of the one pool with gpu models."""
        ends = "-m gpu_workers"
        [pid] = [
            pid
            for pid, command in self.running().items()
            if command.endswith(ends) and "guard.py" not in command
        ]
        return pid


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def assert_nothing_left(service: LocalService) -> None:
    """Of an ended service: no process, no port, no unpacked package, no description."""
    assert service.processes() == []
    assert service.scratch() == []
    assert not is_open(service.port)
    assert not (service.state / "dev.json").exists()


def eventually(holds: Callable[[], bool], *, timeout_s: float) -> bool:
    """Whether it holds within the time; asked ten times a second."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@contextlib.contextmanager
def local_service(
    state: Path, models: Path, port: int, *options: str, **variables: str
) -> Iterator[LocalService]:
    process = subprocess.Popen(
        [LANEWAY, "dev", "--models", models, "--state", state, *options],
        cwd=PROJECT,
        env=os.environ | HOSTILE_AWS_SETTINGS | {"LANEWAY_PORT": str(port)} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    service = LocalService(process, state, port, models)
    try:
        yield service
    finally:
        service.stop()
        service.reader.join(STOP_TIMEOUT_S)
        process.stdout.close()
        service.reader.join(STOP_TIMEOUT_S)
        process.stdout.close()
