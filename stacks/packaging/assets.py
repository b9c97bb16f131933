"""The values that packaging hands to the stacks, and what every build depends on."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stacks.packaging.fetched import Fetched
    from stacks.stages import Architecture

PROJECT: Path = Path(__file__).parents[2]
"""The project's root: the sources of packages, and the home of `build/`."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A folder to deploy, and the digest of everything it was made from."""

    folder: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Everything that a stage's functions are deployed from."""

    onnx_runtime: Asset
    control: Asset
    pools: Mapping[str, Asset]
    ingress: Asset
    authorizer: Asset
    sweeper: Asset
    webhooks: Asset
    batch_splitter: Asset
    batch_finisher: Asset
    fleet_scaler: Asset
    deployments: Asset
    fetched: Mapping[str, Fetched] = field(default_factory=dict)
    """What functions fetch from S3, by pool; a pool whose package has all its models is not there."""
    send: Asset | None = None
    """The function that sends to RabbitMQ; None where SQS carries jobs."""
    images: Mapping[str, Asset] = field(default_factory=dict)
    """Folders that workers' images are built from, by pool; none without long-lived workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """Where builds are kept and for which machine they are made."""

    root: Path = PROJECT / "build"
    architecture: Architecture = "x86_64"
    python_minor: tuple[int, int] = (sys.version_info.major, sys.version_info.minor)
    """The running interpreter's: it compiles the bytecode that the function loads."""

    @property
    def key(self) -> str:
        """What makes two builds of the same sources differ."""
        major, minor = self.python_minor
        return f"{self.architecture} python{major}.{minor}"
