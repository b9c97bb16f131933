"""The Prefer header of RFC 7240, as far as an asynchronous answer is concerned."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from shared.limits import PREFER_LENGTH_MAX

_PART: Final = re.compile(r'(?:[^",;]|"(?:[^"\\]|\\.)*")+|[,;]')
_ESCAPED: Final = re.compile(r"\\(.)")
RESPOND_ASYNC: Final = "respond-async"
WAIT: Final = "wait"
_DIGITS_MAX: Final = 9


class Preference(NamedTuple):
    """An asynchronous answer is preferred."""

    wait_s: int = 0
    """Seconds for which the caller would rather have the answer itself."""


def read_prefer(header: str | None) -> Preference | None:
    """None where the header does not prefer an asynchronous answer.

    Several headers are joined with commas, the first mention of a preference counts, a preference
    that is not known or not well-formed is passed over: all as the RFC asks. So is a header that is
    longer than anybody's.
    """
    if not header or len(header) > PREFER_LENGTH_MAX:
        return None
    preferences = _preferences(header)
    if preferences.get(RESPOND_ASYNC) != "":
        return None
    wait = preferences.get(WAIT, "")
    is_count = wait.isascii() and wait.isdecimal() and len(wait) <= _DIGITS_MAX
    return Preference(int(wait) if is_count else 0)


def _preferences(header: str) -> dict[str, str]:
    """Values by name in lower case; a preference without one has the empty value."""
    found: dict[str, str] = {}
    is_parameter = False
    for part in _PART.findall(header):
        if part in ",;":
            is_parameter = part == ";"
        elif not is_parameter:
            name, _, value = part.partition("=")
            found.setdefault(name.strip().lower(), _unquoted(value.strip()))
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value
