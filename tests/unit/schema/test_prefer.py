"""The Prefer header as RFC 7240 writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.schema.prefer import read_prefer


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("respond-async", 0),
        ("Respond-Async", 0),
        ("respond-async, wait=10", 10),
        ("respond-async,wait=10", 10),
        ("wait=10, respond-async", 10),
        ('respond-async, wait="10"', 10),
        ("respond-async; wait=10", 0),
        ("respond-async; foo=bar, wait=3; x", 3),
        ("respond-async, wait=5, wait=9", 5),
        ('foo="a, wait=1; b", respond-async, wait=7', 7),
        ('foo="a\\", wait=1", respond-async, wait=7', 7),
        ('respond-async=""', 0),
        ("respond-async , wait = 4", 4),
        (", ,respond-async,", 0),
        ("return=minimal, respond-async, WAIT=2", 2),
    ],
)
def test_an_asynchronous_answer_is_preferred(header, wait_s):
    preference = read_prefer(header)
    assert preference is not None
    assert preference.wait_s == wait_s


@pytest.mark.parametrize("wait", ["-1", "1.5", "soon", "", "1e3", "٣", "9" * 50])
def test_a_wait_that_is_no_count_of_seconds_is_passed_over(wait):
    preference = read_prefer(f"respond-async, wait={wait}")
    assert preference is not None
    assert preference.wait_s == 0


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "wait=10",
        "return=minimal",
        'foo="respond-async"',
        'foo=", respond-async"',
        "foo; respond-async",
        "respond-asynchronously",
        "respond-async=no",
        "return=minimal, handling=lenient",
    ],
)
def test_nothing_else_is_taken_for_it(header):
    assert read_prefer(header) is None


@given(st.text(alphabet='respond-async=,;" \\wit0123456789', max_size=60))
def test_no_header_breaks_the_reading(header):
    preference = read_prefer(header)
    assert preference is None or preference.wait_s >= 0
