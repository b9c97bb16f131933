"""The parts of a joined file: every byte once, in order, and none that S3 would refuse."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from shared.jobs.batches.plan import COPY_BYTES_MAX, least_bytes, plan_parts
from shared.limits import MIB
from shared.results.objects import UPLOAD_PART_BYTES_MIN, UPLOAD_PARTS_MAX, Span

LEAST = UPLOAD_PART_BYTES_MIN
sizes = st.one_of(
    st.integers(1, 1000),
    st.integers(LEAST - 3, LEAST + 3),
    st.integers(2 * LEAST - 3, 2 * LEAST + 3),
    st.integers(1, 64 * MIB),
)


def spans_of(found):
    return [Span(f"part-{index}", 0, size) for index, size in enumerate(found)]


@given(st.lists(sizes, max_size=40))
@example([LEAST] * 3)
@example([1, LEAST, 1, LEAST])
@example([3 * COPY_BYTES_MAX, 1])
def test_every_byte_is_in_one_part_in_order(found):
    spans = spans_of(found)

    parts = plan_parts(spans)

    pieces = [piece for part in parts for piece in part]
    assert all(piece.size_bytes > 0 for piece in pieces)
    assert sum(piece.size_bytes for piece in pieces) == sum(found)
    for before, after in pairwise(pieces):
        if before.key == after.key:
            assert before.end == after.start
        else:
            assert (before.end, after.start) == (found[int(before.key[5:])], 0)


@given(st.lists(sizes, max_size=40))
def test_no_part_but_the_last_is_smaller_than_s3_takes(found):
    parts = plan_parts(spans_of(found))

    assert all(sum(span.size_bytes for span in part) >= LEAST for part in parts[:-1])


@given(st.lists(sizes, max_size=40))
def test_what_has_to_be_read_at_once_is_little(found):
    parts = plan_parts(spans_of(found))

    read = [sum(span.size_bytes for span in part) for part in parts if len(part) > 1]
    assert all(size <= 2 * LEAST for size in read)


@given(st.lists(sizes, max_size=40))
def test_a_long_part_of_a_chunk_is_copied_but_for_its_head(found):
    copied = [part[0] for part in plan_parts(spans_of(found)) if len(part) == 1]

    kept = {span.key for span in copied}
    long = {f"part-{index}" for index, size in enumerate(found) if size >= 3 * LEAST}
    assert long <= kept


def test_there_are_never_more_parts_than_an_upload_takes():
    spans = spans_of([5 * MIB + 1] * 30_000)

    assert least_bytes(spans) > LEAST
    assert len(plan_parts(spans)) <= UPLOAD_PARTS_MAX
