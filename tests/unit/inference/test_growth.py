"""A request that no answer can be made of is refused by its shape, before anything runs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from shared.errors import TooLargeError
from shared.limits import OUTPUT_BYTES_MAX
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import ask, tensor

WIDTH = 4096
ROWS_MAX = OUTPUT_BYTES_MAX // (WIDTH * 4)


def wide(*, beside=False):
    """A row of one number becomes one of 4096; `beside`: and there is an output that never grows."""
    weights = numpy_helper.from_array(np.ones((1, WIDTH), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    outputs = [graphs.value("y", "FP32", ["n", WIDTH])]
    if beside:
        nodes.append(helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0))
        outputs.append(graphs.value("sum", "FP32", []))
    return graphs.model(
        nodes, [graphs.value("x", "FP32", ["n", 1])], outputs, initializers=[weights]
    )


def ones(rows):
    return [tensor([1.0] * rows, [rows, 1])]


def test_more_rows_than_any_output_allows_are_refused_and_nothing_runs(serve):
    model = serve(wide())
    model.session.on_spent = lambda: pytest.fail("it ran")

    with pytest.raises(TooLargeError, match=f"has {ROWS_MAX + 1} in dimension 0.*past {ROWS_MAX}"):
        ask(model, ones(ROWS_MAX + 1))

    assert model.prepare_raw(memoryview(np.ones(3, np.float32).tobytes())).feeds["x"].shape == (
        3,
        1,
    )
    with pytest.raises(TooLargeError):
        model.prepare_raw(memoryview(np.ones(ROWS_MAX + 1, np.float32).tobytes()))


def test_an_output_that_does_not_grow_can_still_be_asked_for(serve):
    model = serve(wide(beside=True))

    answer = ask(model, ones(ROWS_MAX + 1), outputs=[{"name": "sum"}])

    assert float(answer.arrays[0]) == ROWS_MAX + 1


def test_an_output_that_grows_with_the_square_of_a_length_allows_its_root(serve):
    both = graphs.model(
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["t", "x"], ["y"]),
        ],
        [graphs.value("x", "FP32", [1, "length"])],
        [graphs.value("y", "FP32", ["length", "length"])],
    )
    most = int((OUTPUT_BYTES_MAX // 4) ** 0.5)

    with pytest.raises(TooLargeError, match=f"past {most} none"):
        ask(serve(both), [tensor([1.0] * (most + 1), [1, most + 1])])
