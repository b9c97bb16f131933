"""One look at each pool's queues and service: the number of workers set, and what was seen as metrics.

The service's count is this function's alone: the template does not say it and no other policy moves it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from functions.fleet_scaler.desired import Decision, Rules, Seen, desired
from shared.errors import UnavailableError
from shared.telemetry import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools import Logger

    from shared.results.leases import Leases

METRICS: Final = (
    ("fleet_desired", "Count"),
    ("fleet_running", "Count"),
    ("fleet_missing", "Count"),
    ("fleet_backlog", "Count"),
    ("fleet_backlog_per_worker", "Count"),
    ("fleet_wait_s", "Seconds"),
    ("fleet_dead_letters", "Count"),
)
CRASHES: Final = (("worker_crashes", "Count"),)
_BY_ITSELF: Final = "EssentialContainerExited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What a service says of itself."""

    desired: int
    running: int


class Fleet(Protocol):
    """The services that hold the pools' workers."""

    def workers(self, pool: str) -> Workers:
        """How many there are to be, and are."""

    def resize(self, pool: str, workers: int) -> None:
        """Have so many from now on."""


class Memory(Protocol):
    """What is remembered of a pool from one look to the next."""

    def idle_since(self, pool: str) -> float | None:
        """Epoch seconds since when nothing was to do there; None: something was."""

    def remember(self, pool: str, idle_since: float | None) -> None:
        """Keep that for the next look."""


class Counted(NamedTuple):
    """What a broker counts of a pool."""

    depths: Mapping[str, int]
    """Messages that wait or are in flight, by queue."""
    dead_letters: int = 0
    """Messages that nobody will try again; SQS tells of its own by alarms."""


class Depths(Protocol):
    """What waits and is in flight."""

    def of(self, pool: str) -> Counted:
        """Messages of the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetScaler:
    """Looks and decides. `rules`: by pool."""

    rules: Mapping[str, Rules]
    fleet: Fleet
    depths: Depths
    leases: Leases
    memory: Memory
    clock: Callable[[], float]

    def look(self, pool: str, *, woken: bool = False) -> dict[str, float]:
        """One look at a pool; gives the metrics of it.

        Raises an `UnavailableError` where something cannot be asked: then nothing is changed.
        """
        rules, idle_since = self.rules[pool], self.memory.idle_since(pool)
        try:
            workers, counted = self.fleet.workers(pool), self.depths.of(pool)
            quiet = not woken and not any(counted.depths.values())
            leased = self.leases.leased(pool) if quiet and workers.desired else 0
        except UnavailableError:
            if idle_since is not None:  # what nobody saw was not quiet
                self.memory.remember(pool, None)
            raise
        seen = Seen(depths=counted.depths, leased=leased, woken=woken, workers=workers.desired)
        decision = desired(seen, rules, idle_since=idle_since, now=self.clock())
        if decision.workers != workers.desired:
            self.fleet.resize(pool, decision.workers)
        if decision.idle_since != idle_since:
            self.memory.remember(pool, decision.idle_since)
        found = _metrics(seen, rules, decision, workers)
        return {**found, "fleet_dead_letters": counted.dead_letters}


def make_handler(
    scaler: FleetScaler, *, stage: str, services: Mapping[str, str], logger: Logger
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler for the clock, for a submit's `{"wake": pool}` and for ECS's news of tasks."""
    pools = {f"service:{service}": pool for pool, service in services.items()}

    def handler(event: Mapping[str, Any], _: Any) -> dict[str, Any]:
        if "wake" in event:
            return _look_at(scaler, [event["wake"]], stage=stage, logger=logger, woken=True)
        if event.get("detail-type") == "ECS Task State Change":
            task = event["detail"]
            crashes = _crashes(task)
            pool = pools.get(task.get("group", ""))
            if pool is not None and crashes:
                logger.info("crash", extra=_line(stage, pool, {"worker_crashes": crashes}, CRASHES))
            return {"crashes": crashes}
        return _look_at(scaler, list(scaler.rules), stage=stage, logger=logger, woken=False)

    return handler


def _look_at(
    scaler: FleetScaler, pools: list[str], *, stage: str, logger: Logger, woken: bool
) -> dict[str, Any]:
    """Look at each, whatever becomes of the others; the first failure is raised when all were tried."""
    workers, failures = {}, []
    for pool in pools:
        try:
            found = scaler.look(pool, woken=woken)
        except Exception as error:  # noqa: BLE001 - one pool's trouble must not keep another small
            failures.append(error)
            logger.error(  # noqa: TRY400 - the frames follow, with the failure that is raised
                "look_failed", extra={"pool": pool, "error": type(error).__name__}
            )
        else:
            logger.info("look", extra=_line(stage, pool, found, METRICS))
            workers[pool] = found["fleet_desired"]
    if failures:
        raise failures[0]
    return {"workers": workers}


def _metrics(seen: Seen, rules: Rules, decision: Decision, workers: Workers) -> dict[str, float]:
    there = max(1, workers.running)
    return {
        "fleet_desired": decision.workers,
        "fleet_running": workers.running,
        "fleet_missing": max(0, decision.workers - workers.running),
        "fleet_backlog": seen.backlog,
        "fleet_backlog_per_worker": seen.backlog / there,
        "fleet_wait_s": rules.seconds(seen.depths) / there,
    }


def _crashes(task: Mapping[str, Any]) -> int:
    """1 for a worker that ended by itself and not well; one that drained leaves with 0."""
    if task.get("lastStatus") != "STOPPED" or task.get("stopCode") != _BY_ITSELF:
        return 0
    codes = [container.get("exitCode") for container in task.get("containers", [])]
    return int(any(code != 0 for code in codes))


def _line(
    stage: str, pool: str, found: Mapping[str, float], metrics: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """The members of a log line that is metrics too."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["stage", "pool"]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in metrics],
    }
    aws = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    return {"stage": stage, "pool": pool, **found, "_aws": aws}
