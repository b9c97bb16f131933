"""How rows are found again: the outbox, what is due, a tenant's list, and rows past their time."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from shared.errors import InvalidRequestError
from shared.results.store import Claimed, Missing
from shared.results.transitions import without_bytes
from tests.fixtures.job_rows import FACTS, FAILURE, START, new_row, result_of

DAY_LATER = START + 86_400


def ids(rows):
    return [row.key.id for row in rows]


def start(store, row, *, now=START):
    return store.claim(row.key, owner="a", lease_until=now + 60, now=now)


def publish(store, row, *, fence=1, now=START + 2):
    return store.succeed(row.key, fence=fence, result=result_of(), facts=FACTS, now=now)


def test_rows_of_the_outbox_come_oldest_first_and_not_before_their_time(store):
    for n in (3, 1, 2, 7):
        store.create(new_row("acme", f"job-{n}", unsent_at=START + n))
    assert ids(store.unsent(before=START + 3, limit=10)) == ["job-1", "job-2", "job-3"]
    assert ids(store.unsent(before=START + 9, limit=2)) == ["job-1", "job-2"]


def test_a_row_of_an_index_is_the_row_without_its_bytes(store):
    store.create(new_row())
    whole = store.get(new_row().key)
    assert whole.input.inline is not None
    assert list(store.unsent(before=START, limit=1)) == [without_bytes(whole)]
    assert list(store.due(now=START + 600, limit=1)) == [without_bytes(whole)]
    assert list(store.list("acme").rows) == [without_bytes(whole)]


def test_an_ended_row_of_a_list_has_its_result_without_the_bytes(store):
    store.create(new_row(webhook="https://example.org/hook"))
    start(store, new_row())
    publish(store, new_row())
    ended = without_bytes(store.get(new_row().key))
    assert ended.result.payload.size_bytes == result_of().payload.size_bytes
    assert list(store.list("acme").rows) == [ended]
    assert list(store.unsent(before=START + 2, limit=1)) == [ended]


def test_sent_and_claimed_rows_leave_the_outbox(store):
    for job_id in ("sent", "claimed", "waiting"):
        store.create(new_row("acme", job_id))
    store.sent(new_row("acme", "sent").key, due_at=START + 120)
    start(store, new_row("acme", "claimed"))
    assert ids(store.unsent(before=START + 999, limit=10)) == ["waiting"]


def test_a_row_that_was_handed_back_is_not_in_the_outbox(store):
    store.create(new_row())
    start(store, new_row())
    store.release(new_row().key, fence=1, now=START + 1)
    assert list(store.unsent(before=DAY_LATER, limit=10)) == []


HOOK = "https://example.org/hook"
ENDINGS = {
    "published": publish,
    "failed": lambda store, row: store.fail(
        row.key, fence=1, failure=FAILURE, facts=None, now=START + 2
    ),
    "canceled": lambda store, row: store.cancel(row.key, now=START + 2),
    "exhausted": lambda store, row: store.exhaust(
        store.get(row.key), failure=FAILURE, now=START + 60
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_event_of_an_ended_job_is_in_the_outbox_until_it_is_sent(store, ending):
    row = new_row(webhook=HOOK, max_attempts=1)
    store.create(row)
    start(store, row)
    assert ENDINGS[ending](store, row)
    [unsent] = store.unsent(before=START + 60, limit=10)
    assert unsent.webhook_unsent
    assert unsent.unsent_at == unsent.finished_at

    store.webhook_sent(row.key)
    assert list(store.unsent(before=DAY_LATER, limit=10)) == []
    kept = store.get(row.key)
    assert (kept.webhook, kept.webhook_unsent, kept.unsent_at) == (HOOK, False, None)


def test_an_expired_job_with_a_webhook_has_an_event_too(store):
    store.create(new_row(webhook=HOOK))
    store.expire(new_row().key, now=START + 600)
    assert [row.status for row in store.unsent(before=START + 600, limit=10)] == ["expired"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_ended_job_without_a_webhook_is_in_no_outbox(store, ending):
    row = new_row(max_attempts=1)
    store.create(row)
    start(store, row)
    ENDINGS[ending](store, row)
    assert list(store.unsent(before=DAY_LATER, limit=10)) == []
    assert list(store.due(now=DAY_LATER, limit=10)) == []


def test_the_event_of_a_job_that_has_not_ended_cannot_be_sent(store):
    store.create(new_row(webhook=HOOK))
    before = store.get(new_row().key)
    store.webhook_sent(new_row().key)
    assert store.get(new_row().key) == before
    store.cancel(new_row().key, now=START + 1)
    assert ids(store.unsent(before=START + 1, limit=10)) == ["job-1"]


def test_the_message_and_the_event_of_a_job_have_their_outbox_one_after_the_other(store):
    store.create(new_row(webhook=HOOK))
    assert [row.webhook_unsent for row in store.unsent(before=START, limit=10)] == [False]
    store.sent(new_row().key, due_at=START + 120)
    assert list(store.unsent(before=DAY_LATER, limit=10)) == []
    store.cancel(new_row().key, now=START + 5)
    assert [row.webhook_unsent for row in store.unsent(before=START + 5, limit=10)] == [True]


def test_due_rows_come_oldest_first_and_not_before_their_time(store):
    for n in (30, 10, 20, 70):
        store.create(new_row("acme", f"job-{n}", due_at=START + n))
    assert ids(store.due(now=START + 30, limit=10)) == ["job-10", "job-20", "job-30"]
    assert ids(store.due(now=START + 30, limit=1)) == ["job-10"]


def test_a_running_job_is_due_when_its_lease_lapses(store):
    store.create(new_row())
    start(store, new_row())
    assert list(store.due(now=START + 59.9, limit=10)) == []
    assert ids(store.due(now=START + 60, limit=10)) == ["job-1"]


def test_rows_of_every_shard_are_found(store):
    names = [f"job-{n:02d}" for n in range(24)]
    for job_id in names:
        store.create(new_row("acme", job_id))
    assert sorted(ids(store.due(now=START + 600, limit=100))) == names
    assert sorted(ids(store.unsent(before=START, limit=100))) == names


def test_a_tenants_jobs_are_listed_newest_first(store):
    for n in (2, 3, 1):
        store.create(new_row("acme", f"job-{n}", created_at=START + n))
    store.create(new_row("zeta", "job-9"))
    page = store.list("acme")
    assert ids(page.rows) == ["job-3", "job-2", "job-1"]
    assert page.cursor is None


def test_paging_gives_every_job_once(store):
    names = [f"job-{n:02d}" for n in range(7)]
    for n, job_id in enumerate(names):
        store.create(new_row("acme", job_id, created_at=START + n // 3))
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = store.list("acme", cursor=cursor, limit=3)
        seen += ids(page.rows)
        cursor, pages = page.cursor, pages + 1
    assert seen == names[::-1]
    assert pages <= 4


def test_jobs_that_are_made_while_paging_do_not_shift_the_pages(store):
    for n in range(4):
        store.create(new_row("acme", f"job-{n}", created_at=START + n))
    first = store.list("acme", limit=2)
    store.create(new_row("acme", "job-9", created_at=START + 9))
    second = store.list("acme", cursor=first.cursor, limit=2)
    assert ids(first.rows) + ids(second.rows) == ["job-3", "job-2", "job-1", "job-0"]


def test_a_list_is_filtered_by_status_and_model(store):
    store.create(new_row("acme", "a", model="iris"))
    store.create(new_row("acme", "b", model="faces", created_at=START + 1))
    store.create(new_row("acme", "c", model="iris", created_at=START + 2))
    store.cancel(new_row("acme", "c").key, now=START + 3)
    assert ids(store.list("acme", model="iris").rows) == ["c", "a"]
    assert ids(store.list("acme", status="queued").rows) == ["b", "a"]
    assert ids(store.list("acme", status="canceled", model="iris").rows) == ["c"]
    assert ids(store.list("acme", status="failed").rows) == []


def test_a_filtered_page_without_matches_still_leads_on(store):
    for n in range(6):
        store.create(
            new_row("acme", f"job-{n}", created_at=START + n, model="old" if n == 0 else "new")
        )
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = store.list("acme", cursor=cursor, limit=2, model="old")
        seen, cursor, pages = seen + ids(page.rows), page.cursor, pages + 1
    assert seen == ["job-0"]


@pytest.fixture
def cursor(store):
    for n in range(3):
        store.create(new_row("acme", f"job-{n}", created_at=START + n))
    return store.list("acme", limit=1).cursor


def test_another_tenants_cursor_is_refused(store, cursor):
    with pytest.raises(InvalidRequestError) as refused:
        store.list("zeta", cursor=cursor)
    assert refused.value.field == "cursor"


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "x",
        "☃",
        "a" * 10_000,
        "!!!!",
        urlsafe_b64encode(b"1 acme").decode(),
        urlsafe_b64encode(b"1 acme nonsense").decode(),
        urlsafe_b64encode(b"2 acme 01763760000.000#job-1").decode(),
        urlsafe_b64encode(b"1 acme 01763760000.000#job/1").decode(),
        urlsafe_b64encode("1 acmé 01763760000.000#job-1".encode()).decode(),
    ],
)
def test_a_broken_cursor_is_refused(store, broken):
    with pytest.raises(InvalidRequestError, match="cursor"):
        store.list("acme", cursor=broken)


def test_an_ended_job_past_its_time_is_absent_though_still_stored(store, clock):
    row = new_row(webhook=HOOK)
    store.create(row)
    store.cancel(row.key, now=START + 1)
    clock.now = DAY_LATER - 1
    assert store.get(row.key).status == "canceled"

    clock.now = DAY_LATER
    assert store.get(row.key) is None
    assert store.list("acme").rows == ()
    assert list(store.unsent(before=DAY_LATER, limit=10)) == []
    assert store.cancel(row.key, now=DAY_LATER) is None
    assert store.claim(row.key, owner="a", lease_until=DAY_LATER + 9, now=DAY_LATER) == Missing()


@pytest.mark.parametrize("how", ["created", "admitted"])
def test_the_key_of_a_row_past_its_time_is_free(store, clock, how):
    store.create(new_row())
    store.cancel(new_row().key, now=START + 1)
    clock.now = DAY_LATER
    later = {"created_at": DAY_LATER, "ttl_at": DAY_LATER + 600, "purge_at": DAY_LATER * 2}
    if how == "created":
        assert store.create(new_row(**later)) is None
    else:
        lease = {"lease_owner": "a", "lease_until": DAY_LATER + 60}
        assert isinstance(store.admit(new_row(**later, **lease)), Claimed)
    assert store.get(new_row().key).created_at == DAY_LATER


def test_a_job_that_has_not_ended_is_never_past_its_time(store, clock):
    store.create(new_row("acme", "queued"))
    store.create(new_row("acme", "running"))
    start(store, new_row("acme", "running"))
    clock.now = DAY_LATER * 2
    assert store.get(new_row("acme", "queued").key).status == "queued"
    assert store.get(new_row("acme", "running").key).status == "running"
    assert len(store.due(now=clock.now, limit=10)) == 2
    assert store.create(new_row("acme", "queued")) is not None
