"""The local service from start to end: emulator, stacks, key, first answer, redeploys, clean stop.

Whatever ends it (Ctrl-C, SIGTERM, an error while it starts), no process, port or unpacked folder is left.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from cli.dev import deploy, emulator
from cli.dev.aws import Clients, connect, forget_aws_settings
from cli.dev.broker import require_installed, start_broker, tell_functions, tend
from cli.dev.cors import apply_cors
from cli.dev.examples import Example, examples
from cli.dev.failures import DevError
from cli.dev.fleet import Fleet
from cli.dev.functions import code_of, log_groups
from cli.dev.interrupt import interruptible
from cli.dev.logs import LogFollower
from cli.dev.processes import finish
from cli.dev.resources import (
    KEYS_TABLE,
    PREFIX,
    describe_resources,
    read_stage,
    workers_wanted,
)
from cli.dev.state import Running, require_free_port
from cli.dev.terminal import pasted
from cli.dev.watch import Watcher, describe
from cli.dev.workers import live_versions, retire, workers
from cli.models.pull import pull
from shared.keys import API_KEY_HEADER, create_key
from shared.keys_dynamodb import DynamoKeyStore
from shared.repository import RepositoryError, read_repository

if TYPE_CHECKING:
    from cli.dev.deploy import Target
    from cli.dev.processes import Guarded
    from cli.dev.rabbitmq import PrivateBroker
    from cli.dev.terminal import Terminal
    from shared.settings.jobs import WorkerSettings

ALIAS: Final = "live"
FIRST_ANSWER_TIMEOUT_S: Final = 60.0
_HEARTBEAT_S: Final = 1.0


Changes = queue.Queue[set[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A deployed service on a running emulator."""

    target: Target
    terminal: Terminal
    clients: Clients
    process: Guarded
    running: Running
    fleet: Fleet
    broker: PrivateBroker | None
    """The RabbitMQ that carries jobs, where one does."""


def serve(target: Target, terminal: Terminal) -> None:
    """Run the service until it is asked to stop; DevError when it cannot start."""
    begin = time.monotonic()
    forget_aws_settings()
    with target.state.held(), contextlib.ExitStack() as cleanup, interruptible(terminal):
        require_free_port(target.port)
        if target.broker == "rabbitmq":
            require_installed()
        with terminal.step("model weights"):
            pull(target.models)
        changes: Changes = queue.Queue()
        cleanup.enter_context(Watcher(target.project, target.models, changes.put))
        found = examples(read_repository(target.models))
        sample = found[0]
        service = _start(target, terminal, cleanup)
        follower = cleanup.enter_context(LogFollower(service.clients.logs, terminal.line))
        follower.follow(log_groups(service.clients))
        _start_workers(service)
        _answer_or_tell_why(service, sample, follower)
        target.state.publish(service.running)
        shown = pasted(service.running, found, target.state.folder / "examples", _laneway())
        terminal.ready(service.running, shown, after_s=time.monotonic() - begin)
        _run(service, changes, follower)


def _start(target: Target, terminal: Terminal, cleanup: contextlib.ExitStack) -> Service:
    with terminal.step("emulator"):
        process = cleanup.enter_context(emulator.start(target.project, target.state, target.port))
        emulator.wait_until_up(process, target.port)
    access = emulator.access(target.port)
    clients = connect(access)
    broker = _start_broker(target, terminal, cleanup, clients)
    with terminal.step("packages and stacks"), deploy.bootstrap(target) as bootstrap:
        deploy.synthesize(target)  # the bootstrap runs beside it
        finish(bootstrap, "The emulator could not be bootstrapped.")
    with terminal.step("cdk deploy"):
        endpoint = deploy.deploy(target)
    apply_cors(clients.apis, target.state.assembly)
    secret, _ = create_key(DynamoKeyStore(clients.tables, table=KEYS_TABLE), name="make dev")
    running = Running(
        endpoint=endpoint,
        api_key=secret,
        aws=access,
        broker={"url": broker.url} if broker else {},
        **describe_resources(read_stage(clients.functions)),
    )
    return Service(
        target=target,
        terminal=terminal,
        clients=clients,
        process=process,
        running=running,
        fleet=cleanup.enter_context(Fleet(target, access, show=terminal.line)),
        broker=broker,
    )


