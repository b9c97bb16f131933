"""Content encodings of bodies, gzip and deflate (zlib), with a cap on what a body may inflate to.

Never br: the asynchronous Triton client says that it accepts it and cannot read it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from shared.errors import MalformedBodyError, MediaTypeError, TooLargeError
from shared.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

_WINDOW_BITS: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""zlib's own way to choose the container: 16 added means gzip."""
_PIECE_BYTES: Final = MIB
_LEVEL: Final = 4
"""Tensors compress badly at any level; this one costs about a third of zlib's default."""


def inflate(raw: bytes, *, content_encoding: str, max_decoded_bytes: int) -> bytes:
    """The body without its Content-Encoding; inflated piece by piece, no further than past the cap.

    Raises MediaTypeError, TooLargeError or MalformedBodyError.
    """
    encoding = content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return raw
    window_bits = _WINDOW_BITS.get(encoding)
    if window_bits is None:
        raise MediaTypeError(
            f"Content-Encoding {encoding[:60]!r} is not supported; send gzip, deflate or none",
            field="Content-Encoding",
        )
    return _inflate(raw, encoding, window_bits, max_decoded_bytes)


def _inflate(raw: bytes, encoding: str, window_bits: int, max_decoded_bytes: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    try:
        pieces = list(_pieces(stream, raw, max_decoded_bytes))
    except zlib.error as error:
        raise MalformedBodyError(
            f"the body is not {encoding}, which its Content-Encoding says it is", field="body"
        ) from error
    if not stream.eof:
        raise MalformedBodyError(
            f"the {encoding} body ends early: {len(raw)} bytes came", field="body"
        )
    if stream.unused_data:
        raise MalformedBodyError(
            f"{len(stream.unused_data)} bytes follow the end of the {encoding} body", field="body"
        )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _pieces(stream: zlib._Decompress, rest: bytes, left_bytes: int) -> Iterator[bytes]:
    """What comes out until the stream ends or breaks off; raises TooLargeError past `left_bytes`."""
    max_decoded_bytes = left_bytes
    while not stream.eof:
        piece = stream.decompress(rest, min(_PIECE_BYTES, left_bytes + 1))
        if len(piece) > left_bytes:
            raise too_large(max_decoded_bytes)
        rest = stream.unconsumed_tail
        if not piece and not rest:
            return
        left_bytes -= len(piece)
        yield piece


def too_large(max_decoded_bytes: int) -> TooLargeError:
    """The refusal of a body that is past the cap once it is decoded."""
    return TooLargeError(
        f"the decoded body is larger than {max_decoded_bytes} bytes; send fewer rows in a request",
        field="body",
    )


def deflate(body: bytes, *, encoding: str) -> bytes:
    """`body` in `encoding`, which is `gzip` or `deflate`."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()


def accepted_encoding(accept_encoding: str) -> str | None:
    """The encoding to answer in: gzip before deflate where both are liked as much, else None."""
    weights = dict(_weight(part) for part in accept_encoding.split(","))
    rest = weights.get("*", 0.0)
    best = max(_WINDOW_BITS, key=lambda encoding: weights.get(encoding, rest))
    return best if weights.get(best, rest) > 0 else None


def _weight(part: str) -> tuple[str, float]:
    name, _, parameter = part.partition(";")
    key, _, value = parameter.partition("=")
    if key.strip().lower() != "q":
        return name.strip().lower(), 1.0
    try:
        return name.strip().lower(), float(value)
    except ValueError:
        return name.strip().lower(), 0.0
