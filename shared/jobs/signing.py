"""Standard Webhooks v1: the signing secret, and the headers that make an event verifiable.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  the public beginning of every secret
SECRET_BYTES: Final = 32
"""The specification asks for 24 to 64."""


def make_secret() -> str:
    """A new signing secret."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def signed_headers(
    body: bytes, *, event_id: str, timestamp_s: int, signing_secrets: Sequence[str]
) -> dict[str, str]:
    """The three headers of an event; one signature for each secret, so that either verifies.

    `body` must be sent as it is: the signature is over its bytes.
    """
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(_sign(signed, item) for item in signing_secrets),
    }


def _sign(signed: bytes, secret: str) -> str:
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + b64encode(hmac.new(key, signed, sha256).digest()).decode("ascii")
