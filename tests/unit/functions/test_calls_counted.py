"""Calls of tenants with limits, before and after they are answered."""

from __future__ import annotations

import base64
from concurrent.futures import Executor, Future

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.api_gateway import json_response, read_request, serve
from shared.errors import InvalidRequestError
from shared.limiting.counters import MemoryCounters
from shared.limiting.gate import Gate
from shared.schema.tenants import TenantLimits
from tests.unit.functions.test_api_gateway import CONTEXT, Lines, an_event


class AtOnce(Executor):
    """Pays in the thread that asks."""

    def submit(self, call, /, *args, **named):
        future = Future()
        future.set_result(call(*args, **named))
        return future


def a_gate(**limits):
    return Gate(MemoryCounters, defaults=TenantLimits(**limits), executor=AtOnce())


def of_tenant(**changes):
    """A call with a verdict, of a tenant that has what its stage gives."""
    event = an_event(**changes)
    event["requestContext"]["authorizer"] = {"lambda": {"tenant": "acme", "limits": ""}}
    return event


def served(gate, event, answer=lambda _request, _facts: json_response({})):
    return serve(event, CONTEXT, answer=answer, telemetry=Lines(), gate=gate)


def test_a_refused_call_is_not_read_and_not_answered_by_the_function():
    gate = a_gate(requests_per_s=0.001, burst=1)
    unreadable = of_tenant(body="A", isBase64Encoded=True)

    answers = [
        served(gate, unreadable, answer=lambda *_: pytest.fail("it was answered")) for _ in range(9)
    ]

    assert answers[0]["statusCode"] == 400
    assert answers[-1]["statusCode"] == 429
    assert orjson.loads(answers[-1]["body"])["code"] == "rate_limited"
    assert answers[-1]["headers"]["retry-after"] != "1"


def test_an_answer_to_a_tenant_with_limits_says_what_is_left():
    answer = served(a_gate(requests_per_s=10, burst=20), of_tenant())

    assert answer["headers"]["ratelimit"] == '"requests";r=19;t=1'
    assert answer["headers"]["content-type"] == "application/json"


@pytest.mark.parametrize("gate", [None, a_gate(), a_gate(concurrent_jobs=3)])
def test_an_answer_to_any_other_is_as_it_was(gate):
    assert set(served(gate, of_tenant())["headers"]) == {"content-type"}


@pytest.mark.parametrize("error", [InvalidRequestError("no"), RuntimeError("a defect of ours")])
def test_a_refusal_and_a_failure_say_what_is_left_too(error):
    def answer(_request, _facts):
        raise error

    answered = served(a_gate(requests_per_s=10, burst=20), of_tenant(), answer=answer)

    assert answered["statusCode"] >= 400
    assert answered["headers"]["ratelimit"] == '"requests";r=19;t=1'
    assert answered["headers"]["content-type"] == "application/json"


def test_calls_without_a_proof_use_nothing_up():
    """Such as a browser's preflight, whose route is open: whoever makes them is the tenant `default` to none."""
    gate = a_gate(requests_per_s=0.001, burst=5)
    event = of_tenant()
    event["requestContext"]["authorizer"]["lambda"]["tenant"] = "default"

    strangers = [served(gate, an_event()) for _ in range(20)]

    assert {answer["statusCode"] for answer in strangers} == {200}
    assert served(gate, event)["headers"]["ratelimit"].startswith('"requests";r=4;')


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_what_is_counted_is_the_body_s_size_before_it_is_read(body):
    event = of_tenant(body=body, isBase64Encoded=False)
    if isinstance(body, bytes):
        event = of_tenant(body=base64.b64encode(body).decode(), isBase64Encoded=True)
    gate = a_gate(bytes_per_day=1000)

    left = served(gate, event)["headers"]["ratelimit"]

    assert left.startswith(f'"bytes";r={1000 - len(read_request(event).body)};')
