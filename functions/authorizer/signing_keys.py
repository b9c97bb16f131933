"""The public keys of one issuer of tokens: fetched over HTTPS, kept, and fetched anew within a bound.

A key is known by its `kid`. One that is not known is looked for anew, since issuers change keys, but at
most every `ASKED_AGAIN_S`: tokens with made-up ids must not make us ask the issuer once for each of them.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import jwt
import urllib3
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

KEPT_S: Final = 600.0
"""After so long keys are fetched anew: one that its issuer has withdrawn is taken for so long."""
KEPT_UNRENEWED_S: Final = 3600.0
"""How long keys are taken whose issuer does not answer."""
ASKED_AGAIN_S: Final = 30.0
"""Between two fetches for ids that are not known, and after one that failed."""
ANSWER_BYTES_MAX: Final = 256 * 1024
_HTTPS: Final = "https://"
_OK: Final = 200
_TIMEOUT: Final = urllib3.Timeout(connect=1.0, read=2.0)
_KINDS: Final = ("RSA", "EC", "OKP")
"""Keys with a public half: a shared secret in a public set would let anybody sign."""


class KeysUnavailableError(Exception):
    """The issuer's keys cannot be fetched, and none are kept that may still be taken."""


class SigningKeys:
    """`fetch` gives the issuer's JSON Web Key Set; `clock` in seconds, never going back."""

    def __init__(
        self, fetch: Callable[[], bytes], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._asked_at: float | None = None

    def get(self, kid: object) -> jwt.PyJWK | None:
        """The key of this id; None for one that the issuer does not have.

        Raises `KeysUnavailableError` where nobody can say.
        """
        if self._age_s() > KEPT_S:
            self._ask()
        if self._age_s() > KEPT_UNRENEWED_S:
            raise KeysUnavailableError("the issuer's keys cannot be fetched")
        if not isinstance(kid, str):
            return None
        if kid not in self._keys:
            self._ask()
        return self._keys.get(kid)

    def _age_s(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _ask(self) -> None:
        """Fetch the keys, unless that was tried a moment ago; what was kept stays where it fails."""
        now = self._clock()
        if self._asked_at is not None and now - self._asked_at < ASKED_AGAIN_S:
            return
        self._asked_at = now
        try:
            self._keys = _read(self._fetch())
        except (KeysUnavailableError, HTTPError, OSError):
            return
        self._fetched_at = now


def fetch_https(url: str, *, ssl_context: ssl.SSLContext | None = None) -> bytes:
    """What is at `url`, which must be https; no redirect is followed and no proxy asked.

    Raises `KeysUnavailableError` for anything but 200 and a small body, urllib3's `HTTPError` for no
    answer at all.
    """
    if not url.startswith(_HTTPS):
        raise KeysUnavailableError("keys are fetched over https only")
    with urllib3.PoolManager(ssl_context=ssl_context) as pools:
        answer = pools.request(
            "GET", url, redirect=False, retries=False, timeout=_TIMEOUT, preload_content=False
        )
        body = answer.read(ANSWER_BYTES_MAX + 1, decode_content=False)
        answer.close()
    if answer.status != _OK or len(body) > ANSWER_BYTES_MAX:
        raise KeysUnavailableError(f"the issuer answered {answer.status} with {len(body)} bytes")
    return bytes(body)


def _read(body: bytes) -> dict[str, jwt.PyJWK]:
    """The set's keys that sign, by id; those that we cannot use are passed over."""
    try:
        listed = json.loads(body)["keys"]
        keys = [_usable(entry) for entry in listed]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeysUnavailableError("the issuer's answer is no set of keys") from error
    return {str(key.key_id): key for key in keys if key is not None}


def _usable(entry: Any) -> jwt.PyJWK | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("kty") not in _KINDS or entry.get("use", "sig") != "sig":
        return None
    try:
        return jwt.PyJWK(entry)
    except jwt.PyJWTError:
        return None
