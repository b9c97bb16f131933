"""The folder in which the local service keeps what it knows (`.laneway/`), and who may use it.

One service per folder: the lock is held by the process and vanishes with it. `dev.json` is there from
the first answer until the service ends; what a killed one left, the next one removes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from cli.dev import guard
from cli.dev.failures import DevError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsAccess:
    """How to reach the embedded AWS with any SDK."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    region: str

    def to_env(self) -> dict[str, str]:
        """The variables from which an SDK reads this."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service that answers; what `dev.json` says."""

    endpoint: str
    api_key: str
    aws: AwsAccess
    queues: Mapping[str, str] = field(default_factory=dict)
    """Where jobs are dropped: URLs of SQS, or names in RabbitMQ."""
    broker: Mapping[str, str] = field(default_factory=dict)
    """`url` of the RabbitMQ that the queues are in; empty: they are on SQS."""
    buckets: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """The folders of one local service."""

    folder: Path

    @property
    def dev_json(self) -> Path:
        """Where a running service is described."""
        return self.folder / "dev.json"

    @property
    def home(self) -> Path:
        """The home folder of the tools; kept, it holds the CDK's unpacked library."""
        return self.folder / "home"

    @property
    def assembly(self) -> Path:
        """The synthesized stacks."""
        return self.folder / "cdk.out"

    @property
    def logs(self) -> Path:
        """What the tools wrote, one file each."""
        return self.folder / "logs"

    def scratch(self, name: str) -> Path:
        """Temporary space of one tool; emptied when the tool ends."""
        folder = self.folder / "tmp" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Own the folder, cleaned of what a killed service left; DevError when another one does."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.folder / "dev.lock").open("a+") as lock:
            _take(lock.fileno(), self.folder)
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self._clean()
            try:
                yield
            finally:
                self._clean()

    def publish(self, running: Running) -> None:
        """Write `dev.json`, readable by the owner alone, at once or not at all."""
        draft = self.dev_json.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(running), indent=2) + "\n")
        draft.replace(self.dev_json)

    def _clean(self) -> None:
        self.dev_json.unlink(missing_ok=True)
        guard.empty(self.folder / "tmp")


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_free_port(port: int) -> None:
    """DevError when something listens on 127.0.0.1:`port` already."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise DevError(f"Port {port} needs more rights than you have. {_MOVE}") from error
            if error.errno != errno.EADDRINUSE:
                raise
            raise DevError(f"Port {port} on 127.0.0.1 is in use. {_MOVE}") from error


_MOVE = "Take another one: LANEWAY_PORT=4600 make dev"


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 32, 0).decode().strip()
        raise DevError(
            f"A local service runs from {folder} already (process {owner}). "
            "Stop it first, or use another checkout."
        ) from error
