"""Starts function processes from an unpacked package, and takes down what they report.

Every process is a fresh interpreter that sees the package, the layer and nothing of this environment:
`child.py` for the stages of a life, AWS's own runtime client for a cold start as Lambda has it.
"""

from __future__ import annotations

import json
import marshal
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cli.output import CommandError
from cli.profile.objects import BUCKET
from cli.profile.runtime_api import RuntimeApi
from shared.inference import NO_TELEMETRY
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU
from shared.settings import RealtimeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cli.profile.runtime_api import Told

CHILD: Final = Path(__file__).with_name("child.py")
PROJECT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 300.0
CLIENT_PACKAGES: Final = ("awslambdaric", "simplejson", "snapshot_restore_py")
"""AWS's runtime client and what it imports; on Lambda they lie beside the interpreter."""
COMPILED: Final = "runtime_client*.so"
"""The runtime client's compiled part, which lies beside its package."""
HANDLER: Final = "functions.realtime.handler.handler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is profiled: one version of one model, in its package, with one request."""

    task: Path
    python: Path
    pool: str
    model: str
    version: str
    request: Path
    """A file with the request's JSON."""
    scratch: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """Where the files are that the package has not."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """From spawning the process: until it asked for its first event, and until it had answered that."""

    init_ms: float
    answered_ms: float


def unpack(models: Path, model: str, folder: Path) -> tuple[Path, Path]:
    """The model's package and the layer, laid out as Lambda has them; raises `CommandError`."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "stacks.packaging.unpacked", model),
            *("--models", str(models.resolve()), "--output", str(folder)),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        raise CommandError(f"the package was not built: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Path(found["task"]), Path(found["python"])


def live(target: Target, *, threads: int, seconds: float) -> dict[str, Any]:
    """What `child.py` reports of one process."""
    reading, writing = os.pipe()
    arguments = [str(writing), str(time.monotonic_ns()), f"{target.task}:{target.python}"]
    arguments += [target.model, target.version, str(threads), str(target.request), str(seconds)]
    with _environment(target, threads * LAMBDA_MEMORY_MIB_PER_VCPU) as env:
        process = subprocess.Popen(
            [*_interpreter(), str(CHILD), *arguments],
            pass_fds=(writing,),
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            told = stream.read()
        _, errors = process.communicate(timeout=TIMEOUT_S)
    if process.returncode or not told:
        last = (errors.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise CommandError(f"model {target.model!r} cannot be profiled: {last}")
    report: dict[str, Any] = marshal.loads(told)  # noqa: S302  written by our own child
    return report


def cold_start(target: Target, event: bytes, *, memory_mib: int) -> ColdStart:
    """Spawn the function behind AWS's runtime client, and have it answer one event."""
    with RuntimeApi() as api:
        api.send(event)
        started_ns = time.monotonic_ns()
        with _function(target, api.address, memory_mib) as process:
            ready = told = _listen(api, process)
            if ready.kind == "ready":
                told = _listen(api, process)
    status = json.loads(told.body).get("statusCode") if told.kind == "answer" else None
    if status != HTTPStatus.OK:
        raise CommandError(
            f"the function did not answer: {told.body[:400].decode(errors='replace')}"
        )
    return ColdStart((ready.at_ns - started_ns) / 1e6, (told.at_ns - started_ns) / 1e6)


def _listen(api: RuntimeApi, process: subprocess.Popen[bytes]) -> Told:
    """What the function says next, as long as it lives."""
    until_s = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < until_s:
        told = api.listen(1.0)
        if told is not None:
            return told
    raise CommandError(f"the function ended with {process.poll()} and did not answer")


def has_runtime_client() -> bool:
    """Whether AWS's runtime client is installed here; its wheels are for Linux."""
    return all(find_spec(package) is not None for package in CLIENT_PACKAGES)


@contextmanager
def _function(target: Target, api: str, memory_mib: int) -> Iterator[subprocess.Popen[bytes]]:
    client = target.scratch / "runtime"
    client.mkdir(exist_ok=True)
    for package in CLIENT_PACKAGES:
        _link(client, package)
    runtime = {
        "AWS_LAMBDA_RUNTIME_API": api,
        "PYTHONPATH": f"{target.task}:{target.python}:{client}",
        "LAMBDA_TASK_ROOT": str(target.task),
        "_HANDLER": HANDLER,
    }
    with _environment(target, memory_mib) as env:
        process = subprocess.Popen(
            [*_interpreter(), "-m", "awslambdaric", HANDLER],
            cwd=target.task,
            env=env | runtime,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _link(folder: Path, package: str) -> None:
    """Let a function see one package of this environment, or module, and what is compiled for it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CommandError(f"package {package!r} of AWS's runtime client is not installed")
    origin = Path(spec.origin)
    home = origin.parent if spec.submodule_search_locations else origin
    for path in (home, *home.parent.glob(COMPILED)):
        link = folder / path.name
        if not link.exists():
            link.symlink_to(path)


def _interpreter() -> Sequence[str]:
    """The interpreter below this environment, which must not find the environment's packages."""
    return (getattr(sys, "_base_executable", sys.executable), "-S", "-B")


@contextmanager
def _environment(target: Target, memory_mib: int) -> Iterator[dict[str, str]]:
    """What Lambda sets, our own settings, and a disk that nothing was fetched to yet."""
    settings = RealtimeSettings(stage="profile", pool=target.pool, models_bucket=BUCKET)
    with tempfile.TemporaryDirectory(dir=target.scratch) as disk:
        yield {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TMPDIR": disk,
            "AWS_LAMBDA_FUNCTION_NAME": "profile",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mib),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "OPENBLAS_NUM_THREADS": "1",
            **NO_TELEMETRY,  # `child.py` imports onnxruntime before anything of ours
            **settings.to_env(),
            **target.env,
        }
