"""What a failed answer becomes, and when a call is sent again, against a real HTTP server."""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import cli.client as laneway
from cli.client import Laneway, RetryPolicy, StatusError, ThrottledError
from cli.client.failures import retry_after_s
from shared import errors
from tests.unit.client.recording_server import Answer, json_answer

QUICK = RetryPolicy(max_retries=3, base_s=0.001)


def leaves(error=errors.LanewayError):
    yield error
    for child in error.__subclasses__():
        yield from leaves(child)


def call(server, **settings):
    with Laneway(server.endpoint, **settings) as client:
        return client.models()


@pytest.mark.parametrize(
    "error", sorted(set(leaves()), key=lambda e: (e.status, e.code, e.__name__))
)
def test_each_error_of_the_service_keeps_its_status_code_and_retryability(server, error):
    body = {"error": "why", "code": error.code, "field": "inputs[0]", "request_id": "r-1"}
    server.will_answer(json_answer(body, error.status))

    with pytest.raises(StatusError) as caught:
        call(server, retry=QUICK)

    told = caught.value
    assert (told.status, told.code, told.field) == (error.status, error.code, "inputs[0]")
    assert (told.message, told.request_id) == ("why", "r-1")
    assert told.from_gateway is False
    assert told.retryable is error.retryable
    assert len(server.received) == (4 if error.retryable else 1)


@pytest.mark.parametrize(
    ("status", "said", "kind", "tries"),
    [
        (401, "Unauthorized", laneway.UnauthorizedError, 1),
        (403, "Forbidden", laneway.ForbiddenError, 1),
        (404, "Not Found", laneway.NotFoundError, 1),
        (413, "Request Entity Too Large", laneway.TooLargeError, 1),
        (429, "Too Many Requests", laneway.ThrottledError, 4),
        (500, "Internal Server Error", laneway.InternalError, 4),
        (502, "Bad Gateway", laneway.BadGatewayError, 4),
        (503, "Service Unavailable", laneway.UnavailableError, 4),
        (504, "Gateway Timeout", laneway.GatewayTimeoutError, 4),
    ],
)
def test_the_gateways_own_answers_are_understood(server, status, said, kind, tries):
    server.will_answer(json_answer({"message": said}, status, apigw_requestid="gw-1"))

    with pytest.raises(kind) as caught:
        call(server, retry=QUICK)

    assert caught.value.from_gateway is True
    assert caught.value.request_id == "gw-1"
    assert said in str(caught.value)
    assert len(server.received) == tries


def test_a_body_that_is_not_json_still_becomes_the_statuss_error(server):
    server.will_answer(Answer(418, b"<html>teapot</html>"))

    with pytest.raises(laneway.CallerError) as caught:
        call(server, retry=QUICK)
    assert caught.value.status == 418


def test_a_call_that_succeeds_on_the_third_try_is_a_success(server):
    server.will_answer(
        json_answer({"message": "Too Many Requests"}, 429),
        json_answer({"error": "soon", "code": "model_unavailable"}, 503),
        json_answer({"models": ["iris"]}),
    )

    assert call(server, retry=QUICK) == ["iris"]
    assert len(server.received) == 3


def test_a_connection_that_breaks_off_is_tried_again(server):
    server.will_answer(Answer(drop=True), json_answer({"models": ["iris"]}))

    assert call(server, retry=QUICK) == ["iris"]


def test_a_retry_after_longer_than_the_policy_allows_is_raised_at_once(server):
    server.will_answer(json_answer({"message": "later"}, 429, retry_after="3600"))

    with pytest.raises(ThrottledError) as caught:
        call(server, retry=QUICK)

    assert caught.value.retry_after_s == 3600
    assert len(server.received) == 1


def throttled(retry_after_s):
    return ThrottledError("later", status=429, retry_after_s=retry_after_s, retryable=True)


def test_the_wait_is_never_shorter_than_retry_after():
    policy = RetryPolicy(base_s=0.5)

    waits_s = [policy.wait_s(throttled(2.0), 0) for _ in range(200)]

    assert min(waits_s) >= 2.0
    assert max(waits_s) <= 2.5


def test_the_wait_is_random_below_a_doubling_bound_that_ends():
    policy = RetryPolicy(max_retries=10, base_s=0.1, max_wait_s=0.4)

    for retries_done, bound_s in enumerate([0.1, 0.2, 0.4, 0.4]):
        waits_s = {policy.wait_s(throttled(None), retries_done) for _ in range(200)}
        assert max(waits_s) <= bound_s
        assert max(waits_s) > bound_s / 2
        assert len(waits_s) > 100


def test_retry_after_is_read_as_seconds_and_as_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=20), usegmt=True)

    assert retry_after_s("7") == 7
    assert 15 < retry_after_s(soon) <= 20
    assert retry_after_s(past) == 0
    assert retry_after_s("a while") is None
    assert retry_after_s(None) is None


def test_an_answer_that_does_not_come_in_time_is_not_asked_for_twice(server):
    release = threading.Event()
    server.will_answer(Answer(drop=True, hold=release))
    try:
        with pytest.raises(laneway.RequestTimeoutError):
            call(server, retry=QUICK, timeout_s=0.2)
        assert len(server.received) == 1
    finally:
        release.set()
