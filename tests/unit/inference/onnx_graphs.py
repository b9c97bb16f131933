"""Small ONNX models, each with one property that a test is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


def value(name, datatype, shape):
    """A graph's input or output; a string in `shape` names an open dimension."""
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], shape)


def model(nodes, inputs, outputs, *, initializers=(), domains=("",)):
    """A model of these nodes, as onnx writes it."""
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid(domain, 18 if domain == "" else 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="tests")


def identity(datatype="FP32", shape=("n", 2)):
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", datatype, shape)],
        [value("y", datatype, shape)],
    )


def two_in_two_out():
    """`a` and `b` share a dimension; gives their sum and the product of `a` with itself."""
    return model(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Mul", ["a", "a"], ["square"]),
        ],
        [value("a", "FP32", ["n", 2]), value("b", "FP32", ["n", 2])],
        [value("sum", "FP32", ["n", 2]), value("square", "FP32", ["n", 2])],
    )


def endless():
    """Adds one to `x`, `count` times."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["v", "one"], ["w"]),
        ],
        "body",
        [value("i", "INT64", []), value("go", "BOOL", []), value("v", "FP32", [1])],
        [value("go_on", "BOOL", []), value("w", "FP32", [1])],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    return model(
        [helper.make_node("Loop", ["count", "yes", "x"], ["y"], body=body)],
        [value("count", "INT64", []), value("x", "FP32", [1])],
        [value("y", "FP32", [1])],
        initializers=[helper.make_tensor("yes", TensorProto.BOOL, [], [True])],
    )


def lookup():
    """Takes one of three numbers by index."""
    return model(
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        [value("i", "INT64", ["n"])],
        [value("y", "FP32", ["n"])],
        initializers=[helper.make_tensor("table", TensorProto.FLOAT, [3], [10.0, 20.0, 30.0])],
    )


def logarithm(datatype="FP32"):
    """Finite in, NaN or an infinity out, for numbers of zero and below."""
    return model(
        [helper.make_node("Log", ["x"], ["y"])],
        [value("x", datatype, ["n"])],
        [value("y", datatype, ["n"])],
    )


def row_dependent():
    """Softmax over the batch: every row changes every other."""
    return model(
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
        [value("x", "FP32", ["n", 2])],
        [value("y", "FP32", ["n", 2])],
    )


def total():
    """One number for the whole batch."""
    return model(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [value("x", "FP32", ["n", 2])],
        [value("y", "FP32", [])],
    )


def unranked_output():
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", "FP32", ["n", 2])],
        [value("y", "FP32", None)],
    )


def sequence_output():
    return model(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        [value("x", "FP32", ["n"])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    )


def zipmap():
    """What skl2onnx makes of a classifier unless told otherwise: a list of dictionaries."""
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    output = helper.make_value_info(
        "y",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(
                TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
            )
        ),
    )
    return model([node], [value("x", "FP32", ["n", 2])], [output], domains=("", "ai.onnx.ml"))


def custom_operator():
    node = helper.make_node("Decode", ["x"], ["y"], domain="com.example")
    return model(
        [node],
        [value("x", "FP32", ["n"])],
        [value("y", "FP32", ["n"])],
        domains=("", "com.example"),
    )


def save_with_external_data(path: Path):
    """Adds a vector that lies in `weights.bin` beside the model."""
    weights = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "w")
    built = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value("x", "FP32", ["n", 2])],
        [value("y", "FP32", ["n", 2])],
        initializers=[weights],
    )
    onnx.save(
        built,
        str(path),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
