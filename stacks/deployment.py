"""What every stack is composed from: the stage, the model repository and the built assets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacks.errors import StageError

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
        """The models whose jobs a pool's worker runs."""
        return [
            entry
            for entry in self.repository.models.values()
            if entry.spec.compute == "cpu" and set(entry.spec.latency_classes) - {"realtime"}
        ]

    @property
    def queue_pools(self) -> dict[str, PoolSpec]:
        """The pools of those models; another pool has no queues and no worker."""
        used = {entry.spec.pool for entry in self.queued_models}
        return {pool: spec for pool, spec in self.repository.pools.items() if pool in used}

    def warm_of(self, pool: str) -> Warm:
        """The pool's warm capacity in this stage."""
        return self.stage.warm_of(pool, self.repository.pools[pool])
