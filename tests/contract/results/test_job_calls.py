"""What the job store asks of DynamoDB: one call a method, and the same answer when one is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from botocore.awsrequest import AWSResponse
from moto.core.models import botocore_stubber

from shared.results.memory import MemoryJobStore
from shared.results.store import Busy, Claimed
from shared.results.table import INDEX_KEYS, projected, table_definition
from tests.fixtures.aws_calls import AwsCalls, Crash, crash_points
from tests.fixtures.job_rows import (
    FACTS,
    FAILURE,
    START,
    dynamo_store,
    dynamodb_client,
    new_row,
    result_of,
)

KEY = new_row().key
LEASED = new_row(lease_owner="a", lease_until=START + 60)


def claim(store, *, owner="a", now=START):
    return store.claim(KEY, owner=owner, lease_until=now + 60, now=now)


WRITES = {
    "create": lambda store: store.create(new_row()),
    "sent": lambda store: store.sent(KEY, due_at=START + 9),
    "claim": claim,
    "admit": lambda store: store.admit(LEASED),
    "extend": lambda store: store.extend(KEY, fence=1, lease_until=START + 99),
    "release": lambda store: store.release(KEY, fence=1, now=START + 1),
    "succeed": lambda store: store.succeed(
        KEY, fence=1, result=result_of(), facts=FACTS, now=START + 1
    ),
    "fail": lambda store: store.fail(KEY, fence=1, failure=FAILURE, facts=FACTS, now=START + 1),
    "exhaust": lambda store: store.exhaust(
        new_row(max_attempts=1, fence=1), failure=FAILURE, now=START + 60
    ),
    "cancel": lambda store: store.cancel(KEY, now=START + 1),
    "expire": lambda store: store.expire(KEY, now=START + 600),
    "webhook_sent": lambda store: store.webhook_sent(KEY),
    "postpone": lambda store: store.postpone(KEY, due_at=START + 9),
}
BEFORE = {
    "create": [],
    "admit": [],
    "sent": ["create"],
    "claim": ["create"],
    "cancel": ["create"],
    "expire": ["create"],
    "postpone": ["create"],
    "webhook_sent": ["create", "cancel"],
}
"""What happened before each write, where it is not `create` and `claim`."""


def arrange(store, write):
    attempts = 1 if write == "exhaust" else 3
    for step in BEFORE.get(write, ["create", "claim"]):
        if step == "create":
            store.create(new_row(max_attempts=attempts, webhook="https://example.org/hook"))
        else:
            WRITES[step](store)


@pytest.fixture(scope="module")
def watched():
    with dynamodb_client() as client:
        calls = AwsCalls()
        calls.watch(client)
        yield client, calls


@pytest.fixture
def store(watched, clock):
    client, calls = watched
    with dynamo_store(client, clock) as opened:
        yield opened
        calls.forget()


@pytest.fixture
def calls(store, watched):  # noqa: ARG001  the table's own calls come first
    watched[1].forget()
    return watched[1]


@pytest.mark.parametrize("write", WRITES)
def test_every_write_is_one_call_done_or_refused(store, calls, write):
    arrange(store, write)
    calls.forget()
    WRITES[write](store)
    WRITES[write](store)
    assert len(calls.made) == 2
    assert set(calls.made) <= {"dynamodb.PutItem", "dynamodb.UpdateItem"}


def test_every_read_is_a_known_number_of_calls(store, calls):
    store.create(new_row())
    calls.forget()
    store.get(KEY)
    store.list("acme")
    assert calls.made == ["dynamodb.GetItem", "dynamodb.Query"]
    calls.forget()
    store.due(now=START, limit=10)
    store.unsent(before=START, limit=10)
    assert Counter(calls.made) == {"dynamodb.Query": 4 + 8}


def test_a_job_from_submission_to_result_is_four_calls(store, calls):
    store.create(new_row())
    store.sent(KEY, due_at=START + 120)
    outcome = claim(store)
    store.succeed(KEY, fence=outcome.row.fence, result=result_of(), facts=FACTS, now=START + 1)
    assert len(calls.made) == 4


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("point", list(crash_points(1)), ids=lambda point: point[0])
def test_a_process_that_ends_at_a_write_has_done_all_of_it_or_nothing(
    store, calls, clock, write, point
):
    arrange(store, write)
    untouched = store.get(KEY)
    twin = MemoryJobStore(clock=clock)
    arrange(twin, write)
    WRITES[write](twin)

    calls.crash(*point)
    with pytest.raises(Crash):
        WRITES[write](store)
    assert store.get(KEY) == (untouched if point[0] == "before" else twin.get(KEY))


def lose_the_next_answer(client):
    """AWS does what it is asked, and the answer is lost: botocore asks again.

    Gives the bodies of the requests as they were sent.
    """
    asked = []

    def send(request, **_):
        asked.append(request.body)
        if len(asked) > 1:
            return None
        answer = botocore_stubber("before-send", request=request)
        return AWSResponse(request.url, 500, {}, answer.raw)

    client.meta.events.register_first("before-send.dynamodb", send, unique_id="lose")
    return asked


@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_answer_was_lost_answers_as_if_it_had_not_been(
    store, calls, clock, watched, write
):
    twin = MemoryJobStore(clock=clock)
    arrange(twin, write)
    expected = WRITES[write](twin)

    arrange(store, write)
    calls.forget()
    asked = lose_the_next_answer(watched[0])
    assert WRITES[write](store) == expected
    assert len(asked) == 2
    assert asked[0] == asked[1]
    watched[0].meta.events.unregister("before-send.dynamodb", unique_id="lose")
    assert store.get(KEY) == twin.get(KEY)


def test_a_lost_claim_of_somebody_else_is_not_taken_for_ones_own(store, calls):
    store.create(new_row())
    calls.crash("after", 0)
    with pytest.raises(Crash):
        claim(store, owner="a")
    assert claim(store, owner="a") == Busy(START + 60)
    assert isinstance(claim(store, owner="a", now=START + 60), Claimed)


def test_no_index_has_more_attributes_than_dynamodb_allows():
    assert all(1 <= len(projected(index)) <= 20 for index in INDEX_KEYS)
    assert sum(len(projected(index)) for index in INDEX_KEYS) <= 100
    named = [index["IndexName"] for index in table_definition("t")["GlobalSecondaryIndexes"]]
    assert named == list(INDEX_KEYS)
