"""Decides on a call by its API key: an HTTP API authorizer with simple responses (format 2.0).

A key is looked up by its SHA-256; it is never logged. A failing table is not a refusal: the exception
goes to the gateway, which answers 500.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.keys import API_KEY_HEADER, lookup_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools import Logger

    from shared.keys import KeyStore


def make_handler(
    store: KeyStore, *, logger: Logger
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler that asks `store`; the context it grants is `tenant` and `key_id`."""

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        key = lookup_key(store, (event.get("headers") or {}).get(API_KEY_HEADER))
        caller = {} if key is None else {"tenant": key.tenant, "key_id": key.key_id}
        logger.info(
            "authorization",
            extra={
                "request_id": event["requestContext"]["requestId"],
                "function_request_id": context.aws_request_id,
                "allowed": key is not None,
                **caller,
            },
        )
        return {"isAuthorized": key is not None, "context": caller}

    return handler
