"""The long-lived workers of the local service: a process for each pool whose jobs no function runs.

They are what a fleet runs elsewhere, `python -m gpu_workers`, on the CPU and from this checkout. One
that ends by itself is started again; `bring` starts those anew whose code, models or settings changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cli.dev.failures import DevError
from cli.dev.processes import Guarded, plain_environment
from cli.dev.state import free_port
from cli.dev.tail import Tails
from cli.dev.worker_package import WorkerPackage, make_package

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rich.text import Text

    from cli.dev.deploy import Target
    from cli.dev.state import AwsAccess
    from shared.repository import Repository
    from shared.settings.jobs import WorkerSettings

READY_TIMEOUT_S: Final = 90.0
RESTART_S: Final = 1.0
RESTART_S_MAX: Final = 30.0
LASTED_S: Final = 60.0
"""A worker that ran for so long is started again as if it had never ended."""
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pool's worker runs: its settings without a port of its own, and its package."""

    settings: WorkerSettings
    package: WorkerPackage

    @property
    def pool(self) -> str:
        """The pool."""
        return self.settings.pool


@dataclass(frozen=True, slots=True)
class Member:
    """A running worker."""

    plan: Plan
    process: Guarded
    health_port: int
    began: float
    pause_s: float
    """It runs for at least so long before it is started again."""


class Fleet:
    """The workers of a service; leaving the `with` block stops them."""

    def __init__(
        self, target: Target, access: AwsAccess, *, show: Callable[[Text | str], None]
    ) -> None:
        self._target = target
        self._access = access
        self._show = show
        self._members: dict[str, Member] = {}
        self._tails = Tails(show)

    def __enter__(self) -> Self:
        self._tails.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self._members.values():
            member.process.ask_to_stop()
        for pool in list(self._members):
            self._stop(pool)
        self._tails.stop()

    def bring(self, repository: Repository, wanted: Mapping[str, WorkerSettings]) -> list[str]:
        """Run these workers, by pool, as the sources are now; the pools whose worker was started.

        DevError with the worker's own words when one does not become ready.
        """
        plans = [
            Plan(settings, make_package(self._target, repository, settings.pool))
            for settings in wanted.values()
        ]
        for pool in set(self._members) - set(wanted):
            self._stop(pool)
        changed = [plan for plan in plans if self._runs(plan.pool) != plan]
        for plan in changed:
            self._stop(plan.pool)
            self._members[plan.pool] = self._start(plan, pause_s=RESTART_S)
        for plan in changed:
            self._wait_until_ready(self._members[plan.pool])
        return [plan.pool for plan in changed]

    def tend(self) -> None:
        """Start again what has ended by itself; what does so at once, after longer and longer pauses."""
        for pool, member in self._members.items():
            code, lasted_s = member.process.poll(), time.monotonic() - member.began
            if code is None or lasted_s < member.pause_s:
                continue
            self._show(f"· the worker of pool {pool} ended ({code}); starting it again")
            pause_s = RESTART_S if lasted_s > LASTED_S else min(member.pause_s * 2, RESTART_S_MAX)
            self._members[pool] = self._start(member.plan, pause_s=pause_s)

    def _runs(self, pool: str) -> Plan | None:
        member = self._members.get(pool)
        return member.plan if member else None

    def _start(self, plan: Plan, *, pause_s: float) -> Member:
        state, name = self._target.state, f"worker-{plan.pool}"
        scratch, log, port = state.scratch(name), state.logs / f"{name}.log", free_port()
        settings = dataclasses.replace(
            plan.settings, health_port=port, models=str(plan.package.folder)
        )
        self._tails.drop(log)
        process = Guarded(
            [sys.executable, "-m", "gpu_workers"],
            environment={
                **plain_environment(state.home, scratch),
                **settings.to_env(),
                **self._access.to_env(),
                "PYTHONPATH": str(plan.package.packages),
                "PYTHONUNBUFFERED": "1",
            },
            working_folder=self._target.project,
            scratch=scratch,
            log=log,
        )
        self._tails.follow(log, f"{plan.pool}-worker")
        return Member(plan, process, port, time.monotonic(), pause_s)

    def _wait_until_ready(self, member: Member) -> None:
        pool, deadline = member.plan.pool, time.monotonic() + READY_TIMEOUT_S
        while not _is_ready(member.health_port):
            ended = member.process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else f"was not ready in {READY_TIMEOUT_S:.0f} s"
                raise DevError(f"The worker of pool {pool} {what}.\n\n{member.process.tail()}")
            time.sleep(_POLL_S)

    def _stop(self, pool: str) -> None:
        member = self._members.pop(pool, None)
        if member is not None:
            member.process.stop()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    return False
