"""Objects on S3 that the service gave an address for, as an upload or a large result needs them.

A presigned address is its own proof of identity: the API key, or a signature for the API, is
nobody's business there and is never sent.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cli.client.errors import InputError, ProtocolError, StatusError, status_class
from cli.client.metadata import parse_json
from cli.client.protocol import HEADER_LENGTH, Call, Result, parse_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class UploadPlace:
    """Where one object may be written: POST `fields`, then the file, as a form to `url`."""

    uri: str
    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A call to S3: the arguments of httpx's `request`, the client's own identity switched off."""

    method: str
    url: str
    parts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawResult:
    """A result in the protocol's bytes; `header_length` of its JSON part, where tensors follow."""

    body: bytes = field(repr=False)
    header_length: str | None

    def parsed(self) -> Result:
        """The outputs."""
        return parse_result(self.body, self.header_length)


def is_uri(source: bytes | str | Path) -> bool:
    """Whether this names an object on S3, and not a file of this machine."""
    return isinstance(source, str) and source.startswith("s3://")


@contextmanager
def opened(source: bytes | str | Path) -> Iterator[tuple[int, bytes | BinaryIO]]:
    """Size and content of what is to be uploaded; a file is not read into memory."""
    if isinstance(source, bytes):
        yield len(source), source
        return
    path = Path(source)
    try:
        with path.open("rb") as file:
            yield path.stat().st_size, file
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def replacing(target: str | Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `target` once it is whole; else nothing is left of it.

    Raises `InputError` where it cannot be written.
    """
    path = Path(target)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def place_call(size_bytes: int) -> Call:
    """The call that asks for a place for so many bytes."""
    body = json.dumps({"max_bytes": max(1, size_bytes)}).encode()
    return Call("POST", "/v2/uploads", {"Content-Type": "application/json"}, body)


def parse_place(body: bytes) -> UploadPlace:
    """The place in the answer."""
    value = parse_json(body)
    try:
        return UploadPlace(str(value["uri"]), str(value["url"]), dict(value["fields"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"not a place to upload to: {value!r:.200}") from error


def upload_request(place: UploadPlace, content: bytes | BinaryIO) -> Request:
    """The form that writes the object; the file is its last field, as S3 wants it."""
    parts = {"data": dict(place.fields), "files": {"file": ("input", content)}, "auth": None}
    return Request("POST", place.url, parts)


def fetch_request(redirect: httpx.Response) -> Request:
    """The call that fetches a result from where a redirect points."""
    return Request("GET", redirect.headers["location"], {"auth": None})


def answer_of(response: httpx.Response, fetched: httpx.Response | None = None) -> RawResult:
    """A result as it is stored; where S3 has the body (`fetched`), the service sent its headers."""
    return RawResult((fetched or response).content, response.headers.get(HEADER_LENGTH))


def storage_failure(response: httpx.Response) -> StatusError | None:
    """The typed error in an answer of S3; None for a success."""
    if response.is_success:
        return None
    status = response.status_code
    found = _CODE.search(response.content[:4096])
    code = found.group(1).decode() if found else f"status {status}"
    message = f"S3 did not take part: {code}; the address may have expired, ask for a new one"
    return status_class(status)(message, status=status, retryable=status >= _SERVER_ERROR)
