"""A model's own code around its graph: what it may do, and what becomes of its mistakes."""

from __future__ import annotations

import os

import orjson
import pytest

from shared.catalog import TensorSpec
from shared.errors import ModelRunError, TransformFailedError, TransformRefusedError
from shared.inference.encoder import encode
from shared.inference.transform import load_transform
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import ask, binary, tensor

TEXT_IN = (TensorSpec("text", "BYTES", (-1,)),)
LABEL_OUT = (TensorSpec("label", "BYTES", (-1,)),)
LENGTHS = """
import numpy as np
def preprocess(inputs):
    texts = inputs["text"]
    if any(len(text) == 0 for text in texts):
        raise ValueError("a text may not be empty")
    return {"x": np.array([[len(text), 1] for text in texts], np.float32)}
"""
LABELS = """
from pathlib import Path
def postprocess(outputs, graph_inputs):
    names = Path(__file__).with_name("labels.txt").read_text().split()
    rows = outputs["y"][:, 0].astype(int)
    return {"label": np.array([names[row] for row in rows], object)}
"""


def texts(*words):
    return [tensor(list(words), [len(words)], "BYTES", name="text")]


@pytest.fixture
def labelled(serve, tmp_path):
    """Text in, label out: the label whose number is the length of the text."""
    model = serve(graphs.identity(), transform=LENGTHS + LABELS, inputs=TEXT_IN, outputs=LABEL_OUT)
    (tmp_path / "m" / "labels.txt").write_text("zero one two")
    return model


def test_text_becomes_tensors_and_tensors_become_labels(labelled):
    body = orjson.loads(encode(ask(labelled, texts("a", "bb")))[0])

    assert body["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["one", "two"]}
    ]


def test_a_transform_gets_bytes_whatever_they_are(labelled):
    body = b"\x02\0\0\0\xff\xfe"

    answer = ask(labelled, [binary(6, [1], "BYTES", name="text")], body)

    assert orjson.loads(encode(answer)[0])["outputs"][0]["data"] == ["two"]


def test_a_value_error_is_the_callers_mistake_in_the_authors_words(labelled):
    with pytest.raises(TransformRefusedError, match="a text may not be empty") as refused:
        ask(labelled, texts(""))

    assert refused.value.status == 400


def test_any_other_exception_is_ours_and_keeps_its_values_to_itself(labelled):
    with pytest.raises(TransformFailedError) as failed:
        ask(labelled, texts("a text too long for the labels"))

    assert failed.value.message == "postprocess of model 'm' raised IndexError"
    assert failed.value.__cause__ is not None


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("{}", "nothing; 'x' expected"),
        ("[1]", "list; 'x' expected"),
        ("{'z': np.zeros((1, 2), np.float32)}", "no array 'x', but 'z'"),
        ("{'x': [[1.0, 2.0]]}", "no array 'x'"),
        ("{'x': np.zeros((1, 2))}", "'x' as float64; FP32 is float32"),
        ("{'x': np.zeros((1, 3), np.float32)}", r"'x' in shape \[1, 3\]; \[-1, 2\] is declared"),
        ("{'x': np.zeros((2,), np.float32)}", r"'x' in shape \[2\]"),
    ],
)
def test_what_preprocess_returns_is_held_against_the_graph(serve, returned, words):
    code = f"import numpy as np\ndef preprocess(inputs):\n    return {returned}\n"
    outputs = (TensorSpec("y", "FP32", (-1, 2)),)
    model = serve(graphs.identity(), transform=code, inputs=TEXT_IN, outputs=outputs)

    with pytest.raises(TransformFailedError, match=words):
        ask(model, texts("a"))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("{'label': np.array(['a'] * 3, object)}", "with 3 rows for a request of 1"),
        ("{'label': np.array(['a'], object), 'more': 1}", "'label', 'more'; 'label' expected"),
        ("{'label': outputs['y'][:, 0]}", "'label' as float32; BYTES is object"),
    ],
)
def test_what_postprocess_returns_is_held_against_the_declaration(serve, returned, words):
    code = f"{LENGTHS}\ndef postprocess(outputs, graph_inputs):\n    return {returned}\n"
    model = serve(graphs.identity(), transform=code, inputs=TEXT_IN, outputs=LABEL_OUT)

    with pytest.raises(TransformFailedError, match=words):
        ask(model, texts("a"))


