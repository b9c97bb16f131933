"""Lines are cut alike however the bytes come."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.batches.reading import read_blocks

LONGEST = 8


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@given(
    st.lists(st.sampled_from([b"\n", b"a", b"bc", b"defghij", b"klmnopqrs", b"\r"]), max_size=30),
    st.lists(st.integers(0, 120), max_size=12),
    st.integers(1, 4),
)
def test_lines_and_sizes_do_not_depend_on_the_pieces(words, places, lines_max):
    data = b"".join(words)
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()

    blocks = list(read_blocks(cut(data, places), lines_max=lines_max, line_bytes_max=LONGEST))

    lines = [line for block in blocks for line in block.lines]
    assert lines == [line if len(line) <= LONGEST else None for line in expected]
    assert sum(block.size_bytes for block in blocks) == len(data)
    assert all(len(block.lines) <= lines_max for block in blocks)


def test_a_line_that_is_too_long_is_not_kept_while_it_is_read():
    pieces = (b"x" * 1000 for _ in range(1000))

    [block] = read_blocks(pieces, lines_max=10, line_bytes_max=LONGEST)

    assert block.lines == [None]
    assert block.size_bytes == 1_000_000
