"""Cuts a stream of bytes into lines, in blocks, without ever holding a line that is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shared.limits import JSON_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LINE_BYTES_MAX: Final = JSON_BYTES_MAX
"""A longer line is an error line; it is as long as the JSON of a realtime call may be."""
BOM: Final = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Whole lines, without their newlines."""

    lines: list[bytes | None]
    """None for a line of more than `LINE_BYTES_MAX`."""
    size_bytes: int
    """Of the input, newlines included: where the next block begins."""


def read_blocks(
    pieces: Iterable[bytes], *, lines_max: int, line_bytes_max: int = LINE_BYTES_MAX
) -> Iterator[Block]:
    """Blocks of up to `lines_max` lines; the last line may lack its newline."""
    cutter = _Cutter(line_bytes_max)
    for piece in pieces:
        yield from cutter.cut(piece, lines_max)
    yield from cutter.rest()


class _Cutter:
    def __init__(self, line_bytes_max: int) -> None:
        self._max_bytes = line_bytes_max
        self._open = b""
        """The beginning of a line whose end has not come."""
        self._skipped_bytes = 0
        """What came of a line that is too long, and is not kept."""

    def cut(self, piece: bytes, lines_max: int) -> Iterator[Block]:
        """The lines that end in this piece."""
        lines: list[bytes | None] = [*(self._open + piece).split(b"\n")]
        self._open = lines.pop() or b""
        first_bytes = self._skipped_bytes
        if lines and first_bytes:
            first_bytes += len(lines[0] or b"")
            lines[0] = None
            self._skipped_bytes = 0
        for at in range(0, len(lines), lines_max):
            yield self._block(lines[at : at + lines_max], first_bytes if at == 0 else 0)
        if len(self._open) > self._max_bytes or self._skipped_bytes:
            self._skipped_bytes += len(self._open)
            self._open = b""

    def rest(self) -> Iterator[Block]:
        """The last line, where no newline ends it."""
        if self._skipped_bytes:
            yield Block([None], self._skipped_bytes + len(self._open))
        elif self._open:
            yield Block([self._kept(self._open)], len(self._open))

    def _block(self, lines: list[bytes | None], skipped_bytes: int) -> Block:
        size_bytes = skipped_bytes + sum([0 if line is None else len(line) for line in lines])
        return Block([self._kept(line) for line in lines], size_bytes + len(lines))

    def _kept(self, line: bytes | None) -> bytes | None:
        return None if line is None or len(line) > self._max_bytes else line
