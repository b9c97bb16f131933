"""The comparison with golden answers: what is near enough, what is not, and how it is said."""

from __future__ import annotations

import json
import math

import pytest

from shared.inference.findings import GoldenFileError
from shared.inference.golden import Case, differences, read_cases

REQUEST = {"inputs": []}


def case(data, tolerance, *, shape=None, datatype="FP32"):
    output = {"name": "y", "shape": shape or [len(data)], "datatype": datatype, "data": data}
    return Case.model_validate(
        {
            "name": "a case",
            "request": REQUEST,
            "expected": {"outputs": [output]},
            "tolerance": {"y": tolerance},
        }
    )


def actual(data, *, shape=None, datatype="FP32"):
    return {"y": {"datatype": datatype, "shape": shape or [len(data)], "data": data}}


def test_values_within_the_limit_are_near_enough():
    golden = case([1.0, 2.0], {"measure": "absolute", "limit": 0.1})

    assert differences(golden, actual([1.05, 1.95])) == []


@pytest.mark.parametrize("data", [[1.0, 2.2], [1.0, math.nan], [math.inf, 2.0]])
def test_one_value_past_the_limit_is_a_difference(data):
    golden = case([1.0, 2.0], {"measure": "absolute", "limit": 0.1})

    (difference,) = differences(golden, actual(data))

    assert difference.startswith("output 'y': absolute difference")


def test_equal_means_every_value():
    golden = case([1, 2], {"measure": "equal"}, datatype="INT64")

    assert differences(golden, actual([1, 2], datatype="INT64")) == []
    assert differences(golden, actual([1, 3], datatype="INT64")) != []


@pytest.mark.parametrize(
    ("data", "near"),
    [([2.0, 0.0, 0.0, 3.0], True), ([1.0, 0.0, 1.0, 1.0], False), ([1.0, 0.0, 0.0, 0.0], False)],
)
def test_cosine_compares_each_row_by_its_direction(data, near):
    golden = case([1.0, 0.0, 0.0, 1.0], {"measure": "cosine", "limit": 0.01}, shape=[2, 2])

    assert (differences(golden, actual(data, shape=[2, 2])) == []) is near


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "output 'y' is missing"),
        (actual([1.0], shape=[1]), r"is FP32 [1], not FP32 [2]"),
        (actual([1.0, 2.0], datatype="FP64"), r"is FP64 [2], not FP32 [2]"),
    ],
)
def test_another_form_is_a_difference_whatever_the_values(answer, words):
    golden = case([1.0, 2.0], {"measure": "absolute", "limit": 9.0})

    (difference,) = differences(golden, answer)

    assert words in difference


def test_a_golden_file_is_an_example_and_further_cases(tmp_path):
    one = case([1.0], {"measure": "equal"}).model_dump()
    path = tmp_path / "golden.json"
    path.write_text(json.dumps({**one, "made_by": "hand", "cases": [{**one, "name": "more"}]}))

    assert [found.name for found in read_cases(path)] == ["a case", "more"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "Invalid JSON"), ("{}", "name: Field required"), ('{"nmae": 1}', "Field required")],
)
def test_a_file_that_is_no_golden_file_is_refused_with_the_place(tmp_path, text, words):
    path = tmp_path / "golden.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(GoldenFileError, match=words):
        read_cases(path)


def test_an_expected_output_without_a_tolerance_is_refused(tmp_path):
    one = case([1.0], {"measure": "equal"}).model_dump()
    path = tmp_path / "golden.json"
    path.write_text(json.dumps({**one, "made_by": "hand", "tolerance": {}}), encoding="utf-8")

    with pytest.raises(GoldenFileError, match="no tolerance for output 'y'"):
        read_cases(path)
