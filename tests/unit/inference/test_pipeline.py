"""From a request to an answer, through real sessions."""

from __future__ import annotations

import struct
import time

import numpy as np
import orjson
import pytest

from shared.errors import (
    InvalidRequestError,
    NonFiniteInputError,
    NonFiniteOutputError,
    SignatureError,
)
from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.encoder import encode
from shared.inference.pipeline import infer
from shared.schema.datatypes import DATATYPE_NAMES
from shared.schema.request import InferenceRequest
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import ask, binary, tensor

JSON_VALUES = {"BOOL": [True, False], "BYTES": ["a", "é"]}
BINARY_ONLY = ("FP16", "BF16")
BINARY_OUT = {"binary_data_output": True}


def body_of(answer):
    header, tails = encode(answer)
    return orjson.loads(header), tails


def pair(a, b, rows=1):
    return [tensor(a, [rows, 2], name="a"), tensor(b, [rows, 2], name="b")]


@pytest.mark.parametrize("datatype", [name for name in DATATYPE_NAMES if name not in BINARY_ONLY])
def test_every_json_datatype_passes_through_a_graph(serve, datatype):
    values = JSON_VALUES.get(datatype, [1, 2])

    body, tails = body_of(
        ask(serve(graphs.identity(datatype)), [tensor(values, [1, 2], datatype)], id="7")
    )

    assert body == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "y", "datatype": datatype, "shape": [1, 2], "data": values}],
    }
    assert tails == []


@pytest.mark.parametrize("datatype", DATATYPE_NAMES)
def test_every_datatype_passes_through_a_graph_in_binary(serve, datatype):
    model = serve(graphs.identity(datatype))
    if datatype == "BYTES":
        tail = struct.pack("<I1sI2s", 1, b"a", 2, "é".encode())
    elif datatype == "BF16":
        tail = struct.pack("<HH", 0x3F80, 0xC000)
    else:
        tail = np.array([1, 0], ARRAY_TYPES[datatype].dtype).tobytes()

    answer = ask(model, [binary(len(tail), [1, 2], datatype)], tail, parameters=BINARY_OUT)
    body, tails = body_of(answer)

    assert tails == [tail]
    assert body["outputs"] == [
        {
            "name": "y",
            "datatype": datatype,
            "shape": [1, 2],
            "parameters": {"binary_data_size": len(tail)},
        }
    ]


@pytest.mark.parametrize("datatype", DATATYPE_NAMES)
def test_a_tensor_without_rows_passes_through_a_graph(serve, datatype):
    answer = ask(
        serve(graphs.identity(datatype)), [binary(0, [0, 2], datatype)], parameters=BINARY_OUT
    )
    body, tails = body_of(answer)

    assert body["outputs"][0]["shape"] == [0, 2]
    assert tails == [b""]


def test_a_scalar_passes_through_a_graph(serve):
    body, _ = body_of(ask(serve(graphs.identity("FP32", ())), [tensor([2.5], [])]))

    assert body["outputs"][0] | {"shape": [], "data": [2.5]} == body["outputs"][0]


def test_inputs_may_come_in_any_order_and_form(serve):
    model = serve(graphs.two_in_two_out())
    b = np.array([[3, 4]], np.float32).tobytes()

    body, _ = body_of(
        ask(model, [binary(8, [1, 2], name="b"), tensor([1, 2], [1, 2], name="a")], b)
    )

    assert [output["data"] for output in body["outputs"]] == [[4, 6], [1, 4]]


def test_outputs_come_in_the_order_and_the_form_that_was_asked_for(serve):
    asked = [{"name": "square", "parameters": {"binary_data": True}}, {"name": "sum"}]

    body, tails = body_of(ask(serve(graphs.two_in_two_out()), pair([1, 2], [3, 4]), outputs=asked))

    assert [output["name"] for output in body["outputs"]] == ["square", "sum"]
    assert np.frombuffer(tails[0], np.float32).tolist() == [1, 4]
    assert body["outputs"][1]["data"] == [4, 6]


def test_an_output_that_is_not_asked_for_is_not_sent(serve):
    body, _ = body_of(
        ask(serve(graphs.two_in_two_out()), pair([1, 2], [3, 4]), outputs=[{"name": "square"}])
    )

    assert [output["name"] for output in body["outputs"]] == ["square"]


def test_no_outputs_listed_means_all(serve):
    body, _ = body_of(ask(serve(graphs.two_in_two_out()), pair([1, 2], [3, 4]), outputs=[]))

    assert [output["name"] for output in body["outputs"]] == ["sum", "square"]


