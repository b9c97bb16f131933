from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import orjson
import pytest

from functions.api_gateway import Response, json_response, read_request, serve
from functions.gateway_bodies import write_response
from shared.errors import (
    MalformedBodyError,
    MediaTypeError,
    MethodNotAllowedError,
    TooLargeError,
    UnavailableError,
)
from shared.limits import BINARY_BODY_BYTES_MAX, BODY_BYTES_MAX, LAMBDA_PAYLOAD_BYTES


def an_event(**changes):
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/v2",
        "headers": {},
        "requestContext": {
            "http": {"method": "GET"},
            "requestId": "id-1",
            "stage": "$default",
        },
        "isBase64Encoded": False,
    } | changes


def at(path, stage):
    event = an_event(rawPath=path)
    event["requestContext"]["stage"] = stage
    return read_request(event).path


def test_the_prefix_of_a_named_stage_is_stripped():
    assert at("/prod/v2/models", "prod") == "/v2/models"
    assert at("/prod", "prod") == "/"


def test_a_path_without_the_prefix_stays_as_it_is():
    assert at("/v2/models", "prod") == "/v2/models"
    assert at("/production/v2", "prod") == "/production/v2"
    assert at("/v2", "$default") == "/v2"


def test_a_request_that_nobody_vouches_for_may_do_nothing():
    request = read_request(an_event())
    assert (request.tenant, request.principal.name) == ("default", "none")
    assert not request.principal.scopes


@pytest.mark.parametrize("absent", ["body", "headers", "pathParameters", "isBase64Encoded"])
@pytest.mark.parametrize("value", ["missing", None])
def test_members_that_the_gateway_leaves_out_are_empty(absent, value):
    event = an_event(body="", pathParameters={})
    del event[absent]
    if value is None:
        event[absent] = None
    request = read_request(event)
    assert request.body == b""
    assert dict(request.headers) == {}
    assert dict(request.path_parameters) == {}


def test_a_base64_body_is_its_bytes():
    body = bytes(range(256))
    event = an_event(body=base64.b64encode(body).decode(), isBase64Encoded=True)
    assert read_request(event).body == body


@pytest.mark.parametrize("body", ["abc", "ü", "a"])
def test_a_body_that_only_claims_to_be_base64_is_malformed(body):
    with pytest.raises(MalformedBodyError):
        read_request(an_event(body=body, isBase64Encoded=True))


def test_a_text_body_is_its_utf8_whatever_it_holds():
    assert read_request(an_event(body="grüße")).body == "grüße".encode()
    assert read_request(an_event(body="\ud800")).body == b"\xed\xa0\x80"


@pytest.mark.parametrize("header", ["content-encoding", "inference-header-content-length"])
def test_a_binary_body_that_arrived_as_text_is_refused_with_the_way_out(header):
    event = an_event(body="{}", headers={header: "gzip", "content-type": "application/json"})
    with pytest.raises(MediaTypeError, match="application/octet-stream"):
        read_request(event)


@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_body_at_its_limit_is_read_and_one_byte_more_is_not(form):
    limit_bytes = BODY_BYTES_MAX if form == "text" else BINARY_BODY_BYTES_MAX

    def event(size):
        body = "x" * size if form == "text" else base64.b64encode(b"x" * size).decode()
        return an_event(body=body, isBase64Encoded=form == "binary")

    assert len(read_request(event(limit_bytes)).body) == limit_bytes
    with pytest.raises(TooLargeError, match="gzip"):
        read_request(event(limit_bytes + 1))


def test_json_is_answered_as_text_and_anything_else_as_base64():
    assert write_response(json_response({"a": "ü"}))["body"] == '{"a":"ü"}'
    answer = write_response(Response(200, {"content-type": "application/octet-stream"}, b"\xff"))
    assert (answer["isBase64Encoded"], answer["body"]) == (True, "/w==")


def test_compressed_json_is_answered_as_base64():
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert write_response(Response(200, headers, b"\x1f\x8b"))["isBase64Encoded"] is True


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"\xff" * BINARY_BODY_BYTES_MAX),
        ("application/json", b"1" * BODY_BYTES_MAX),
        ("application/json", b'"' * (BODY_BYTES_MAX // 2)),
        ("application/json", "ü".encode() * (BINARY_BODY_BYTES_MAX // 2)),
    ],
    ids=["binary", "text", "quotes", "not ASCII"],
)
def test_the_largest_answer_fits_a_lambda_payload_and_a_larger_one_is_refused(content_type, body):
    fits = write_response(Response(200, {"content-type": content_type}, body))
    assert len(json.dumps(fits)) <= LAMBDA_PAYLOAD_BYTES
    with pytest.raises(TooLargeError, match="the answer has"):
        write_response(Response(200, {"content-type": content_type}, body + body[:2]))


CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 1000)


class Lines:
    """Keeps what would be logged."""

    def __init__(self):
        self.requests, self.failures = [], []

    def request(self, facts, _context):
        self.requests.append(facts)

    def failure(self, error, _facts, _context):
        self.failures.append(error)


def served(error):
    def answer(_request, _facts):
        raise error

    lines = Lines()
    return serve(an_event(), CONTEXT, answer=answer, telemetry=lines), lines


def test_an_unforeseen_exception_is_500_without_its_words():
    answer, lines = served(RuntimeError("value 42 of a tensor"))
    assert answer["statusCode"] == 500
    body = orjson.loads(answer["body"])
    assert (body["code"], body["request_id"]) == ("internal_error", "id-1")
    assert "42" not in body["error"]
    assert lines.requests[0].code == "internal_error"
    assert isinstance(lines.failures[0], RuntimeError)


def test_a_callers_error_is_not_logged_as_a_failure():
    answer, lines = served(MediaTypeError("no", field="content-type"))
    assert answer["statusCode"] == 415
    assert orjson.loads(answer["body"])["field"] == "content-type"
    assert lines.failures == []


def test_a_retryable_failure_says_when_to_come_back():
    answer, _ = served(UnavailableError("later"))
    assert int(answer["headers"]["retry-after"]) >= 1


def test_a_wrong_method_names_the_right_ones():
    answer, _ = served(MethodNotAllowedError("no", allow="GET, POST"))
    assert (answer["statusCode"], answer["headers"]["allow"]) == (405, "GET, POST")


def test_an_answer_past_the_limit_is_answered_413():
    def answer(_request, _facts):
        return Response(200, {"content-type": "text/plain"}, b"x" * (BODY_BYTES_MAX + 1))

    lines = Lines()
    answered = serve(an_event(), CONTEXT, answer=answer, telemetry=lines)
    assert answered["statusCode"] == 413
    assert lines.requests[0].status == 413
