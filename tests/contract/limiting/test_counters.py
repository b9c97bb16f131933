"""What every store of counters must do; each implementation runs the same tests."""

from __future__ import annotations

import pytest

from shared.limiting.counters import Bucket, day_ends_at

NOON = 1_800_014_400.0
BUCKET = Bucket(rate_per_s=10, burst=20)


def test_a_bucket_gives_its_burst_and_then_what_comes_back(counters):
    first = counters.take_tokens("acme", BUCKET, 15, now=NOON)
    second = counters.take_tokens("acme", BUCKET, 15, now=NOON)
    third = counters.take_tokens("acme", BUCKET, 15, now=NOON)
    later = counters.take_tokens("acme", BUCKET, 15, now=NOON + 0.7)

    assert [first.granted, second.granted, third.granted, later.granted] == [15, 5, 0, 7]
    assert [first.left, second.left, later.left] == [5, 0, 0]


def test_an_empty_bucket_says_when_its_next_token_comes(counters):
    counters.take_tokens("acme", BUCKET, 20, now=NOON)

    refused = counters.take_tokens("acme", BUCKET, 1, now=NOON)

    assert refused.granted == 0
    assert refused.again_at == pytest.approx(NOON + 0.1)
    assert counters.take_tokens("acme", BUCKET, 1, now=refused.again_at).granted == 1


def test_a_bucket_that_was_left_alone_is_full_and_no_fuller(counters):
    counters.take_tokens("acme", BUCKET, 20, now=NOON)

    assert counters.take_tokens("acme", BUCKET, 100, now=NOON + 3600).granted == 20


def test_a_long_run_gets_its_burst_and_its_rate(counters):
    granted = sum(
        counters.take_tokens("acme", BUCKET, 9, now=NOON + step / 3).granted for step in range(13)
    )

    assert granted == pytest.approx(20 + 10 * 4, abs=1)


def test_tenants_have_buckets_and_days_of_their_own(counters):
    counters.take_tokens("acme", BUCKET, 20, now=NOON)
    counters.take_bytes("acme", 1000, 1000, now=NOON)

    assert counters.take_tokens("other", BUCKET, 20, now=NOON).granted == 20
    assert counters.take_bytes("other", 1000, 1000, now=NOON).granted == 1000


def test_a_lower_rate_holds_at_once(counters):
    counters.take_tokens("acme", BUCKET, 20, now=NOON)

    assert counters.take_tokens("acme", Bucket(1, 5), 5, now=NOON + 0.5).granted <= 5


def test_a_day_gives_its_bytes_and_no_more(counters):
    first = counters.take_bytes("acme", 1000, 700, now=NOON)
    second = counters.take_bytes("acme", 1000, 700, now=NOON)
    third = counters.take_bytes("acme", 1000, 700, now=NOON)

    assert [first.granted, second.granted, third.granted] == [700, 300, 0]
    assert third.again_at == day_ends_at(NOON)


def test_the_next_day_begins_anew(counters):
    counters.take_bytes("acme", 1000, 1000, now=NOON)

    assert counters.take_bytes("acme", 1000, 10, now=day_ends_at(NOON)).granted == 10


def test_more_bytes_than_a_day_has_are_given_as_far_as_they_go(counters):
    assert counters.take_bytes("acme", 1000, 5000, now=NOON).granted == 1000


def test_fewer_bytes_than_the_least_that_is_wanted_are_not_given(counters):
    counters.take_bytes("acme", 1000, 700, now=NOON)

    refused = counters.take_bytes("acme", 1000, 400, now=NOON, least=350)
    enough = counters.take_bytes("acme", 1000, 400, now=NOON, least=250)

    assert (refused.granted, refused.left, refused.again_at) == (0, 300, day_ends_at(NOON))
    assert (enough.granted, enough.left) == (300, 0)
    assert counters.take_bytes("fresh", 1000, 1001, now=NOON, least=1001)[:2] == (0, 1000)
