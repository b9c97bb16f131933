"""Cursors of `list`: where the next page begins, opaque to callers and bound to their tenant."""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from shared.errors import InvalidRequestError

if TYPE_CHECKING:
    from shared.results.rows import JobRow

_POSITION: Final = re.compile(r"\d{11}\.\d{3}#[A-Za-z0-9_-]{1,64}")
_LENGTH_MAX: Final = 512


def listed_at(row: JobRow) -> str:
    """What a tenant's jobs are sorted by, as text: time of creation, then id."""
    return f"{row.created_at:015.3f}#{row.key.id}"


def write_cursor(tenant: str, position: str) -> str:
    """The cursor of the page that begins after the row listed at `position`."""
    return urlsafe_b64encode(f"1 {tenant} {position}".encode()).decode().rstrip("=")


def read_cursor(tenant: str, cursor: str) -> str:
    """The position; raises `InvalidRequestError` for a broken cursor or another tenant's."""
    version, _, rest = _decode(cursor).partition(" ")
    named, _, position = rest.partition(" ")
    if version != "1" or named != tenant or not _POSITION.fullmatch(position):
        raise InvalidRequestError(
            "this is no cursor of your jobs; send the `cursor` of the page before, or none",
            field="cursor",
        )
    return position


def _decode(cursor: str) -> str:
    """The text of a cursor; empty where it cannot be one."""
    if len(cursor) > _LENGTH_MAX:
        return ""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return urlsafe_b64decode(padded.encode("ascii")).decode("ascii")
    except (binascii.Error, UnicodeError):
        return ""
