"""Which objects a tenant may name, and the keys of what is stored for it.

A URI is compared as it is written: what means another place after decoding, or holds a step up, is
refused before it is compared. Asked at submit, and again where the object is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from shared.errors import UriNotAllowedError

if TYPE_CHECKING:
    from shared.jobs.rules import JobRules
    from shared.results.rows import JobKey

_URI: Final = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^\x00-\x20\x7f]+)"
)
_DECODINGS_MAX: Final = 5
_SHOWN: Final = 200


def upload_prefix(tenant: str) -> str:
    """Where a tenant's uploads are, in the stage's bucket."""
    return f"uploads/{tenant}/"


def input_key(key: JobKey) -> str:
    """Where the input of a job is, in the stage's bucket; its digest follows."""
    return f"inputs/{key.tenant}/{key.id}"


def check_input_uri(uri: str, *, tenant: str, rules: JobRules) -> str:
    """The key in the stage's bucket, or the whole URI of an object elsewhere.

    Raises `UriNotAllowedError` for a place that the tenant may not name.
    """
    match = _URI.fullmatch(uri)
    if match is None or not _is_plain(match["key"]):
        raise _refused(uri, tenant, rules)
    bucket, key = match["bucket"], match["key"]
    if bucket == rules.bucket and _is_under(key, upload_prefix(tenant)):
        return key
    if any(_is_under(uri, _folder(place)) for place in rules.input_places.get(tenant, ())):
        return uri
    raise _refused(uri, tenant, rules)


def _is_plain(key: str) -> bool:
    """Whether a key names one place however often it is decoded."""
    for _ in range(_DECODINGS_MAX):
        if "\\" in key or any(part in ("", ".", "..") for part in key.split("/")):
            return False
        decoded = unquote(key, errors="replace")
        if decoded == key:
            return True
        key = decoded
    return False


def _is_under(name: str, folder: str) -> bool:
    return name.startswith(folder) and len(name) > len(folder)


def _folder(place: str) -> str:
    return place if place.endswith("/") else f"{place}/"


def _refused(uri: str, tenant: str, rules: JobRules) -> UriNotAllowedError:
    places = [f"s3://{rules.bucket}/{upload_prefix(tenant)}", *rules.input_places.get(tenant, ())]
    return UriNotAllowedError(
        f"{uri[:_SHOWN]!r} is not a place that you may name; inputs are read from "
        f"{', '.join(places)} (POST /v2/uploads makes a place), written without encoding and "
        "without . or .. in the path",
        field="input_uri",
    )
