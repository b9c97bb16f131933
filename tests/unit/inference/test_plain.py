"""The one pass for plain requests answers as the ordinary way does, byte for byte, or leaves them to it."""

from __future__ import annotations

import math
import time

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.catalog import TensorSpec
from shared.errors import LanewayError
from shared.inference.encoder import encode
from shared.inference.pipeline import infer
from tests.fixtures.batch_desk import BatchDesk
from tests.unit.inference import onnx_graphs as graphs

MEASURE = """
import numpy as np
def preprocess(inputs):
    texts = inputs["text"]
    if "refused" in texts:
        raise TypeError("texts are bytes")
    if b"refused" in texts:
        raise ValueError("not this one")
    return {"x": np.array([[len(text), 1] for text in texts], np.float32)}
def postprocess(outputs, graph_inputs):
    y = outputs["y"]
    return {"size": y[:1] if y[0, 0] == 7 else y}
"""


@pytest.fixture(scope="module")
def desk(small_models):
    return BatchDesk(small_models)


@pytest.fixture(scope="module")
def served(desk):
    return desk.sessions.get("scale", desk.catalog.find("scale")[1].version)


def until() -> float:
    return time.monotonic() + 10


def ordinarily(desk, served, body) -> bytes | str:
    """The answer of the ordinary way, or the code of its refusal."""
    try:
        return encode(infer(served, desk.worker.validate(body), deadline_s=until()))[0]
    except LanewayError as error:
        return error.code


def body_of(data, *, shape, name="x", datatype="FP32"):
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


numbers = st.floats(-(2.0**60), 2.0**60, width=32) | st.integers(-(2**24), 2**24)
values = numbers | st.sampled_from([True, None, "1", math.nan, math.inf, 1e300, [1.0]])
sizes = st.integers(-1, 4) | st.sampled_from([True, 1.0, 2.0, "2", None])
bodies = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["x", "x", "x", "y", 1]),
                    "datatype": st.sampled_from(["FP32", "FP32", "FP32", "FP64", 1]),
                    "shape": st.lists(sizes, min_size=1, max_size=3)
                    | st.just([1, 2])
                    | st.just([2, 2]),
                    "data": st.lists(values, max_size=5)
                    | st.lists(numbers, min_size=2, max_size=4),
                },
                optional={"parameters": st.sampled_from([{}, {"binary_data_size": 4}])},
            ),
            min_size=1,
            max_size=2,
        )
    },
    optional={
        "id": st.sampled_from(["a", 'ü"', "", 1, None, "x" * 300]),
        "outputs": st.just([{"name": "y"}]),
    },
)


@settings(max_examples=300, deadline=None)
@given(bodies)
@example(body_of([1.0, 2.0], shape=[True, 2]))
@example(body_of([1.0, 2.0], shape=[1.0, 2]))
@example(body_of([True, 2.0], shape=[1, 2]))
@example(body_of([3e38, 3e38], shape=[1, 2]))
@example(body_of([], shape=[0, 2]))
def test_whatever_it_answers_is_what_the_ordinary_way_answers(desk, served, body):
    ordinarily(desk, served, body_of([1.0, 2.0], shape=[1, 2]))  # a shape that is known
    ordinarily(desk, served, body_of([1.0, 2.0] * 2, shape=[2, 2]))

    found = served.plain.answer(body, until())

    if found is not None:
        assert found[0] == ordinarily(desk, served, body)


@settings(max_examples=50, deadline=None)
@given(st.lists(numbers, min_size=2, max_size=2), st.sampled_from([{}, {"id": "a"}]))
def test_a_plain_request_of_a_known_shape_is_answered(desk, served, row, named):
    body = {**named, **body_of(row, shape=[1, 2])}
    expected = ordinarily(desk, served, body)

    assert served.plain.answer(body, until())[0] == expected


@pytest.mark.parametrize(
    "body", [[], None, "x", {}, {"inputs": {}}, {"inputs": []}, {"inputs": [1]}]
)
def test_what_is_no_request_is_left_to_the_ordinary_way(served, body):
    assert served.plain.answer(body, until()) is None


def test_an_answer_that_json_cannot_carry_is_left_to_the_ordinary_way(desk, served):
    body = orjson.loads(orjson.dumps(body_of([3e38, 3e38], shape=[1, 2])))

    assert ordinarily(desk, served, body) == "model_output_non_finite"
    assert served.plain.answer(body, until()) is None


def test_a_model_that_answers_text_has_no_one_pass(desk):
    shouting = desk.sessions.get("shout", desk.catalog.find("shout")[1].version)

    assert shouting.plain is None


@pytest.fixture
def measuring(serve):
    """Texts in, two numbers each out; a transform before the run and one behind it."""
    return serve(
        graphs.identity(),
        transform=MEASURE,
        inputs=(TensorSpec("text", "BYTES", (-1,)),),
        outputs=(TensorSpec("size", "FP32", (-1, 2)),),
    )


def texts_of(*texts, **members):
    return {**body_of(list(texts), shape=[len(texts)], name="text", datatype="BYTES"), **members}


@pytest.mark.parametrize(
    "body",
    [
        texts_of("a", "\u00fcb"),
        texts_of("", "c", id="1"),
        texts_of("null", "x"),
        texts_of("refused", "x"),
        texts_of("shrinks", "x"),  # seven letters: postprocess loses a row
    ],
)
def test_a_model_with_a_transform_is_answered_as_the_ordinary_way_answers(desk, measuring, body):
    expected = ordinarily(desk, measuring, body)  # from here on its shape is known

    try:
        found = measuring.plain.answer(body, until())[0]
    except LanewayError as error:
        found = error.code

    assert found == expected


@pytest.mark.parametrize("odd", [1, None, True, ["a"], "\ud800"])
def test_texts_that_are_none_are_left_to_the_ordinary_way(desk, measuring, odd):
    ordinarily(desk, measuring, texts_of("a", "b"))

    assert measuring.plain.answer(texts_of("a", odd), until()) is None
