"""JSON Web Tokens of the stage's issuers: what must be true of one, and whose it is.

Loaded only in a stage that takes tokens. PyJWT checks signature, times and issuer; here is what it is
told to insist on, and what a token says of its caller. Only signatures by a private key are taken:
neither `none` nor a shared secret is ever among the algorithms.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import jwt

from functions.authorizer.authorize import RefusedError
from functions.authorizer.signing_keys import SigningKeys, fetch_https
from shared.principal import TENANT, Principal, read_scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.settings import TokenIssuer

LEEWAY_S: Final = 10
"""How far an issuer's clock may be from ours."""
TOKEN_LENGTH_MAX: Final = 8192
_SUBJECT_LENGTH_MAX: Final = 128
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._:@/+=|-]")
_REASONS: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not_yet_valid",
    jwt.InvalidIssuerError: "wrong_issuer",
    jwt.InvalidAudienceError: "wrong_audience",
    jwt.InvalidAlgorithmError: "wrong_algorithm",
    jwt.InvalidSignatureError: "wrong_signature",
    jwt.MissingRequiredClaimError: "missing_claim",
    jwt.InvalidKeyError: "weak_signing_key",
}


def open_tokens(issuers: Sequence[TokenIssuer]) -> TokenReader:
    """The reader of these issuers' tokens, with their keys from where they publish them."""
    return TokenReader(
        issuers, open_keys=lambda issuer: SigningKeys(partial(fetch_https, issuer.jwks_url))
    )


class TokenReader:
    """Implements `Tokens`; `open_keys` gives an issuer's keys, which are fetched when first needed."""

    def __init__(
        self, issuers: Sequence[TokenIssuer], *, open_keys: Callable[[TokenIssuer], SigningKeys]
    ) -> None:
        self._issuers = {issuer.issuer: (issuer, open_keys(issuer)) for issuer in issuers}

    def principal(self, token: str) -> Principal:
        """Whose token it is; raises `RefusedError`, and `KeysUnavailableError` where nobody can say."""
        if len(token) > TOKEN_LENGTH_MAX:
            raise RefusedError("too_long")
        try:
            issuer, claims = self._claims(token)
        except (jwt.PyJWTError, RecursionError) as error:
            raise RefusedError(_REASONS.get(type(error), "malformed")) from error
        return Principal(
            _tenant(claims, issuer),
            f"jwt:{_plain(issuer.issuer.removeprefix('https://'))}#{_subject(claims)}",
            _scopes(claims, issuer),
            expires_at=float(claims["exp"]) + LEEWAY_S,
        )

    def _claims(self, token: str) -> tuple[TokenIssuer, Mapping[str, Any]]:
        """The claims of a token that holds; what is read before that only picks whose keys are asked."""
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
        header, said = unverified["header"], unverified["payload"].get("iss")
        if not isinstance(said, str) or said not in self._issuers:
            raise RefusedError("wrong_issuer")
        issuer, keys = self._issuers[said]
        if header.get("alg") not in issuer.algorithms:
            raise RefusedError("wrong_algorithm")
        key = keys.get(header.get("kid"))
        if key is None:
            raise RefusedError("unknown_signing_key")
        claims = jwt.decode(
            token,
            key,
            algorithms=list(issuer.algorithms),
            issuer=issuer.issuer,
            leeway=LEEWAY_S,
            options={
                "require": ["exp", "iss", "sub"],
                "verify_aud": False,
                "enforce_minimum_key_length": True,
            },
        )
        _check_audience(claims, issuer)
        return issuer, claims


def _check_audience(claims: Mapping[str, Any], issuer: TokenIssuer) -> None:
    """`aud`, or `client_id` where there is none: access tokens of Amazon Cognito have no `aud`."""
    said = claims.get("aud", claims.get("client_id"))
    audiences = said if isinstance(said, list) else [said]
    if not any(audience in issuer.audiences for audience in audiences):
        raise RefusedError("wrong_audience")


def _tenant(claims: Mapping[str, Any], issuer: TokenIssuer) -> str:
    tenant = claims.get(issuer.tenant_claim)
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        raise RefusedError("no_tenant")
    return tenant


def _scopes(claims: Mapping[str, Any], issuer: TokenIssuer) -> frozenset[str]:
    """Those that begin with the issuer's prefix, without it; in the claim a text or a list."""
    said = claims.get(issuer.scope_claim, "")
    words = said if isinstance(said, list) else str(said).split()
    prefix = issuer.scope_prefix
    ours = [str(word).removeprefix(prefix) for word in words if str(word).startswith(prefix)]
    return read_scopes(" ".join(ours))


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise RefusedError("missing_claim")
    return _plain(subject[:_SUBJECT_LENGTH_MAX])


def _plain(text: str) -> str:
    """In characters that break no line of a log, since the gateway writes it as it is; none of them is `#`."""
    return _NOT_IN_NAMES.sub("_", text)
