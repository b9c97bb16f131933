"""Limits as text: what an authorizer hands down is what a function reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.schema.tenants import NO_LIMITS, TenantLimits, read_limits, write_limits

whole = st.none() | st.integers(1, 10**15)
rates = st.none() | st.floats(0.001, 1e9)


@given(rate=rates, burst=whole, jobs=whole, size=whole)
def test_limits_come_back_from_their_text(rate, burst, jobs, size):
    limits = TenantLimits(
        requests_per_s=rate,
        burst=None if rate is None else burst,
        concurrent_jobs=jobs,
        bytes_per_day=size,
    )

    assert read_limits(write_limits(limits)) == limits


def test_an_empty_text_and_an_empty_object_limit_nothing():
    assert read_limits("") == read_limits("{}") == NO_LIMITS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"requests":1}', "'requests' is no limit"),
        ('{"burst":1}', "burst says nothing"),
        ('{"concurrent_jobs":0}', "above 0"),
        ('{"concurrent_jobs":true}', "above 0"),
        ('{"bytes_per_day":1.5}', "whole number"),
        ('{"requests_per_s":"5"}', "number above 0"),
        ("[]", "an object"),
    ],
)
def test_what_is_no_limit_is_refused_by_its_name(text, said):
    with pytest.raises(ValueError, match=said):
        read_limits(text)
