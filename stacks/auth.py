"""How callers prove who they are: the modes that a stage may name, each with what it must know.

There is no mode without a proof. Keys and tokens are checked by one function of ours in front of one API;
signatures (IAM) are checked by the gateway itself, on an API of their own where a stage takes others too,
since a route has one authorizer (docs/decisions/0101-signed-calls-have-an-api-of-their-own.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.principal import check_scopes
from shared.settings import TokenIssuer
from stacks.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
)
"""Signatures by a private key. Neither `none` nor a shared secret (HS256) is offered."""
_HTTPS: Final = "https://"
_CALLER: Final = re.compile(r"(role|user)/[A-Za-z0-9+=,.@_*-]{1,64}")


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Keys that `laneway keys` makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens(TokenIssuer):
    """Tokens (JWT) of one issuer, such as a user pool of Amazon Cognito; several issuers are several modes."""

    def __post_init__(self) -> None:
        for name, url in (("issuer", self.issuer), ("jwks_url", self.jwks_url)):
            if not url.startswith(_HTTPS):
                raise StageError(f"Tokens: {name} is {url!r}; it must begin with {_HTTPS}")
        if not self.audiences or not all(self.audiences):
            raise StageError(
                f"Tokens of {self.issuer}: name the audiences; without one, tokens that the issuer "
                "made for anything else would open this stage"
            )
        if not self.tenant_claim or not self.scope_claim:
            raise StageError(f"Tokens of {self.issuer}: tenant_claim and scope_claim name claims")
        for algorithm in self.algorithms or ("",):
            if algorithm not in ALGORITHMS:
                raise StageError(
                    f"Tokens of {self.issuer}: {algorithm!r} is not offered; choose from "
                    f"{', '.join(ALGORITHMS)}"
                )


@dataclass(frozen=True, slots=True)
class Iam:
    """Calls signed (SigV4) by whom AWS IAM knows; each role or user is a tenant.

    `grants`: scopes by `role/<name>` and `user/<name>`, with `*` for any characters; who is under none may do
    nothing. Without any, whoever IAM lets through may do all but `admin`.
    """

    grants: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, scopes in self.grants.items():
            if not _CALLER.fullmatch(name):
                raise StageError(
                    f"Iam: {name!r} names no caller; write role/<name> or user/<name>, without a path, with * "
                    "for any characters"
                )
            try:
                check_scopes(scopes.split())
            except ValueError as error:
                raise StageError(f"Iam, {name}: {error}") from error


Mode = ApiKeys | Tokens | Iam


def check_auth(stage: str, auth: object) -> None:
    """Raises `StageError` for a stage that names no mode, or something that is none."""
    if not isinstance(auth, tuple) or not auth or not all(isinstance(m, Mode) for m in auth):
        said = "says nothing" if not auth else f"says {auth!r}"
        raise StageError(
            f"stage {stage!r}: auth {said}; choose how callers prove who they are in "
            "stacks/stages.py: a tuple of ApiKeys(), Tokens(...), Iam(). An open endpoint is not offered."
        )
    named = [mode.issuer if isinstance(mode, Tokens) else type(mode).__name__ for mode in auth]
    twice = {name for name in named if named.count(name) > 1}
    if twice:
        raise StageError(f"stage {stage!r}: auth names {', '.join(sorted(twice))} more than once")


def takes_keys(auth: Sequence[Mode]) -> bool:
    """Whether keys are accepted."""
    return any(isinstance(mode, ApiKeys) for mode in auth)


def issuers(auth: Sequence[Mode]) -> tuple[TokenIssuer, ...]:
    """Whose tokens are accepted."""
    return tuple(mode for mode in auth if isinstance(mode, Tokens))


def takes_signatures(auth: Sequence[Mode]) -> bool:
    """Whether signed calls are accepted."""
    return any(isinstance(mode, Iam) for mode in auth)


def iam_grants(auth: Sequence[Mode]) -> dict[str, str]:
    """What signed callers may do; empty: all but `admin`, for everybody whom IAM lets through."""
    return {name: to for mode in auth if isinstance(mode, Iam) for name, to in mode.grants.items()}


def takes_credentials(auth: Sequence[Mode]) -> bool:
    """Whether anything is accepted that our own authorizer checks."""
    return takes_keys(auth) or bool(issuers(auth))
