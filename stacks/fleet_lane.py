"""How a stage's fleet of long-lived workers is bought, sized and connected; part of a stage's values.

Numbers that contradict each other or AWS are refused here, before anything is synthesized.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from stacks.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Broker = Literal["sqs", "rabbitmq"]
"""What carries jobs to the queue-fed lanes."""
Way = Literal["endpoints", "nat"]
_KEY: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")

FARGATE_MEMORY_MIB: Final[Mapping[int, range]] = {
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
"""Sizes that Fargate offers, by CPU units (ECS developer guide, task size, read 2026-11-22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMQ:
    """An existing broker, Amazon MQ or any other: Laneway makes none."""

    secret_arn: str
    """Its secret holds the broker's URL, `amqps://user:password@host:5671/vhost`."""
    secret_key_arn: str | None = None
    """The key of KMS that the secret is encrypted with; None: AWS's own, `aws/secretsmanager`."""
    vpc_id: str
    subnets: tuple[str, ...]
    """From where the broker is reached, and by endpoints or a NAT gateway of that network `secretsmanager`,
    `s3`, `dynamodb`, `sqs`, `ecr.api`, `ecr.dkr` and `logs`; with a gpu model also `ecs`, `ecs-agent`,
    `ecs-telemetry` and `autoscaling`, since its instances are here. Laneway makes no endpoint here."""
    security_group: str
    """Let in by the broker's own group."""

    def __post_init__(self) -> None:
        if not self.subnets:
            raise StageError("rabbitmq names no subnets; name those from which it is reached")
        if ":secretsmanager:" not in self.secret_arn:
            raise StageError(
                f"rabbitmq: {self.secret_arn!r} is no ARN of a secret in Secrets Manager"
            )
        if self.secret_key_arn is not None and not _KEY.fullmatch(self.secret_key_arn):
            raise StageError(
                f"rabbitmq: {self.secret_key_arn!r} is no ARN of a key in KMS; write that of the key, "
                "`arn:aws:kms:<region>:<account>:key/<id>`, not of an alias"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """Which instances may be bought, and for how much; one gpu, and one worker, to an instance."""

    families: tuple[str, ...] = ("g4dn", "g5", "g6", "g6e")
    """Of x86 instances with NVIDIA's Turing (T4, A10G, L4, L40S) or later: CUDA 13 runs on nothing older."""
    gpu_memory_mib: int = 15_000
    """Of the device; a T4 says 16 GB and has 15,360 MiB."""
    vcpus: int = 4
    memory_mib: int = 15_000
    """Of the instance; a g4dn.xlarge has 16,384 MiB."""
    spot_price_percent: int = 100
    """A spot instance costs at most so much of the cheapest suitable type's on-demand price."""
    on_demand_price_percent: int = 50
    """An on-demand instance costs at most so much more than the cheapest suitable type."""
    disk_gib: int = 60
    """For the image, CUDA's libraries among it."""
    tensorrt: tuple[str, ...] = ()
    """Pools whose models run through TensorRT, and what it cannot run on CUDA; the others on CUDA alone.
    Never run on a GPU: see docs/architecture/03-gpu-lane.md."""

    def __post_init__(self) -> None:
        if not 1 <= self.spot_price_percent <= 200:  # noqa: PLR2004 - twice the on-demand price
            raise StageError(
                f"spot_price_percent is {self.spot_price_percent}; write 1 to 200, where 100 is "
                "the on-demand price of the cheapest suitable type"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The fleet of one stage: bounds for each of its pools, and when it grows and shrinks."""

    enabled: bool = True
    """False: no fleet, at no cost and without Docker at a deploy; jobs for gpu models are refused."""
    max_workers: int = 2
    """Of one pool. What a stage can cost at most is this times the dearest suitable instance."""
    min_workers: int = 0
    """Of one pool, also when there is nothing to do."""
    wait_s: Mapping[str, int] = field(default_factory=lambda: {"async": 300, "batch": 3600})
    """By class: backlog is worked off in about so long. From nothing, start-up comes on top."""
    chunk_s: float = 60.0
    """What a worker is reckoned to need for a chunk of a batch, 8 MiB of lines."""
    idle_s: int = 600
    """After so long without anything to do, the last worker goes."""
    startup_s: int = 300
    """From a decision to a worker at work: instance, image, models. Alarms wait so long."""
    on_demand_base: int = 0
    """So many workers of a pool are on demand; those above it are shared out by the percentage."""
    on_demand_percent: int = 0
    gpus: Gpus = Gpus()
    cpu_units: int = 1024
    """Of a worker on Fargate; 1024 is a vCPU."""
    memory_mib: int = 4096
    """Of a worker on Fargate."""
    zones: int = 2
    """Availability zones of the gpu fleet's own network; a template without a region has two at most."""
    way_out: Way = "endpoints"
    """How workers without public addresses reach AWS; docs/costs.md has the price of each."""

    def __post_init__(self) -> None:
        _check(self)


def _check(fleet: Fleet) -> None:
    facts = {
        f"min_workers is {fleet.min_workers} and max_workers {fleet.max_workers}": (
            0 <= fleet.min_workers <= fleet.max_workers >= 1
        ),
        f"on_demand_percent is {fleet.on_demand_percent}; write 0 to 100": (
            0 <= fleet.on_demand_percent <= 100  # noqa: PLR2004 - a percentage
        ),
        f"wait_s names {sorted(fleet.wait_s)}; name async and batch": (
            set(fleet.wait_s) == {"async", "batch"}
        ),
        "wait_s and chunk_s must be above 0": min(*fleet.wait_s.values(), fleet.chunk_s) > 0,
        f"idle_s is {fleet.idle_s}; under 120 s a worker would leave between two jobs": (
            fleet.idle_s >= 120  # noqa: PLR2004 - two passes of the scaler
        ),
        f"Fargate offers no worker of {fleet.cpu_units} CPU units and {fleet.memory_mib} MiB": (
            fleet.memory_mib in FARGATE_MEMORY_MIB.get(fleet.cpu_units, range(0))
        ),
        f"zones is {fleet.zones}; write 1 or 2": fleet.zones in {1, 2},
    }
    for fact, holds in facts.items():
        if not holds:
            raise StageError(f"fleet: {fact}")
