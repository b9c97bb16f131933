"""What a stage says about its jobs: how long they may wait, run and be kept, and which places they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from shared.egress import PUBLIC_ONLY, EgressRules
from shared.jobs.receivers import receivers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.settings.jobs import JobSettings

LOST_AFTER_TARGETS: Final = 2
"""A message that was not received within so many times its class's target is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRules:
    """Durations in seconds, by latency class where they differ."""

    bucket: str
    targets_s: Mapping[str, int]
    ttls_s: Mapping[str, int]
    timeout_s: int
    retention_s: int
    start_s: Mapping[str, float] = field(default_factory=dict)
    """By pool: what long-lived workers may take to start; a function's take no time."""
    input_places: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By tenant: `s3://bucket/prefix/` that it may name beside its own uploads."""
    result_aliases: Mapping[str, str] = field(default_factory=dict)
    receivers: EgressRules = PUBLIC_ONLY
    """Where webhooks may go."""

    @classmethod
    def of(cls, settings: JobSettings) -> Self:
        """The rules that a function's settings hold."""
        return cls(
            bucket=settings.bucket,
            targets_s={"async": settings.async_target_s, "batch": settings.batch_target_s},
            ttls_s={"async": settings.async_ttl_s, "batch": settings.batch_ttl_s},
            timeout_s=settings.job_timeout_s,
            retention_s=settings.job_retention_s,
            start_s=settings.start_s,
            input_places=settings.input_places,
            result_aliases=settings.result_aliases,
            receivers=receivers(settings.stage, settings.webhook_loopback),
        )

    def lost_at(self, latency_class: str, *, pool: str, sent_at: float, ttl_at: float) -> float:
        """When somebody must look whether a message was received; a fleet may have to start first.

        Sent again too early, a message would be counted twice, and workers started for it in vain.
        """
        patience_s = LOST_AFTER_TARGETS * (
            self.targets_s[latency_class] + self.start_s.get(pool, 0)
        )
        return min(ttl_at, sent_at + patience_s)
