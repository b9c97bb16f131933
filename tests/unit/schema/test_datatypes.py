"""The table of datatypes agrees with numpy and with ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from shared.schema.datatypes import BY_ONNX_TYPE, DATATYPE_NAMES, DATATYPES


def test_the_table_has_a_row_for_every_datatype():
    assert tuple(DATATYPES) == DATATYPE_NAMES
    assert [info.name for info in DATATYPES.values()] == list(DATATYPE_NAMES)
    assert len(BY_ONNX_TYPE) == len(DATATYPES)


@pytest.mark.parametrize("name", [name for name in DATATYPE_NAMES if name not in {"BF16", "BYTES"}])
def test_an_element_has_the_size_and_type_that_numpy_and_onnx_give_it(name):
    numpy_name = name.lower().replace("fp", "float")
    dtype = np.dtype(numpy_name)
    onnx_type = helper.np_dtype_to_tensor_dtype(dtype)

    assert DATATYPES[name].size_bytes == dtype.itemsize
    assert BY_ONNX_TYPE[f"tensor({TensorProto.DataType.Name(onnx_type).lower()})"].name == name


def test_the_two_halves_travel_in_binary_only():
    assert [name for name, info in DATATYPES.items() if not info.json] == ["FP16", "BF16"]


def test_bytes_has_no_element_size_and_is_a_string_elsewhere():
    assert DATATYPES["BYTES"].size_bytes is None
    assert BY_ONNX_TYPE["tensor(string)"].name == "BYTES"
