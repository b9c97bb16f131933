"""Decides who calls: an HTTP API authorizer with simple responses (format 2.0).

The verdict depends on the credential alone, which is the one identity source that the gateway keeps
verdicts by; what a caller may do is handed down as scopes and checked by the function behind the route
(docs/decisions/0100-a-verdict-depends-on-the-credential-alone.md). A credential is never logged. A
failing table, or an issuer whose keys cannot be fetched, is not a refusal: the exception goes to the
gateway, which answers 500.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from shared.audit import AUDIT, DENIED
from shared.keys import API_KEY_HEADER, lookup_key
from shared.principal import Principal, read_scopes, write_verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools import Logger

    from shared.keys import KeyStore

BEARER: Final = "bearer"
_KEY_BEGINS: Final = "lw_"


class RefusedError(Exception):
    """The credential proves nothing; `reason` is a word for the log, and no part of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Tokens(Protocol):
    """Who reads tokens."""

    def principal(self, token: str) -> Principal:
        """Whose token it is; raises `RefusedError`."""


class Granted(NamedTuple):
    """A caller who is let in."""

    principal: Principal
    key_id: str = ""


def make_handler(
    *,
    keys: KeyStore | None = None,
    tokens: Tokens | None = None,
    limits_of: Callable[[str], str] = lambda _tenant: "",
    logger: Logger,
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler over what the stage accepts.

    Without `tokens` a key comes in `x-api-key`; with them either comes as `Authorization: Bearer`.
    `limits_of` gives a tenant's own limits as text.
    """

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        line = {
            "request_id": event["requestContext"]["requestId"],
            "function_request_id": context.aws_request_id,
        }
        try:
            credential = _credential(event.get("headers") or {}, bearer=tokens is not None)
            granted = _grant(credential, keys, tokens)
        except RefusedError as error:
            told = {"allowed": False, "reason": error.reason, AUDIT: DENIED}
            logger.info("authorization", extra=line | told)
            return {"isAuthorized": False, "context": {}}
        principal = replace(granted.principal, limits=limits_of(granted.principal.tenant))
        told = {"allowed": True, "tenant": principal.tenant, "principal": principal.name}
        logger.info("authorization", extra=line | told)
        verdict = write_verdict(principal, key_id=granted.key_id)
        return {"isAuthorized": True, "context": verdict}

    return handler


def _credential(headers: Mapping[str, str], *, bearer: bool) -> str:
    """What the caller sent as proof, from the header that is the stage's identity source."""
    if not bearer:
        return headers.get(API_KEY_HEADER, "")
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    if scheme.lower() != BEARER:
        raise RefusedError("not_bearer")
    return credential.strip()


def _grant(credential: str, keys: KeyStore | None, tokens: Tokens | None) -> Granted:
    if keys is not None and (tokens is None or credential.startswith(_KEY_BEGINS)):
        return _of_key(keys, credential)
    if tokens is None:
        raise RefusedError("no_mode")
    return Granted(tokens.principal(credential))


def _of_key(keys: KeyStore, credential: str) -> Granted:
    key = lookup_key(keys, credential)
    if key is None:
        raise RefusedError("unknown_key")
    return Granted(Principal(key.tenant, f"key:{key.key_id}", read_scopes(key.scopes)), key.key_id)
