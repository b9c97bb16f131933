"""What every stack is composed from: the stage, the model repository and the built assets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacks import names
from stacks.errors import StageError
from stacks.queue_lane import CLASSES, GPU_QUEUES, class_of

if TYPE_CHECKING:
    from shared.repository import ModelEntry, Repository
    from shared.schema.spec import PoolSpec, Warm
    from stacks.packaging.assets import Assets
    from stacks.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One synthesis."""

    stage: Stage
    repository: Repository
    assets: Assets
    emulator_url: str | None = None
    """Address of the embedded emulator, for stage `local`; None: Amazon's own."""
    webhook_ca_file: str | None = None
    """For stage `local`: certificates that receivers of webhooks on this machine show."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.stage.warm) - set(self.repository.pools))
        if unknown:
            raise StageError(
                f"stage {self.stage.name!r}: warm names pool {unknown[0]!r}, and pools.toml has "
                f"{', '.join(self.repository.pools)}; correct stacks/stages.py"
            )

    @property
    def realtime_models(self) -> list[ModelEntry]:
        """The models that are called over HTTP and answer at once."""
        return [
            entry
            for entry in self.repository.models.values()
            if "realtime" in entry.spec.latency_classes
        ]

    @property
    def realtime_pools(self) -> dict[str, PoolSpec]:
        """The pools of those models; another pool gets no realtime function to pay for."""
        used = {entry.spec.pool for entry in self.realtime_models}
        return {pool: spec for pool, spec in self.repository.pools.items() if pool in used}

    @property
    def queued_models(self) -> list[ModelEntry]:
        """The models that take jobs: those on a gpu only where there is a fleet to run them."""
        return [
            entry
            for entry in self.repository.models.values()
            if set(entry.spec.latency_classes) - {"realtime"}
            and (entry.spec.compute == "cpu" or self.stage.fleet.enabled)
        ]

    @property
    def models_without_fleet(self) -> list[str]:
        """Models on a gpu in a stage that has nothing to run them on."""
        if self.stage.fleet.enabled:
            return []
        models = self.repository.models.items()
        return [name for name, entry in models if entry.spec.compute == "gpu"]

    @property
    def queue_pools(self) -> dict[str, PoolSpec]:
        """The pools of those models; another pool has no queues and no worker."""
        used = {entry.spec.pool for entry in self.queued_models}
        return {pool: spec for pool, spec in self.repository.pools.items() if pool in used}

    @property
    def gpu_pools(self) -> dict[str, PoolSpec]:
        """Of these, the pools whose models run on a gpu; the models of a pool all agree on that."""
        used = {entry.spec.pool for entry in self.queued_models if entry.spec.compute == "gpu"}
        return {pool: spec for pool, spec in self.queue_pools.items() if pool in used}

    @property
    def chunk_function_pools(self) -> dict[str, PoolSpec]:
        """The pools whose chunks of batches a function runs."""
        return {pool: spec for pool, spec in self.queue_pools.items() if pool not in self.gpu_pools}

    @property
    def job_function_pools(self) -> dict[str, PoolSpec]:
        """The pools whose jobs a function runs: Lambda is no consumer of RabbitMQ here."""
        return self.chunk_function_pools if self.stage.broker == "sqs" else {}

    @property
    def fleet_pools(self) -> dict[str, PoolSpec]:
        """The pools whose jobs long-lived workers run."""
        return self.gpu_pools if self.stage.broker == "sqs" else self.queue_pools

    @property
    def has_fleet(self) -> bool:
        """Whether there is a fleet stack; the emulator holds none."""
        return bool(self.fleet_pools) and not self.stage.emulated

    @property
    def start_s(self) -> dict[str, float]:
        """By pool of the fleet: by then a job is worked on though its workers had to start first."""
        fleet = self.stage.fleet
        ready_s = float(fleet.wait_s["async"] + fleet.startup_s)
        return dict.fromkeys(self.fleet_pools, ready_s) if self.has_fleet else {}

    @property
    def send_functions(self) -> list[str]:
        """Names of what sends to the broker for those outside its network: one with RabbitMQ."""
        return [names.send_function(self.stage.name)] if self.stage.broker == "rabbitmq" else []

    @property
    def scaler_functions(self) -> list[str]:
        """Names of what starts workers: one where there is a fleet."""
        return [names.fleet_scaler_function(self.stage.name)] if self.has_fleet else []

    def job_queues(self, pool: str) -> tuple[str, ...]:
        """The pool's queues of jobs, in the order in which they are served."""
        return GPU_QUEUES if pool in self.gpu_pools else CLASSES

    def models_elsewhere(self, pool: str) -> dict[str, list[str]]:
        """The models that take jobs in other pools, by pool."""
        found: dict[str, list[str]] = {}
        for entry in self.queued_models:
            if entry.spec.pool != pool:
                found.setdefault(entry.spec.pool, []).append(entry.name)
        return found

    def target_s(self, pool: str, kind: str) -> int:
        """By when a job on this queue should have begun to run; a fleet has to start first."""
        latency_class, fleet = class_of(kind), self.stage.fleet
        target_s = self.stage.queue_lane.deliveries[latency_class].target_s
        if pool not in self.fleet_pools:
            return target_s
        return max(target_s, fleet.wait_s[latency_class] + fleet.startup_s)

    def warm_of(self, pool: str) -> Warm:
        """The pool's warm capacity in this stage."""
        return self.stage.warm_of(pool, self.repository.pools[pool])
