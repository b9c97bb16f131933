"""Which bytes of which parts become which part of the joined file: pure arithmetic.

S3 takes no part of less than 5 MiB but the last one, and copies a part of any size up to 5 GiB
without anybody reading it. So a long span is copied, and short ones are read and sent together, with
as much of the next long one as they lack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.limits import MIB
from shared.results.objects import UPLOAD_PART_BYTES_MIN, UPLOAD_PARTS_MAX, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

COPY_BYTES_MAX: Final = 1024 * MIB
"""Of one copied part; S3 allows 5 GiB."""


def plan_parts(spans: Sequence[Span]) -> list[list[Span]]:
    """The parts in order; one of a single span is copied, one of several is read and sent.

    Every part but the last has at least `least_bytes(spans)`.
    """
    least = least_bytes(spans)
    parts: list[list[Span]] = []
    run: list[Span] = []
    held = 0
    for span in _bounded(spans):
        rest = span
        if held and held + span.size_bytes >= least:
            cut = span.start + min(span.size_bytes, least - held)
            if span.end - cut < least:
                cut = span.end  # what would be left is too short for a part of its own
            parts.append([*run, Span(span.key, span.start, cut)])
            run, held, rest = [], 0, Span(span.key, cut, span.end)
        if rest.size_bytes >= least:
            parts.append([rest])
        elif rest.size_bytes:
            run.append(rest)
            held += rest.size_bytes
    if run:
        parts.append(run)
    return parts


def least_bytes(spans: Sequence[Span]) -> int:
    """The least size of a part: what S3 asks for, or more, where there would be too many parts."""
    total = sum(span.size_bytes for span in spans)
    return max(UPLOAD_PART_BYTES_MIN, -(-2 * total // UPLOAD_PARTS_MAX))


def _bounded(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans that may be copied in one call."""
    for span in spans:
        at = span.start
        while span.end - at > 2 * COPY_BYTES_MAX:
            yield Span(span.key, at, at + COPY_BYTES_MAX)
            at += COPY_BYTES_MAX
        if span.end > at:
            yield Span(span.key, at, span.end)
