"""What every store of batches must do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import InvalidRequestError
from shared.results import batches_calls
from shared.results.batches import BatchKey, ChunkClaimed, Cursor, Held, Leased, NotOpen, Place
from shared.results.rows import JobFailure
from tests.fixtures.batch_rows import (
    KEY,
    chunk_at,
    leased_batch,
    new_batch,
    part_of,
    running_batch,
)
from tests.fixtures.job_rows import START

FAILURE = JobFailure(status_code=400, code="malformed_body", error="gzip")


def claim(store, index, now=START, until=START + 60):
    return store.claim_chunk(KEY, index, owner="worker", until=until, now=now)


def publish_whole(store, index, part=None, now=START):
    chunk = claim(store, index, now=now, until=now + 60).chunk
    upto = Place(chunk.end, chunk.begin.line + chunk.lines)
    return store.publish(KEY, chunk, part or part_of(), upto=upto, now=now)


def test_a_new_batch_is_read_as_it_was_written_and_is_due_at_once(store):
    row = new_batch(retry_of="b0", not_before=START + 5, window="22:00-06:00")

    assert store.create(row) is None

    assert store.get(KEY) == replace(row, due_at=START)
    assert store.due(now=START, limit=5) == [store.get(KEY)]
    assert store.get(BatchKey("other", KEY.id)) is None


def test_a_key_is_taken_once(store):
    store.create(new_batch())

    kept = store.create(new_batch(payload_digest="other"))

    assert kept is not None
    assert kept.payload_digest == new_batch().payload_digest


def test_one_owner_holds_a_step_until_its_lease_lapses(store):
    store.create(new_batch())

    first = store.lease(KEY, step="validating", owner="a", until=START + 60, now=START)
    second = store.lease(KEY, step="validating", owner="b", until=START + 90, now=START + 30)
    third = store.lease(KEY, step="validating", owner="b", until=START + 150, now=START + 60)

    assert isinstance(first, Leased)
    assert second == Held(START + 60)
    assert isinstance(third, Leased)
    assert third.row.fence == first.row.fence + 1
    assert not store.split(KEY, fence=first.row.fence, due_at=START)
    assert store.lease(KEY, step="finalizing", owner="c", until=START, now=START) == NotOpen()


def test_a_released_lease_can_be_taken_at_once(store):
    store.create(new_batch())
    row = store.lease(KEY, step="validating", owner="a", until=START + 60, now=START).row

    assert store.release(KEY, fence=row.fence, due_at=START + 5)

    assert store.get(KEY).due_at == START + 5
    again = store.lease(KEY, step="validating", owner="b", until=START + 60, now=START + 1)
    assert isinstance(again, Leased)


def test_chunks_and_the_cursor_are_kept_together(store):
    row = leased_batch(store, chunks=3)

    assert row.cursor == Cursor(30, 3, 6)
    assert (row.etag, row.input_bytes, row.total) == ("e1", 30, 6)
    assert [chunk.index for chunk in store.chunks(KEY)] == [0, 1, 2]
    assert [chunk.index for chunk in store.chunks(KEY, first=2)] == [2]
    assert next(store.chunks(KEY)) == replace(chunk_at(0), next=Place(0, 1))


def test_a_splitter_without_its_lease_keeps_no_chunk(store):
    row = leased_batch(store, chunks=1)
    late = [chunk_at(1)]

    kept = store.add_chunks(
        replace(row, fence=row.fence - 1),
        late,
        cursor=Cursor(20, 2, 4),
        etag="e1",
        input_bytes=20,
    )

    assert not kept
    assert store.get(KEY).cursor == Cursor(10, 1, 2)
    assert len(list(store.chunks(KEY))) == 1


def test_more_than_a_page_of_chunks_comes_in_order(store, monkeypatch):
    monkeypatch.setattr(batches_calls, "_PAGE", 50)
    store.create(new_batch())
    row = store.lease(KEY, step="validating", owner="a", until=START + 60, now=START).row
    for first in range(0, 180, 90):
        store.add_chunks(
            row,
            [chunk_at(index) for index in range(first, first + 90)],
            cursor=Cursor(10 * (first + 90), first + 90, 2 * (first + 90)),
            etag="e1",
            input_bytes=5400,
        )

    assert [chunk.index for chunk in store.chunks(KEY)] == list(range(180))


def test_a_batch_runs_once_it_is_split_and_started(store):
    row = running_batch(store, chunks=2)

    assert (row.status, row.started_at, row.due_at) == ("running", START, START + 300)
    assert row.lease_owner is None
    assert store.dispatched(KEY, chunks=2)
    assert store.get(KEY).dispatched == 2
    assert not store.start(KEY, now=START, due_at=START)


def test_one_worker_holds_a_chunk_until_its_lease_lapses(store):
    running_batch(store, chunks=1)

    first = claim(store, 0)
    second = claim(store, 0, now=START + 30)
    third = claim(store, 0, now=START + 60, until=START + 120)

    assert isinstance(first, ChunkClaimed)
    assert (first.chunk.attempt, first.chunk.fence) == (1, 1)
    assert second == Held(START + 60)
    assert (third.chunk.attempt, third.chunk.fence) == (2, 2)
    assert claim(store, 7) == NotOpen()


@pytest.mark.parametrize(("charged", "attempt"), [(True, 2), (False, 1)])
def test_a_chunk_that_is_handed_back_keeps_its_attempt_only_if_it_is_charged(
    store, charged, attempt
):
    running_batch(store, chunks=1)
    chunk = claim(store, 0).chunk

    assert store.release_chunk(KEY, 0, fence=chunk.fence, charged=charged)

    assert claim(store, 0).chunk.attempt == attempt


def test_a_part_is_published_with_its_counts_at_once(store):
    running_batch(store, chunks=2)

    assert publish_whole(store, 0, part_of(succeeded=1, failed=1), now=START + 3)

    row = store.get(KEY)
    assert (row.succeeded, row.failed, row.blank, row.done_chunks) == (1, 1, 0, 1)
    assert row.progressed_at == START + 3
    done = next(store.chunks(KEY))
    assert (done.status, done.parts) == ("done", (part_of(succeeded=1, failed=1),))
    assert claim(store, 0) == NotOpen()


def test_a_part_of_a_chunk_leaves_the_rest_open_with_fresh_attempts(store):
    running_batch(store, chunks=1)
    claim(store, 0)
    chunk = claim(store, 0, now=START + 60, until=START + 120).chunk

    assert store.publish(KEY, chunk, part_of(1), upto=Place(5, 2), now=START + 61)

    rest = claim(store, 0, now=START + 62).chunk
    assert (rest.next, rest.attempt, len(rest.parts)) == (Place(5, 2), 1, 1)
    assert store.get(KEY).done_chunks == 0


def test_a_worker_that_was_given_up_on_publishes_nothing(store):
    running_batch(store, chunks=1)
    late = claim(store, 0).chunk
    claim(store, 0, now=START + 60, until=START + 120)

    assert not store.publish(KEY, late, part_of(), upto=Place(10, 3), now=START + 61)

    assert store.get(KEY).succeeded == 0
    assert next(store.chunks(KEY)).parts == ()


def test_a_batch_that_does_not_run_counts_no_part(store):
    running_batch(store, chunks=1)
    chunk = claim(store, 0).chunk
    store.finalize(KEY, ending="canceled", now=START)

    assert not store.publish(KEY, chunk, part_of(), upto=Place(10, 3), now=START)
    assert store.get(KEY).succeeded == 0


def test_running_ends_only_when_every_chunk_is_done(store):
    running_batch(store, chunks=2)
    publish_whole(store, 1)

    too_early = store.finalize(KEY, ending="succeeded", now=START)
    publish_whole(store, 0)

    assert not too_early
    assert store.finalize(KEY, ending="succeeded", now=START + 9)
    assert not store.finalize(KEY, ending="succeeded", now=START + 9)
    row = store.get(KEY)
    assert (row.status, row.due_at) == ("finalizing", START + 9)


def test_a_finisher_publishes_the_files_under_its_fence(store):
    running_batch(store, chunks=1)
    store.finalize(KEY, ending="expired", now=START)
    first = store.lease(KEY, step="finalizing", owner="a", until=START + 60, now=START).row
    assert store.uploads(KEY, fence=first.fence, uploads={"output.jsonl": "u1"})
    second = store.lease(KEY, step="finalizing", owner="b", until=START + 120, now=START + 60).row
    assert second.uploads == {"output.jsonl": "u1"}
    files = {"output.jsonl": 40}

    assert not store.finish(KEY, fence=first.fence, files=files, now=START + 61)
    assert store.finish(KEY, fence=second.fence, files=files, now=START + 61)

    row = store.get(KEY)
    assert (row.status, row.files, row.finished_at) == ("expired", files, START + 61)
    assert (row.due_at, row.uploads) == (None, {})
    assert store.due(now=START + 9999, limit=5) == []


def test_a_batch_that_has_not_begun_ends_at_once(store):
    store.create(new_batch())

    assert store.end(KEY, status="failed", failure=FAILURE, now=START + 1)

    row = store.get(KEY)
    assert (row.status, row.failure, row.finished_at) == ("failed", FAILURE, START + 1)
    assert row.due_at is None
    assert not store.end(KEY, status="canceled", now=START + 2)


def test_what_runs_cannot_be_ended_without_its_files(store):
    running_batch(store, chunks=1)

    assert not store.end(KEY, status="canceled", now=START)


def test_a_postponed_batch_is_due_later(store):
    store.create(new_batch())

    store.postpone(KEY, due_at=START + 50)

    assert store.due(now=START + 49, limit=5) == []
    assert [row.key for row in store.due(now=START + 50, limit=5)] == [KEY]


def test_an_ended_batch_is_never_due_again(store):
    store.create(new_batch())
    store.end(KEY, status="canceled", now=START)

    store.postpone(KEY, due_at=START)

    assert store.due(now=START + 1, limit=5) == []


def test_a_tenants_batches_are_listed_newest_first_page_by_page(store):
    for number in range(5):
        store.create(new_batch(key=BatchKey("acme", f"b{number}"), created_at=START + number))
    store.create(new_batch(key=BatchKey("other", "b9")))

    first = store.list("acme", limit=2)
    second = store.list("acme", cursor=first.cursor, limit=2)
    third = store.list("acme", cursor=second.cursor, limit=2)

    pages = [first, second, third]
    assert [[row.key.id for row in page.rows] for page in pages] == [
        ["b4", "b3"],
        ["b2", "b1"],
        ["b0"],
    ]
    assert third.cursor is None


def test_a_cursor_of_another_tenant_is_refused(store):
    for number in range(3):
        store.create(new_batch(key=BatchKey("acme", f"b{number}"), created_at=START + number))
    cursor = store.list("acme", limit=1).cursor

    with pytest.raises(InvalidRequestError, match="no cursor"):
        store.list("other", cursor=cursor)


def test_batches_are_counted_for_their_tenant_until_they_end(store):
    other = BatchKey("other", "b1")
    mine = [BatchKey(KEY.tenant, f"counted-{number}") for number in range(3)]
    for key in (*mine, other):
        store.create(new_batch(key=key))
    assert store.counted(KEY.tenant, up_to=10) == 3
    assert store.counted(KEY.tenant, up_to=2) == 2
    assert store.counted("nobody", up_to=2) == 0

    store.end(mine[0], status="canceled", now=START)
    store.end(other, status="failed", failure=FAILURE, now=START)

    assert store.counted(KEY.tenant, up_to=10) == 2
    assert store.counted("other", up_to=10) == 0


def test_a_batch_that_runs_and_is_joined_is_counted_until_its_files_are_published(store):
    running_batch(store, chunks=1)
    assert store.counted(KEY.tenant, up_to=5) == 1
    store.finalize(KEY, ending="canceled", now=START)
    lease = store.lease(KEY, step="finalizing", owner="f", until=START + 60, now=START)
    assert store.counted(KEY.tenant, up_to=5) == 1

    assert store.finish(KEY, fence=lease.row.fence, files={}, now=START)

    assert store.counted(KEY.tenant, up_to=5) == 0
