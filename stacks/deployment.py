"""What every stack is composed from: the stage, the model repository and the built assets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.repository import Repository
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
