"""What every store of shares must do; each implementation runs the same tests."""

from __future__ import annotations

from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from shared.limiting.shares import AWAY_S, EAGER, HOLD_S, Entry, MemoryShares
from shared.limiting.shares_dynamodb import DynamoShares
from shared.limiting.usage_table import table_definition

NOON = 1_800_014_400.0
LINE = "shared/async"


@pytest.fixture
def table():
    """A client, and a table that no other test of this process has: they share moto's account."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        name = f"shares-{uuid4().hex}"
        client.create_table(**table_definition(name))
        yield client, name


@pytest.fixture(params=["memory", "dynamodb"])
def shares(request):
    if request.param == "memory":
        return MemoryShares()
    client, name = request.getfixturevalue("table")
    return DynamoShares(client, table=name)


def enter(shares, owner, wanted, *, tenant="noisy", line=LINE, share=25, now=NOON, until=60.0):
    entry = Entry(line, tenant, owner, wanted)
    return shares.enter(entry, share=share, now=now, until=NOON + until)


def test_all_owners_together_have_no_more_than_the_share(shares):
    granted = [enter(shares, f"w{number}", 10).granted for number in range(4)]

    assert granted == [10, 10, 5, 0]


def test_of_a_delivery_most_is_taken_or_nothing(shares):
    """A worker that runs two of ten is as little free for others as one that runs ten."""
    assert enter(shares, "w1", 21).granted == 21
    assert enter(shares, "w2", 10).granted == 0
    assert enter(shares, "w3", 8).granted == 4
    assert enter(shares, "w4", 10, tenant="small", share=3).granted == 3
    assert enter(shares, "w5", 10, tenant="single", share=1).granted == 1


def test_what_one_leaves_another_may_take(shares):
    first = enter(shares, "w1", 20)
    enter(shares, "w2", 5)
    assert enter(shares, "w3", 10).granted == 0

    shares.leave(first, now=NOON + 1)

    assert enter(shares, "w3", 30).granted == 20


def test_tenants_and_queues_do_not_share_with_each_other(shares):
    enter(shares, "w1", 25)

    assert enter(shares, "w2", 25, tenant="quiet").granted == 25
    assert enter(shares, "w3", 25, line="shared/batch").granted == 25


def test_an_owner_that_never_leaves_takes_no_place_for_ever(shares):
    enter(shares, "killed", 25, until=60)

    assert enter(shares, "w2", 10, now=NOON + 59, until=120).granted == 0
    late = enter(shares, "w3", 10, now=NOON + 61, until=120)
    assert late.granted == 10
    shares.leave(late, now=NOON + 62)
    assert enter(shares, "w4", 30, now=NOON + 62, until=120).granted == 25


def test_those_turned_away_come_again_one_after_the_other(shares):
    first = enter(shares, "w1", 40, share=5)
    second = enter(shares, "w2", 5, share=5)

    pace = EAGER * 5 / HOLD_S
    assert first.granted == 5
    assert first.again_after_s[-1] == pytest.approx(35 / pace, rel=0.01)
    assert second.again_after_s[-1] == pytest.approx(40 / pace, rel=0.01)
    assert list(first.again_after_s) == sorted(first.again_after_s)


def test_the_line_goes_at_the_pace_at_which_jobs_end(shares):
    for number in range(40):
        entered = enter(shares, f"w{number}", 5, share=5, now=NOON)
        shares.leave(entered, now=NOON + 10)

    enter(shares, "busy", 5, share=5)
    away = enter(shares, "next", 10, share=5).again_after_s

    assert away[-1] == pytest.approx(10 / (EAGER * 5 / 10), rel=0.1)


def test_a_line_that_has_ended_begins_anew(shares):
    enter(shares, "w1", 5, share=5, until=10_000)
    enter(shares, "w2", 60, share=5)

    later = enter(shares, "w3", 6, share=5, now=NOON + 5000)

    assert later.again_after_s[-1] == pytest.approx(1.0)


def test_a_delivery_costs_two_calls_and_a_third_where_some_are_turned_away(table):
    client, name = table
    calls = []
    client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
    shares = DynamoShares(client, table=name)

    shares.leave(enter(shares, "w1", 10), now=NOON + 1)
    assert calls == ["UpdateItem"] * 2

    enter(shares, "w2", 26)
    assert calls == ["UpdateItem"] * 4


def test_nobody_is_sent_away_for_longer_than_somebody_can_bear(shares):
    away = enter(shares, "w1", 20_000, share=1).again_after_s

    assert (min(away), max(away)) == AWAY_S
