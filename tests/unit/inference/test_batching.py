"""What is stacked, what is kept apart, and that splitting gives every request its own rows."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from shared.errors import ModelRunError, SignatureError
from shared.inference.batching import Stacker
from shared.inference.pipeline import Prepared
from shared.schema.request import InferenceRequest
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import tensor


def stacker(served, rows_max=64):
    return Stacker(served, rows_max=rows_max)


def prepared(served, *inputs, **members):
    request = InferenceRequest.model_validate({"inputs": list(inputs), **members})
    return served.prepare(request)


def sums(rows, *, start=0.0):
    """Inputs `a` and `b` of `rows` rows, shape `(rows, 2)`."""
    data = [start + n for n in range(rows * 2)]
    return tensor(data, [rows, 2], name="a"), tensor(data, [rows, 2], name="b")


def run(served, requests, **options):
    plan = stacker(served, **options).plan(requests)
    results = {}
    for stack in plan:
        members = [requests[position] for position in stack]
        outputs = stacker(served, **options).run(members, time.monotonic() + 30)
        results |= dict(zip(stack, outputs, strict=True))
    return plan, [results[position] for position in range(len(requests))]


def alone(served, request):
    return served.session.run(request.feeds, request.fetch, time.monotonic() + 30)


def same(left, right):
    return len(left) == len(right) and all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(left, right, strict=True)
    )


def test_requests_of_one_signature_run_together_and_each_gets_its_rows(serve):
    served = serve(graphs.two_in_two_out())
    requests = [prepared(served, *sums(rows, start=rows)) for rows in (1, 3, 2)]

    plan, results = run(served, requests)

    assert plan == [[0, 1, 2]]
    for request, result in zip(requests, results, strict=True):
        assert same(result, alone(served, request))


def test_a_request_for_fewer_outputs_stacks_with_the_others(serve):
    served = serve(graphs.two_in_two_out())
    requests = [
        prepared(served, *sums(1), outputs=[{"name": "square"}]),
        prepared(served, *sums(2, start=5.0)),
        prepared(served, *sums(1, start=9.0), outputs=[{"name": "square"}, {"name": "sum"}]),
    ]

    plan, results = run(served, requests)

    assert plan == [[0, 1, 2]]
    for request, result in zip(requests, results, strict=True):
        assert same(result, alone(served, request))


def test_a_stack_is_closed_at_the_most_rows(serve):
    served = serve(graphs.two_in_two_out())
    requests = [prepared(served, *sums(rows)) for rows in (3, 3, 3, 9, 1)]

    plan, _ = run(served, requests, rows_max=6)

    assert plan == [[0, 1], [2, 4], [3]]


@pytest.mark.parametrize("rows_max", [0, 1])
def test_without_room_for_two_rows_everything_runs_alone(serve, rows_max):
    served = serve(graphs.two_in_two_out())
    requests = [prepared(served, *sums(1)) for _ in range(3)]

    assert stacker(served, rows_max=rows_max).plan(requests) == [[0], [1], [2]]


def test_unlike_rows_of_two_inputs_run_alone(serve):
    served = serve(graphs.two_in_two_out())
    good = prepared(served, *sums(1))
    odd = Prepared(
        {"a": np.zeros((2, 2), np.float32), "b": np.zeros((1, 2), np.float32)},
        good.fetch,
        good.wanted,
        None,
    )

    assert stacker(served).plan([good, odd, good]) == [[0, 2], [1]]


def test_no_rows_at_all_run_alone(serve):
    served = serve(graphs.two_in_two_out())
    empty = prepared(served, *sums(0))

    assert stacker(served).plan([empty, empty, prepared(served, *sums(1))]) == [[0], [1], [2]]


@pytest.mark.parametrize("members", [{"row_independent": False}, {"stacking_tolerance": 2e-4}])
def test_a_model_that_was_found_to_differ_when_stacked_is_not(serve, members):
    served = serve(graphs.two_in_two_out())
    served.spec = replace(served.spec, **members)
    requests = [prepared(served, *sums(1)) for _ in range(2)]

    assert stacker(served).plan(requests) == [[0], [1]]


def test_a_graph_without_a_batch_axis_in_its_output_is_not_stacked(serve):
    served = serve(graphs.total())
    requests = [prepared(served, tensor([1, 2], [1, 2])) for _ in range(2)]

    assert stacker(served).plan(requests) == [[0], [1]]


def test_a_stack_whose_rows_the_graph_did_not_keep_is_an_error(serve):
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [0])
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    built = graphs.model(
        [node],
        [graphs.value("x", "FP32", ["n", 2])],
        [graphs.value("y", "FP32", ["m", 2])],
        initializers=[axes],
    )
    served = serve(built)
    requests = [prepared(served, tensor([1, 2], [1, 2])) for _ in range(2)]

    with pytest.raises(ModelRunError, match="rows of a stack"):
        stacker(served).run(requests, time.monotonic() + 30)


def test_the_graph_s_refusal_of_one_is_the_refusal_of_the_stack(serve):
    served = serve(graphs.lookup())
    requests = [
        prepared(served, tensor([index], [1], datatype="INT64", name="i")) for index in (0, 9)
    ]

    with pytest.raises(SignatureError):
        stacker(served).run(requests, time.monotonic() + 30)
