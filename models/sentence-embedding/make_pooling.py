"""Writes pooling.onnx: mean pooling and scaling to length one, to be put behind the network's bytes.

Protobuf joins messages whose bytes stand behind each other, so this file holds no model of its own: nodes,
a constant and an output that are added to those of the network. See `appended` in docs/models.md.
``uv run --no-project models/sentence-embedding/make_pooling.py``
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["onnx==1.23.2"]
# ///

from __future__ import annotations

import hashlib
from pathlib import Path

from onnx import GraphProto, ModelProto, TensorProto, helper

FOLDER = Path(__file__).resolve().parent
APPENDED = FOLDER / "pooling.onnx"
WEIGHTS = FOLDER / "1" / "model.onnx"
DIMENSIONS = 384
OUTPUT = "sentence_embedding"
"""The network has an inner tensor that is called `embedding`."""


def fragment() -> bytes:
    """The part of a ModelProto, in operators of opset 17, which is the network's.

    The sum over the real tokens' vectors has the direction of their mean, so nothing is divided by their count.
    """
    graph = GraphProto()
    graph.initializer.append(helper.make_tensor("pooling/axis", TensorProto.INT64, [1], [1]))
    graph.node.extend(
        (
            helper.make_node("Cast", ["attention_mask"], ["pooling/mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["pooling/mask", "pooling/axis"], ["pooling/weights"]),
            helper.make_node("MatMul", ["pooling/weights", "last_hidden_state"], ["pooling/sums"]),
            helper.make_node("Squeeze", ["pooling/sums", "pooling/axis"], ["pooling/sum"]),
            helper.make_node("ReduceL2", ["pooling/sum"], ["pooling/length"], axes=[1], keepdims=1),
            helper.make_node("Div", ["pooling/sum", "pooling/length"], [OUTPUT]),
        )
    )
    for node in graph.node:
        node.name = f"pooling/{node.op_type}"
    shape = ["batch", DIMENSIONS]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
    return ModelProto(graph=graph).SerializeToString(deterministic=True)


def main() -> None:
    """Write the file, and say which digest the network has with it, if it is here."""
    before = APPENDED.read_bytes() if APPENDED.is_file() else b""
    APPENDED.write_bytes(fragment())
    if WEIGHTS.is_file():
        network = WEIGHTS.read_bytes()
        network = network.removesuffix(before) if before else network
        print("result_sha256:", hashlib.sha256(network + fragment()).hexdigest())


if __name__ == "__main__":
    main()
