"""Columns answer as single requests do, byte for byte, or leave the requests to those."""

from __future__ import annotations

import time
from itertools import zip_longest

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.inference.batching import Stacker
from shared.inference.bulk import Bulk
from shared.inference.encoder import encode
from tests.fixtures.batch_desk import BatchDesk


@pytest.fixture(scope="module")
def desk(small_models):
    return BatchDesk(small_models)


def bulk_of(desk, name):
    model, version = desk.catalog.find(name)
    served = desk.sessions.get(name, version.version)
    return Bulk(model, served, Stacker(served, rows_max=model.max_batch_size)), served


def alone(desk, served, body) -> bytes:
    prepared = served.prepare(desk.worker.validate(body))
    outputs = served.session.run(prepared.feeds, prepared.fetch, time.monotonic() + 10)
    return encode(served.finish(prepared, outputs))[0]


def body_of(data, *, shape=None, name="x", datatype="FP32"):
    shape = [len(data) // 2, 2] if shape is None else shape
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


numbers = st.floats(-(2.0**60), 2.0**60, width=32) | st.integers(-(2**24), 2**24)
requests = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(requests, min_size=1, max_size=8), st.lists(st.none() | st.text(max_size=9)))
def test_columns_are_byte_for_byte_what_single_requests_answer(desk, rows, ids):
    bulk, served = bulk_of(desk, "scale")
    rows = [row for row in rows if len(row) == len(rows[0])]
    bodies = [body_of([number for pair in row for number in pair]) for row in rows]
    bodies = [
        {**body, **({} if given is None else {"id": given})}
        for body, given in zip_longest(bodies, ids[: len(bodies)])
    ]
    [shapes] = {bulk.shapes(body) for body in bodies}

    found = bulk.run(bodies, shapes, time.monotonic() + 10)

    expected = [alone(desk, served, body) for body in bodies]
    assert [found.form % data for data in zip(*found.data, strict=True)] == expected
    assert told_apart(desk, served, bulk, bodies, shapes) == expected


def told_apart(desk, served, bulk, bodies, shapes):
    """Answers where each step has its own thread: tensors that are views, shares, and one writing."""
    prepared = bulk.prepare(bodies, shapes)
    assert all(map(bulk.prepared, prepared))
    assert not bulk.prepared(served.prepare(desk.worker.validate(bodies[0])))
    until = time.monotonic() + 10
    shares = [served.session.run(one.feeds, one.fetch, until) for one in prepared]
    found = bulk.write_shares(prepared, shares, bulk.rows(shapes))
    return [found.form % data for data in zip(*found.data, strict=True)]


ODD = {
    "another member": {**body_of([1, 2]), "outputs": [{"name": "y"}]},
    "an id that is none": {**body_of([1, 2]), "id": 7},
    "an id and another member": {**body_of([1, 2]), "id": "me", "outputs": []},
    "no inputs": {},
    "inputs are no list": {"inputs": {}},
    "two inputs": {"inputs": body_of([1, 2])["inputs"] * 2},
    "no tensor": {"inputs": [3]},
    "another name": body_of([1, 2], name="z"),
    "another datatype": body_of([1, 2], datatype="FP64"),
    "nested data": body_of([[1, 2]], shape=[1, 2]),
    "no data": body_of([], shape=[0, 2]),
    "another width": body_of([1, 2, 3], shape=[1, 3]),
    "too few": body_of([1, 2, 3], shape=[2, 2]),
    "a shape of fractions": body_of([1, 2], shape=[1.0, 2]),
    "a shape of truths": body_of([1, 2], shape=[True, 2]),
    "truths": body_of([True, 2]),
    "parameters": {"inputs": [{**body_of([1, 2])["inputs"][0], "parameters": {}}]},
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_plain_is_left_to_be_judged_alone(desk, name):
    bulk, _ = bulk_of(desk, "scale")
    bulk.shapes(body_of([1, 2]))  # a shape that is known makes no odd one plain

    assert bulk.shapes(ODD[name]) is None


@pytest.mark.parametrize("value", ["1", None, 1e300, float("nan"), [1], 10**400])
def test_a_column_with_an_odd_value_is_left_to_be_judged_alone(desk, value):
    bulk, _ = bulk_of(desk, "scale")
    bodies = [body_of([1, 2]), body_of([1, value])]
    shapes = bulk.shapes(bodies[0])

    assert bulk.run(bodies, shapes, time.monotonic() + 10) is None


def test_a_column_with_an_output_that_is_not_finite_is_left_to_be_judged_alone(desk):
    bulk, _ = bulk_of(desk, "scale")
    body = body_of([3e38, 1])

    assert bulk.run([body], bulk.shapes(body), time.monotonic() + 10) is None


@pytest.mark.parametrize(("name", "usable"), [("scale", True), ("shout", False), ("pairs", False)])
def test_models_with_a_transform_or_with_texts_take_no_columns(desk, name, usable):
    bulk, _ = bulk_of(desk, name)

    assert bulk.usable is usable


def test_columns_are_json(desk):
    bulk, _ = bulk_of(desk, "scale")
    body = body_of([1, 2, 3, 4])

    found = bulk.run([body], bulk.shapes(body), time.monotonic() + 10)

    [answer] = [orjson.loads(found.form % data) for data in zip(*found.data, strict=True)]
    assert answer["outputs"][0]["shape"] == [2, 2]