@pytest.mark.parametrize(
    ("inputs", "words", "field"),
    [
        (
            [tensor([1, 2], [1, 2], name="a")],
            "input 'b' is missing; model 'm' takes 'a', 'b'",
            "inputs",
        ),
        (
            [tensor([1, 2], [1, 2], name="c")],
            "input 'c' is not an input of 'm'; the model takes 'a', 'b'",
            "inputs[0].name",
        ),
        ([tensor([1, 2], [1, 2], name="a")] * 2, "input 'a' came twice", "inputs[1].name"),
        (
            [tensor([1, 2], [1, 2], name="a"), tensor([1] * 4, [2, 2], name="b")],
            "disagree on dimension 'n': 1 in dimension 0 of 'a', 2 in dimension 0 of 'b'",
            "inputs",
        ),
    ],
)
def test_inputs_that_are_not_the_models_are_refused(serve, inputs, words, field):
    with pytest.raises(SignatureError) as refused:
        ask(serve(graphs.two_in_two_out()), inputs)

    assert words in refused.value.message
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([{"name": "z"}], "output 'z' is not an output of the model; it gives 'sum', 'square'"),
        ([{"name": "sum"}, {"name": "sum"}], "output 'sum' is asked for twice"),
    ],
)
def test_outputs_that_are_not_the_models_are_refused(serve, outputs, words):
    with pytest.raises(SignatureError, match=words):
        ask(serve(graphs.two_in_two_out()), pair([1, 2], [3, 4]), outputs=outputs)


def test_the_classification_extension_is_refused_and_not_passed_over(serve):
    asked = [{"name": "y", "parameters": {"classification": 3}}]

    with pytest.raises(InvalidRequestError, match="classification"):
        ask(serve(graphs.identity()), [tensor([1, 2], [1, 2])], outputs=asked)


@pytest.mark.parametrize("datatype", BINARY_ONLY)
def test_half_precision_output_in_json_is_refused_before_the_run(serve, datatype):
    with pytest.raises(InvalidRequestError, match="ask for it with parameters"):
        ask(serve(graphs.identity(datatype)), [binary(4, [1, 2], datatype)], bytes(4))


def test_left_over_bytes_are_refused(serve):
    with pytest.raises(InvalidRequestError, match="left over"):
        ask(serve(graphs.identity()), [tensor([1, 2], [1, 2])], b"rest")


def test_a_raw_body_is_answered_in_binary(serve):
    raw = memoryview(np.array([1, 2, 3, 4], np.float32).tobytes())

    answer = infer(serve(graphs.identity()), None, raw, deadline_s=time.monotonic() + 30)
    body, tails = body_of(answer)

    assert body["outputs"][0]["shape"] == [2, 2]
    assert tails == [bytes(raw)]


def test_a_raw_body_for_two_inputs_is_refused(serve):
    with pytest.raises(InvalidRequestError, match="carries one input; model 'm' takes 2: 'a', 'b'"):
        infer(serve(graphs.two_in_two_out()), None, memoryview(b"abcd"), deadline_s=1e12)


def test_values_that_the_graph_refuses_are_the_callers_mistake(serve):
    with pytest.raises(SignatureError, match="out of data bounds") as refused:
        ask(serve(graphs.lookup()), [tensor([7], [1], "INT64", name="i")])

    assert "/" not in refused.value.message


def test_non_finite_output_is_our_failure_in_json_and_sent_in_binary(serve):
    model = serve(graphs.logarithm())
    inputs = [tensor([0.0, -1.0, 1.0], [3])]

    with pytest.raises(NonFiniteOutputError, match="output 'y' holds NaN or an infinity"):
        encode(ask(model, inputs))
    _, tails = body_of(ask(model, inputs, parameters=BINARY_OUT))
    found = np.frombuffer(tails[0], np.float32)
    assert np.isneginf(found[0])
    assert np.isnan(found[1])
    assert found[2] == 0


def test_a_model_that_allows_it_sends_bare_nan_in_json(serve):
    model = serve(graphs.logarithm(), allow_non_finite=True)

    header, _ = encode(ask(model, [tensor([0.0, -1.0, 1.0], [3])]))

    assert header.endswith(b'"data":[-Infinity,NaN,0.0]}]}')


def test_non_finite_input_is_refused_unless_the_model_allows_it(serve):
    with pytest.raises(NonFiniteInputError):
        ask(serve(graphs.identity()), [tensor([float("inf"), 1], [1, 2])])


def test_the_word_null_in_an_id_is_no_infinity(serve):
    body, _ = body_of(ask(serve(graphs.identity()), [tensor([1, 2], [1, 2])], id="null"))

    assert body["id"] == "null"


def test_the_answer_says_how_long_the_model_ran(serve):
    assert 0 < ask(serve(graphs.identity()), [tensor([1, 2], [1, 2])]).model_ms < 1000


def test_rows_can_be_stacked_between_prepare_and_finish(serve):
    model = serve(graphs.identity())
    requests = [
        InferenceRequest.model_validate({"id": str(i), "inputs": [tensor([i, i], [1, 2])]})
        for i in range(3)
    ]

    prepared = [model.prepare(request) for request in requests]
    stacked = np.concatenate([one.feeds["x"] for one in prepared])
    [results] = model.session.run({"x": stacked}, ["y"], deadline_s=time.monotonic() + 30)
    answers = [model.finish(one, [results[i : i + 1]]) for i, one in enumerate(prepared)]

    assert [body_of(answer)[0]["outputs"][0]["data"] for answer in answers] == [
        [0, 0],
        [1, 1],
        [2, 2],
    ]
    assert [body_of(answer)[0]["id"] for answer in answers] == ["0", "1", "2"]
