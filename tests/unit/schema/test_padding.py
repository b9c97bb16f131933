"""Which fillers a declaration may have."""

from __future__ import annotations

import re

import pytest

from shared.schema.padding import holds, padding_fault
from shared.schema.spec import TensorDeclaration

INPUTS = [
    TensorDeclaration(name="ids", datatype="INT64", shape=(-1, -1)),
    TensorDeclaration(name="words", datatype="BYTES", shape=(-1, -1)),
    TensorDeclaration(name="picture", datatype="UINT8", shape=(-1, 3, 32)),
    TensorDeclaration(name="fixed", datatype="INT64", shape=()),
]


@pytest.mark.parametrize(
    ("pad", "words"),
    [
        ({"id": 0}, "no input 'id'; its inputs are 'ids', 'words'"),
        ({"words": 0}, "'words' is BYTES"),
        ({"picture": 0}, r"shape \[-1, 3, 32\]: no dimension behind the first"),
        ({"fixed": 0}, "no dimension behind the first"),
        ({"ids": 0.5}, "'ids' is INT64, which cannot hold the filler 0.5"),
    ],
)
def test_what_cannot_be_padded_is_refused_with_the_reason(pad, words):
    fault = padding_fault(pad, INPUTS)

    assert fault is not None
    assert re.search(words, fault)


def test_a_filler_that_fits_is_fine():
    assert padding_fault({"ids": -100}, INPUTS) is None


@pytest.mark.parametrize(
    ("datatype", "low", "high"),
    [("UINT8", 0, 255), ("INT8", -128, 127), ("INT64", -(2**63), 2**63 - 1), ("BOOL", 0, 1)],
)
def test_an_integer_type_holds_whole_numbers_of_its_range(datatype, low, high):
    assert holds(datatype, low)
    assert holds(datatype, high)
    assert not holds(datatype, low - 1)
    assert not holds(datatype, high + 1)
    assert not holds(datatype, 0.5)
    assert holds(datatype, 1.0)


@pytest.mark.parametrize(
    ("datatype", "most"), [("FP16", 65504), ("BF16", 3.3e38), ("FP32", 3.4e38)]
)
def test_a_float_type_holds_what_is_finite_in_it(datatype, most):
    assert holds(datatype, -most)
    assert holds(datatype, 0.1)
    assert not holds(datatype, most * 1.5)
