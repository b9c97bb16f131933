"""The names of what is deployed: fixed, so that stacks find each other's resources without exports.

Exports would tie the stacks together: a pool could not be removed while ingress still imports it.
"""

from __future__ import annotations

from typing import Final, Literal

ALIAS: Final = "live"
"""The alias that callers reach; a deploy moves it to the new version."""
METRICS_NAMESPACE: Final = "Laneway"


def stack(stage: str, concern: Literal["storage", "pools", "ingress", "observability"]) -> str:
    """The id and name of a stack."""
    return f"laneway-{stage}-{concern}"


def realtime_function(stage: str, pool: str) -> str:
    """The function that answers a pool's realtime requests."""
    return f"laneway-{stage}-{pool}-realtime"


def ingress_function(stage: str) -> str:
    """The function behind `$default`."""
    return f"laneway-{stage}-ingress"


def authorizer_function(stage: str) -> str:
    """The function that checks API keys."""
    return f"laneway-{stage}-authorizer"


def keys_table(stage: str) -> str:
    """The table of API keys, by their hash."""
    return f"laneway-{stage}-keys"


def http_api(stage: str) -> str:
    """The HTTP API."""
    return f"laneway-{stage}"


def access_log_group(stage: str) -> str:
    """The log group of the HTTP API's access log."""
    return f"/laneway/{stage}/access"


def alarms_topic(stage: str) -> str:
    """The topic that alarms notify when the stage names none."""
    return f"laneway-{stage}-alarms"


def dashboard(stage: str) -> str:
    """The stage's dashboard."""
    return f"laneway-{stage}"
