"""Which receivers a stage allows: public ones alone, and on one's own machine those that it lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.egress import PUBLIC_ONLY, EgressRules
from shared.settings import SettingError

if TYPE_CHECKING:
    from shared.settings import WebhooksSettings

LOCAL: Final = "local"


def receivers(settings: WebhooksSettings) -> EgressRules:
    """The rules of the stage; raises `SettingError` where one that is deployed opens its own host."""
    if settings.stage != LOCAL:
        if settings.webhook_loopback or settings.webhook_ca_file:
            raise SettingError("WEBHOOK_LOOPBACK and WEBHOOK_CA_FILE are for the stage local alone")
        return PUBLIC_ONLY
    listed = (item.strip() for item in settings.webhook_loopback.split(","))
    return EgressRules(loopback=frozenset(item for item in listed if item))
