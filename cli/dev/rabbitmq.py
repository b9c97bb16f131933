"""A RabbitMQ of one's own on this machine: own ports, own data, own secret, stopped by its process.

Needs RabbitMQ installed (Debian's package `rabbitmq-server`, whose own service is neither needed nor
touched). Listens on 127.0.0.1 alone, with a port mapper of its own. Ends with the process that started it,
however that ends.

    with PrivateBroker(folder) as broker:
        pika.BlockingConnection(pika.URLParameters(broker.url))
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from cli.dev import guard

if TYPE_CHECKING:
    from types import TracebackType

SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's script itself: the one on the path changes its user and its settings."""
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05
_FLAGS: Final = "-start_epmd false"
_WITH_PORT_MAPPER: Final = 'epmd & for _ in $(seq 100); do epmd -names >/dev/null 2>&1 && break; sleep 0.05; done; exec "$@"'
"""Erlang's port mapper, without which the broker does not start, in the same group as the broker."""
_USER: Final = "laneway"
_CONFIGURATION: Final = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
loopback_users = none
log.console = true
log.file = false
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 1GB
"""
_TLS: Final = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.certfile = {file}
ssl_options.keyfile = {file}
"""


def is_installed() -> bool:
    """Whether a broker can be started here."""
    return _server() is not None


class PrivateBroker:
    """A broker in `folder`, started by entering the `with` block or by `start`.

    `kill` ends it as a crash would; `start` after either end starts it on the same port and data.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, certificate: Path | None = None
    ) -> None:
        """`certificate`: of 127.0.0.1, a chain with its key in one PEM file, to speak TLS as well."""
        self._folder = folder
        self._certificate = certificate
        self.port = port or _free_port()
        self._tls_port = _free_port()
        self._node_port = _free_port()
        self._mapper_port = _free_port()
        self._password = secrets.token_urlsafe(12)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"amqp://{_USER}:{self._password}@127.0.0.1:{self.port}/%2F"
        self.tls_url = f"amqps://{_USER}:{self._password}@127.0.0.1:{self._tls_port}/%2F"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it takes connections; raises `RuntimeError` when it does not."""
        server = _server()
        if server is None:
            raise RuntimeError("RabbitMQ is not installed; on Debian: apt install rabbitmq-server")
        self._write_files()
        command = ["/bin/sh", "-c", _WITH_PORT_MAPPER, "sh", str(server)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, str(self._scratch), "--", *command],
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Stop it as an operator would: everything is on disk afterwards."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, as a crash does."""
        self._end(signal.SIGKILL)

    @property
    def ended(self) -> bool:
        """Whether it was started and has ended by itself, or was killed by somebody else."""
        return self._process is not None and self._process.poll() is not None

    def revive(self) -> None:
        """Start it again where it `ended`: on the same port, with what is on disk."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
        self.start()

    def restart(self) -> None:
        """Stop it and start it again; connections are lost, what is on disk is not."""
        self.stop()
        self.start()

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` answers; it takes seconds to start."""
        server = _server()
        if server is None:
            raise RuntimeError("RabbitMQ is not installed")
        done = subprocess.run(
            [server.with_name("rabbitmqctl"), "--quiet", *arguments],
            env=self._environment() | {"ERL_FLAGS": f"{_FLAGS} -dist_listen false"},
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_S,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def pid(self) -> int:
        """The process of the broker itself."""
        return int(self._pid_file.read_text())

    @property
    def _scratch(self) -> Path:
        return self._folder / "scratch"

    @property
    def _log(self) -> Path:
        return self._folder / "rabbitmq.log"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "pid"

    def _write_files(self) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._pid_file.unlink(missing_ok=True)
        told = _CONFIGURATION.format(port=self.port, user=_USER, password=self._password)
        if self._certificate is not None:
            told += _TLS.format(port=self._tls_port, file=self._certificate)
        configuration = self._folder / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(told)
        (self._folder / "enabled_plugins").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        """Nothing of the machine's own broker; HOME holds the node's secret."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self._folder),
            "TMPDIR": str(self._scratch),
            "ERL_FLAGS": _FLAGS,
            "ERL_CRASH_DUMP_SECONDS": "0",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"laneway-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} +sbwt none"
            ),
            "RABBITMQ_ALLOW_INPUT": "true",  # the server's process is then the one that is started
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self._pid_file),
        }

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
                raise RuntimeError(f"RabbitMQ did not start:\n{tail}")
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        process.stdin.close()  # the guard ends what is left
        process.wait()


def _server() -> Path | None:
    if SERVER.exists():
        return SERVER
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve() if found else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
