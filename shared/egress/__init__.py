"""Calls to addresses that callers choose: which are allowed, and the one way to make such a call.

Nothing else in Laneway opens a connection to a host that a caller named. Importing this package
loads no HTTP client; `shared.egress.https` does.
"""

from __future__ import annotations

from shared.egress.urls import PUBLIC_ONLY, EgressRules, check_webhook_url

__all__ = ["PUBLIC_ONLY", "EgressRules", "check_webhook_url"]
