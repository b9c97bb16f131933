"""Tensors keep their values, bit for bit, through every form that the client has of them."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cli.client import InputError, ProtocolError, Tensor
from cli.client.tensors import FIXED, from_array

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@pytest.mark.parametrize("datatype", FIXED)
@given(data=st.data())
def test_an_array_of_any_shape_comes_back_bit_for_bit(datatype, data):
    array = data.draw(arrays.arrays(FIXED[datatype][1], SHAPES))

    tensor = from_array(array)

    assert tensor.datatype == datatype
    assert tensor.shape == array.shape
    assert tensor.numpy().dtype == array.dtype
    assert tensor.numpy().tobytes() == array.tobytes()


@pytest.mark.parametrize("datatype", FIXED)
@given(data=st.data())
def test_lists_and_arrays_of_the_same_values_are_the_same_tensor(datatype, data):
    elements = {"allow_nan": False} if datatype.startswith("FP") else {}
    array = data.draw(arrays.arrays(FIXED[datatype][1], SHAPES, elements=elements or None))
    if 0 in array.shape[:-1]:
        return  # lists cannot tell the sizes behind an empty axis

    listed = Tensor.of(datatype, array.tolist())

    assert listed.shape == array.shape
    assert listed.packed() == array.tobytes()
    assert from_array(array).tolist() == array.tolist()


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_bytes_elements_of_any_content_come_back(elements):
    packed = Tensor("BYTES", (len(elements),), elements).packed()

    assert Tensor("BYTES", (len(elements),), packed).tolist() == elements


def test_bf16_is_read_without_ml_dtypes_and_written_with_it():
    array = np.array([[1.5, -2.0, 3.140625]], dtype=ml_dtypes.bfloat16)

    tensor = from_array(array)

    assert (tensor.datatype, tensor.tolist()) == ("BF16", [[1.5, -2.0, 3.140625]])
    assert tensor.numpy().tobytes() == array.tobytes()
    with pytest.raises(InputError, match="numpy array"):
        Tensor.of("BF16", [1.5]).packed()


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("UINT8", 256), ("INT64", 2**63), ("INT32", "one"), ("BYTES", 7), ("BOOL", "no")],
)
def test_a_value_that_does_not_fit_its_datatype_is_refused(datatype, value):
    with pytest.raises(InputError):
        Tensor.of(datatype, [value]).packed()


@pytest.mark.parametrize("packed", [b"\x05\x00\x00\x00hi", b"\x01"])
def test_bytes_that_end_inside_an_element_are_a_protocol_error(packed):
    with pytest.raises(ProtocolError):
        Tensor("BYTES", (1,), packed).flat()


def test_a_shape_that_disagrees_with_the_values_is_a_protocol_error():
    with pytest.raises(ProtocolError, match="3 values"):
        Tensor("FP32", (2, 2), [1.0, 2.0, 3.0]).tolist()