def _start_broker(
    target: Target, terminal: Terminal, cleanup: contextlib.ExitStack, clients: Clients
) -> PrivateBroker | None:
    """The RabbitMQ that carries jobs; None where SQS does."""
    if target.broker != "rabbitmq":
        return None
    broker = start_broker(target.state, terminal, cleanup)
    tell_functions(clients.secrets, broker)
    return broker


def _start_workers(service: Service) -> None:
    if _workers_wanted(service):
        with service.terminal.step("workers"):
            _bring_workers(service)


def _bring_workers(service: Service) -> list[str]:
    """Start the workers that the stage needs and that do not run as the sources are now; their pools."""
    return service.fleet.bring(read_repository(service.target.models), _workers_wanted(service))


def _workers_wanted(service: Service) -> dict[str, WorkerSettings]:
    return workers_wanted(
        read_stage(service.clients.functions),
        read_repository(service.target.models),
        amqp_url=service.running.broker.get("url", ""),
    )


def _answer_or_tell_why(service: Service, sample: Example, follower: LogFollower) -> None:
    try:
        _first_answer(service.running, sample)
    except DevError:
        follower.flush()  # the function's own words, before the service ends
        raise


def _run(service: Service, changes: Changes, follower: LogFollower) -> None:
    """Redeploy what changes, until a signal ends it."""
    while True:
        changed = _next_change(changes, service.process)
        service.fleet.tend()
        if service.broker is not None:
            tend(service.broker, service.terminal.line)
        if changed:
            _redeploy(service, changed)
            follower.follow(log_groups(service.clients))


def _next_change(changes: Changes, process: Guarded) -> set[Path]:
    """All that changed since the last call; empty when nothing did for a while."""
    if process.poll() is not None:
        raise DevError(f"The emulator ended.\n\n{process.tail()}")
    changed: set[Path] = set()
    with contextlib.suppress(queue.Empty):
        changed |= changes.get(timeout=_HEARTBEAT_S)
        while True:
            changed |= changes.get_nowait()
    return changed


def _redeploy(service: Service, changed: set[Path]) -> None:
    """Deploy what changed; a change that cannot be deployed is told, and the service goes on as it was."""
    what = describe(changed, service.target.project)
    service.terminal.line(f"· changed: {what}; redeploying", style="bold")
    begin = time.monotonic()
    try:
        moved = _bring(service)
    except (DevError, RepositoryError) as error:
        service.terminal.line(
            f"✗ not redeployed, the service goes on as it was: {error}", style="red"
        )
        return
    result = f"redeployed {', '.join(moved)}" if moved else "nothing to redeploy"
    service.terminal.line(f"✓ {result}: {time.monotonic() - begin:.1f} s", style="green")


def _bring(service: Service) -> list[str]:
    """Deploy the sources as they are now; the functions that run something new."""
    sample = examples(read_repository(service.target.models))[0]
    functions, scratch = service.clients.functions, service.target.state.scratch("emulator")
    before, versions = code_of(service.clients), live_versions(functions, ALIAS)
    old = workers(scratch)
    deploy.synthesize(service.target)
    deploy.deploy(service.target)
    apply_cors(service.clients.apis, service.target.state.assembly)
    retire(old, versions, live_versions(functions, ALIAS))
    moved = [name for name, code in code_of(service.clients).items() if before.get(name) != code]
    if moved:
        _first_answer(service.running, sample)
    started = [f"{pool}-worker" for pool in _bring_workers(service)]
    return [*(name.removeprefix(PREFIX) for name in moved), *started]


def _first_answer(running: Running, sample: Example) -> None:
    """Return when an inference is answered; DevError with the service's words when it is not.

    A made-up request may be refused: then the refusal came from the model's pool, which is up.
    """
    try:
        answer = httpx.post(
            f"{running.endpoint}/v2/models/{sample.model}/infer",
            json=sample.request,
            headers={API_KEY_HEADER: running.api_key, **sample.headers},
            timeout=FIRST_ANSWER_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise DevError(f"Model {sample.model} is deployed and does not answer: {error}") from error
    if answer.is_server_error or (sample.is_real and not answer.is_success):
        raise DevError(
            f"Model {sample.model} is deployed and does not answer: {answer.status_code} {answer.text}"
        )


def _laneway() -> str:
    """The `laneway` command beside the interpreter that runs."""
    return str(Path(sys.executable).with_name("laneway"))