def test_either_half_of_a_transform_may_be_missing(serve):
    outputs = (TensorSpec("y", "FP32", (-1, 2)),)
    model = serve(graphs.identity(), transform=LENGTHS, inputs=TEXT_IN, outputs=outputs)

    body = orjson.loads(encode(ask(model, texts("abc")))[0])

    assert body["outputs"][0]["data"] == [3, 1]


def test_without_postprocess_the_declaration_may_call_the_graphs_output_otherwise(serve):
    outputs = (TensorSpec("lengths", "FP32", (-1, 2)),)
    model = serve(graphs.identity(), transform=LENGTHS, inputs=TEXT_IN, outputs=outputs)

    body = orjson.loads(encode(ask(model, texts("abc")))[0])

    assert body["outputs"] == [
        {"name": "lengths", "datatype": "FP32", "shape": [1, 2], "data": [3, 1]}
    ]


def test_an_output_that_is_called_otherwise_takes_no_other_ones_name(serve):
    code = LENGTHS.replace(
        'return {"x": ', 'return {"b": np.ones((len(texts), 2), np.float32), "a": '
    )
    outputs = (TensorSpec("square", "FP32", (-1, 2)), TensorSpec("total", "FP32", (-1, 2)))
    model = serve(graphs.two_in_two_out(), transform=code, inputs=TEXT_IN, outputs=outputs)

    body = orjson.loads(encode(ask(model, texts("abc")))[0])

    assert {one["name"]: one["data"] for one in body["outputs"]} == {
        "square": [9, 1],
        "total": [4, 2],
    }


def test_without_postprocess_the_graph_gives_as_many_outputs_as_are_declared(serve):
    outputs = (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "FP32", (-1, 2)))
    model = serve(graphs.identity(), transform=LENGTHS, inputs=TEXT_IN, outputs=outputs)

    with pytest.raises(TransformFailedError, match="returned 'y'; 'y', 'z' expected"):
        ask(model, texts("abc"))


def test_an_array_that_is_a_stride_of_another_is_sent_in_order(serve):
    code = "def postprocess(outputs, graph_inputs):\n    return {'y': outputs['y'][:, ::-1]}\n"
    model = serve(graphs.identity(), transform=code)

    body = orjson.loads(encode(ask(model, [tensor([1, 2, 3, 4], [2, 2])]))[0])

    assert body["outputs"][0]["data"] == [2, 1, 4, 3]


def test_an_output_of_bytes_that_are_no_text_is_sent_in_binary_only(serve):
    code = LENGTHS + (
        "def postprocess(outputs, graph_inputs):\n"
        "    return {'label': np.array([b'\\xff'], object)}\n"
    )
    model = serve(graphs.identity(), transform=code, inputs=TEXT_IN, outputs=LABEL_OUT)

    answer = ask(model, texts("a"), parameters={"binary_data_output": True})

    assert encode(answer)[1] == [b"\1\0\0\0\xff"]
    with pytest.raises(Exception, match="not UTF-8"):
        encode(ask(model, texts("a")))


def test_values_that_the_graph_refuses_are_the_transforms_failure(serve):
    code = "def preprocess(inputs):\n    return {'i': inputs['i'] + 5}\n"
    model = serve(graphs.lookup(), transform=code)

    with pytest.raises(ModelRunError, match="failed at a Gather node") as failed:
        ask(model, [tensor([0], [1], "INT64", name="i")])

    assert "out of data bounds" in failed.value.detail
    assert "5" not in failed.value.detail, "a tensor's value in what is logged"


def test_a_transform_that_cannot_be_imported_says_why(serve):
    with pytest.raises(TransformFailedError, match="ModuleNotFoundError: No module named 'absent'"):
        serve(graphs.identity(), transform="import absent\n")


def test_a_transform_is_imported_once_until_its_file_changes(tmp_path):
    path = tmp_path / "transform.py"
    path.write_text("def preprocess(inputs):\n    return inputs\n")
    first, again = load_transform(path, model="m"), load_transform(path, model="m")
    assert first.preprocess is again.preprocess

    path.write_text("def postprocess(outputs, graph_inputs):\n    return outputs\n")
    os.utime(path, ns=(1, 1))

    changed = load_transform(path, model="m")
    assert changed.preprocess is None
    assert changed.postprocess is not None


def test_a_missing_transform_is_said_to_be_missing(tmp_path):
    with pytest.raises(TransformFailedError, match=r"transform\.py of model 'm' is missing"):
        load_transform(tmp_path / "transform.py", model="m")
