"""What makes two submissions the same, and how a wrong one is refused."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest

from shared.errors import CallerError, InvalidRequestError, MalformedBodyError
from shared.jobs.submission import read_submission

INPUT = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]}]}


def read(**members):
    return read_submission(json.dumps({"model": "scale", **members}).encode())


def test_the_order_of_members_makes_no_other_submission():
    turned = {"inputs": [dict(reversed(INPUT["inputs"][0].items()))]}
    assert read(input=INPUT).digest == read(input=turned).digest
    assert read(input=INPUT).body == read(input=turned).body


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"version": "1"},
        {"latency_class": "batch"},
        {"ttl_s": 61},
        {"timeout_s": 9},
        {"webhook": "https://example.org/hook"},
        {"metadata": {"a": "b"}},
        {"result_alias": "lake"},
        {"priority": "high"},
        {"input": {"inputs": [{**INPUT["inputs"][0], "data": [1.25]}]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_what_is_done_makes_another_submission(change):
    assert read(**{"input": INPUT} | change).digest != read(input=INPUT).digest


def test_numbers_reach_the_model_as_they_were_written():
    body = (
        b'{"model":"m","input":{"inputs":[{"data":[0.1,1e-300,9007199254740993,NaN,-Infinity]}]}}'
    )
    sent = read_submission(body).body
    assert b"[0.1,1e-300,9007199254740993,NaN,-Infinity]" in sent


@pytest.mark.parametrize("extra", [b"", b',"x":null', b',"x":NaN'])
def test_numbers_are_written_alike_whatever_is_beside_them(extra):
    body = b'{"model":"m","input":{"inputs":[{"data":[0.1,1e-07,5e-324,1.7976931348623157e308]}]'
    sent = json.loads(read_submission(body + extra + b"}}").body)
    assert sent["inputs"][0]["data"] == [0.1, 1e-7, 5e-324, 1.7976931348623157e308]


def nested(depth):
    lists = b"[" * depth + b"]" * depth
    return lists, b'{"model":"m","input":{"inputs":[{"data":' + lists + b"}]}}"


@pytest.mark.parametrize("depth", [100, 500])
def test_nesting_is_taken(depth):
    lists, body = nested(depth)
    assert lists in read_submission(body).body


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_nesting_past_what_a_parser_takes_is_refused(depth):
    with pytest.raises(MalformedBodyError, match="depth"):
        read_submission(nested(depth)[1])


def test_nesting_that_only_some_versions_of_python_write_is_no_defect():
    with suppress(MalformedBodyError):
        read_submission(nested(1_010)[1])


def test_base64_is_the_body_itself():
    submission = read(input_base64=base64.b64encode(b"\x00\xff").decode(), header_length=0)
    assert (submission.body, submission.header_length) == (b"\x00\xff", 0)


@pytest.mark.parametrize("text", ["*", "YQ", "YQ==\n", "YQ==YQ==", "é"])
def test_what_is_not_base64_is_refused(text):
    with pytest.raises(MalformedBodyError) as refused:
        read(input_base64=text)
    assert refused.value.field == "input_base64"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, None),
        ({"input": INPUT, "input_uri": "s3://b/k"}, None),
        ({"input": INPUT, "header_length": 3}, None),
        ({"input": INPUT, "ttl": 3}, "ttl"),
        ({"input": INPUT, "tenant": "other"}, "tenant"),
        ({"input": INPUT, "ttl_s": 1}, "ttl_s"),
        ({"input": INPUT, "ttl_s": 10**9}, "ttl_s"),
        ({"input": INPUT, "timeout_s": 0}, "timeout_s"),
        ({"input": INPUT, "latency_class": "realtime"}, "latency_class"),
        ({"input": INPUT, "webhook": "http://example.org"}, "webhook"),
        ({"input": INPUT, "webhook": "https://a b"}, "webhook"),
        ({"input": INPUT, "metadata": {"a": 1}}, "metadata.a"),
        ({"input": INPUT, "metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"input": INPUT, "metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"input": INPUT, "result_alias": "../x"}, "result_alias"),
        ({"input": [1]}, "input"),
        ({"input_uri": "https://example.org/a"}, "input_uri"),
        ({"input": INPUT, "model": "../x"}, "model"),
        ({"input": INPUT, "version": ""}, "version"),
        ({"input": INPUT, "priority": "low"}, "priority"),
    ],
)
def test_a_wrong_member_is_named(members, field):
    with pytest.raises(InvalidRequestError) as refused:
        read(**members)
    assert refused.value.field == field
    assert "Value error" not in refused.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'"a"'])
def test_what_is_no_object_is_refused(body):
    with pytest.raises(CallerError):
        read_submission(body)
