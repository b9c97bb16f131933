"""Which receivers of webhooks a stage allows: public ones, and on one's own machine those it lists."""

from __future__ import annotations

from typing import Final

from shared.egress import PUBLIC_ONLY, EgressRules
from shared.settings import SettingError

LOCAL: Final = "local"


def receivers(stage: str, listed: str) -> EgressRules:
    """The rules of a stage; `listed` is its setting WEBHOOK_LOOPBACK, with commas between.

    Raises `SettingError` where a stage that is deployed would open its own host.
    """
    hosts = frozenset(item.strip() for item in listed.split(",") if item.strip())
    if not hosts:
        return PUBLIC_ONLY
    if stage != LOCAL:
        raise SettingError("WEBHOOK_LOOPBACK is for the stage local alone")
    return EgressRules(loopback=hosts)
