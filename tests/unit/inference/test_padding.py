"""What is padded to run together, that each request gets what it would have got alone, and what is refused."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from shared.errors import ModelRunError
from shared.inference.batching import Stacker
from shared.inference.graph_scan import ModelRefusedError
from shared.inference.inspect import inspect_model
from shared.inference.padding import Padding, PaddingRefusedError
from shared.inference.padding_trial import MEASURING
from shared.inference.pipeline import Prepared
from shared.schema.request import InferenceRequest
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import tensor

PAD = {"x": 7, "mask": 0}


def masked(*, kept="length", mask=("rows", "length")):
    """`total`: the sum of `x` where `mask` is 1. `doubled`: twice `x`, its length named `kept`."""
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    return graphs.model(
        [
            helper.make_node("Mul", ["x", "mask"], ["seen"]),
            helper.make_node("ReduceSum", ["seen", "axis"], ["total"], keepdims=0),
            helper.make_node("Add", ["x", "x"], ["doubled"]),
        ],
        [
            graphs.value("x", "INT64", ["rows", "length"]),
            graphs.value("mask", "INT64", list(mask)),
        ],
        [
            graphs.value("total", "INT64", ["rows"]),
            graphs.value("doubled", "INT64", ["rows", kept]),
        ],
        initializers=[axis],
    )


def padded(served, pad=None):
    served.spec = replace(served.spec, pad=PAD if pad is None else pad)
    return served


def request(served, *rows, **members):
    """Rows of `x`, all of one length, with a mask of ones."""
    flat = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    inputs = [
        tensor([1] * len(flat), shape, datatype="INT64", name="mask"),
        tensor(flat, shape, datatype="INT64", name="x"),
    ]
    if sum(flat) % 2:
        inputs.reverse()
    return served.prepare(InferenceRequest.model_validate({"inputs": inputs, **members}))


def counting(length, *, start=0):
    return [start + place for place in range(length)]


def run(served, requests, *, rows_max=64):
    stacker = Stacker(served, rows_max=rows_max)
    plan = stacker.plan(requests)
    results = {}
    for stack in plan:
        outputs = stacker.run([requests[place] for place in stack], time.monotonic() + 30)
        results |= dict(zip(stack, outputs, strict=True))
    return plan, [results[place] for place in range(len(requests))]


def alone(served, one):
    return served.session.run(one.feeds, one.fetch, time.monotonic() + 30)


def same(left, right):
    return len(left) == len(right) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(left, right, strict=True)
    )


def test_requests_of_unlike_lengths_run_together_and_get_what_they_would_get_alone(serve):
    served = padded(serve(masked()))
    requests = [
        request(served, counting(5, start=1)),
        request(served, counting(2), counting(2, start=9)),
        request(served, counting(5)),
        request(served, counting(1, start=3)),
    ]

    plan, results = run(served, requests)

    assert plan == [[0, 1, 2, 3]]
    for one, result in zip(requests, results, strict=True):
        assert same(result, alone(served, one))
        assert all(array.flags.c_contiguous for array in result)


def test_a_request_for_one_output_is_padded_with_the_others(serve):
    served = padded(serve(masked()))
    requests = [
        request(served, counting(4), outputs=[{"name": "doubled"}]),
        request(served, counting(3), outputs=[{"name": "total"}]),
        request(served, counting(2)),
    ]

    plan, results = run(served, requests)

    assert plan == [[0, 1, 2]]
    for one, result in zip(requests, results, strict=True):
        assert same(result, alone(served, one))


def test_without_a_declaration_unlike_lengths_run_apart(serve):
    served = serve(masked())
    requests = [request(served, counting(length)) for length in (3, 2, 3)]

    assert run(served, requests)[0] == [[0, 2], [1]]
    assert not Stacker(served, rows_max=8).pads


def test_stacks_are_filled_with_requests_of_like_length(serve):
    served = padded(serve(masked()))
    requests = [request(served, counting(length)) for length in (2, 15, 3, 14, 2, 16)]

    plan, results = run(served, requests, rows_max=3)

    assert plan == [[0, 2, 4], [1, 3, 5]]
    for one, result in zip(requests, results, strict=True):
        assert same(result, alone(served, one))


def test_a_stack_with_enough_rows_takes_more_of_its_length_but_pads_none_for_more(serve):
    served = padded(serve(masked()))
    requests = [request(served, counting(length)) for length in [2] * 6 + [3] * 4 + [4] * 9]

    plan, _ = run(served, requests, rows_max=32)

    assert plan == [list(range(10)), list(range(10, 19))]


def test_no_request_is_padded_to_much_more_than_its_length_once_that_would_cost(serve):
    served = padded(serve(masked()))
    requests = [request(served, counting(length)) for length in (16, 500, 33, 2, 64, 511, 48, 17)]

    plan, _ = run(served, requests)

    for stack in plan:
        lengths = [requests[place].feeds["x"].shape[1] for place in stack]
        assert max(lengths) <= max(16, 1.5 * min(lengths))
    assert [0, 3] in plan
    assert [1, 5] in plan
    assert [2, 6] in plan


def test_an_empty_request_and_one_whose_inputs_disagree_run_alone(serve):
    served = padded(serve(masked()))
    good = request(served, counting(3))
    empty = Prepared(
        {name: np.zeros((1, 0), np.int64) for name in ("x", "mask")}, good.fetch, good.wanted, None
    )
    odd = Prepared(
        {"x": np.zeros((1, 3), np.int64), "mask": np.ones((1, 1), np.int64)},
        good.fetch,
        good.wanted,
        None,
    )

    assert Stacker(served, rows_max=8).plan([good, empty, odd, good]) == [[0, 3], [1], [2]]


def test_an_output_that_is_not_as_long_as_its_inputs_is_an_error_of_the_stack(serve):
    two = numpy_helper.from_array(np.array([1, 2], np.int64), "two")
    built = graphs.model(
        [helper.make_node("Tile", ["x", "two"], ["y"])],
        [graphs.value("x", "FP32", ["rows", "length"])],
        [graphs.value("y", "FP32", ["rows", "length"])],
        initializers=[two],
    )
    served = padded(serve(built), {"x": 0})
    requests = [
        served.prepare(InferenceRequest.model_validate({"inputs": [tensor([0.0] * n, [1, n])]}))
        for n in (1, 2)
    ]

    with pytest.raises(ModelRunError, match="not as long"):
        Stacker(served, rows_max=8).run(requests, time.monotonic() + 30)


@pytest.mark.parametrize(
    ("graph", "pad", "words"),
    [
        ({"kept": "other"}, PAD, "'doubled' is open and named 'other'"),
        ({}, {"x": 0}, "'mask' is 'length', which is padded in another input"),
        ({"mask": ("rows", "rows")}, {"mask": 0}, "'rows' like its rows"),
    ],
)
def test_a_graph_whose_lengths_cannot_be_told_is_refused(serve, graph, pad, words):
    served = padded(serve(masked(**graph)), pad)

    with pytest.raises(PaddingRefusedError, match=words):
        Padding(served.spec, served.session)
    assert not Stacker(served, rows_max=8).pads


@pytest.mark.parametrize(("datatype", "filler"), [("FP16", -1.5), ("BF16", 1.0), ("BOOL", 1)])
def test_a_filler_is_of_the_graph_s_datatype(serve, datatype, filler):
    served = padded(
        serve(
            graphs.model(
                [helper.make_node("Identity", ["x"], ["y"])],
                [graphs.value("x", datatype, ["rows", "length"])],
                [graphs.value("y", datatype, ["rows", "length"])],
            )
        ),
        {"x": filler},
    )
    dtype = {"FP16": np.float16, "BF16": np.uint16, "BOOL": np.bool_}[datatype]
    parts = [{"x": np.zeros((1, length), dtype)} for length in (1, 3)]

    feeds, sizes = Padding(served.spec, served.session).join(parts)

    bits = {"FP16": np.float16(-1.5), "BF16": 0x3F80, "BOOL": True}[datatype]
    assert sizes == [(1,), (3,)]
    assert feeds["x"].dtype == dtype
    assert feeds["x"].tolist() == np.array([[0, bits, bits], [0, 0, 0]], dtype).tolist()


def inspect(tmp_path, built, pad):
    path = tmp_path / "model.onnx"
    path.write_bytes(built.SerializeToString())
    return inspect_model(path, pad=pad)


def test_padding_that_keeps_every_answer_is_found_to_hold(tmp_path):
    found = inspect(tmp_path, masked(), PAD)

    assert found.padding is not None
    assert (found.padding.tolerance, found.padding.reason) == (0.0, "")


def test_padding_that_changes_answers_is_found_out_with_the_figure(tmp_path):
    found = inspect(tmp_path, masked(), {"x": 7, "mask": 1})

    assert found.trial.row_independent
    assert found.padding.tolerance > 1e-4
    assert f"differs from the same row run alone by {found.padding.tolerance:.2g}" in (
        found.padding.reason
    )


@pytest.mark.parametrize(
    ("pad", "words"),
    [
        ({"z": 0}, "no input 'z'"),
        ({"x": 0.5, "mask": 0}, "INT64, which cannot hold the filler 0.5"),
        ({"x": 2**63, "mask": 0}, "cannot hold"),
        ({"x": 0}, "give this input a filler too"),
    ],
)
def test_a_declaration_that_does_not_fit_the_graph_is_refused(tmp_path, pad, words):
    with pytest.raises(ModelRefusedError, match=words):
        inspect(tmp_path, masked(), pad)


def test_a_model_for_whose_padding_no_time_is_left_is_stacked_unpadded(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(masked().SerializeToString())

    found = inspect_model(
        path, pad=PAD, steps=lambda step, *_limit, **_size: 0.0 if step == MEASURING else math.inf
    )

    assert found.trial.row_independent
    assert found.padding.tolerance is None
    assert "raise run_s" in found.padding.reason


def test_nothing_is_measured_where_nothing_is_declared(tmp_path):
    assert inspect(tmp_path, masked(), {}).padding is None
