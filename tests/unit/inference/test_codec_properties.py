"""Whatever comes: arrays that say the same, or a refusal in the caller's terms."""

from __future__ import annotations

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.catalog import TensorSpec
from shared.errors import LanewayError
from shared.inference.codec import InputCodec
from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.encoder import Answer, Heading, Wanted, encode
from shared.inference.layout import objects
from shared.schema.datatypes import DATATYPE_NAMES, DATATYPES
from shared.schema.request import InferenceRequest
from shared.schema.wire import parse_json, split_tail

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON_DATATYPES = [name for name in DATATYPE_NAMES if DATATYPES[name].json]


@st.composite
def tensors(draw, datatypes):
    """A datatype and an array of it, with finite numbers."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        count = int(np.prod(shape))
        return datatype, objects(draw(st.lists(TEXT, min_size=count, max_size=count)), shape)
    dtype = ARRAY_TYPES[datatype].dtype
    values = arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array = draw(arrays.arrays(dtype, shape, elements=values))
    return datatype, np.where((array & 0x7F80) == 0x7F80, 0, array).astype(
        dtype
    ) if datatype == "BF16" else array


def written(datatype, array, *, is_binary):
    spec = TensorSpec("x", datatype, (-1,) * array.ndim)
    heading = Heading("m", "1", allow_non_finite=False)
    return spec, encode(
        Answer(heading, None, [Wanted(spec, binary=is_binary, place=0)], [array], 0.0)
    )


def read_again(spec, header, tails):
    """An answer's output, sent back as an input."""
    request = InferenceRequest.model_validate({"inputs": parse_json(header)["outputs"]})
    [part] = split_tail(request.inputs, memoryview(b"".join(tails)))
    codec = InputCodec(spec, text=True, allow_non_finite=False)
    return codec.decode(request.inputs[0], part, 0)


def assert_same(found, array):
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


@given(tensors(DATATYPE_NAMES))
def test_every_datatype_survives_the_binary_form(drawn):
    datatype, array = drawn
    spec, (header, tails) = written(datatype, array, is_binary=True)

    assert_same(read_again(spec, header, tails), array)


@given(tensors(JSON_DATATYPES))
def test_every_datatype_with_a_json_form_survives_it(drawn):
    datatype, array = drawn
    spec, (header, tails) = written(datatype, array, is_binary=False)

    assert tails == []
    assert_same(read_again(spec, header, tails), array)


@given(tensors(JSON_DATATYPES))
def test_nested_data_reads_as_the_flat_data_does(drawn):
    datatype, array = drawn
    member = {"name": "x", "datatype": datatype, "shape": array.shape, "data": array.tolist()}
    request = InferenceRequest.model_validate({"inputs": [member]})
    spec = TensorSpec("x", datatype, (-1,) * array.ndim)

    found = InputCodec(spec, text=True, allow_non_finite=False).decode(request.inputs[0], None, 0)

    assert_same(found, array)


def outcome(call, *arguments):
    """The array, or the refusal; anything else that is raised fails the test."""
    try:
        return call(*arguments), None
    except LanewayError as error:
        return None, error


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=12,
)
SPECS = st.builds(
    TensorSpec,
    st.just("x"),
    st.sampled_from(DATATYPE_NAMES),
    st.lists(st.integers(-1, 3), max_size=3).map(tuple),
)
DIMENSIONS = st.integers(0, 4) | st.integers(0, 2**63 - 1)


@settings(max_examples=400)
@given(
    spec=SPECS,
    shape=st.lists(DIMENSIONS, max_size=4),
    data=JSON,
    text=st.booleans(),
    allow=st.booleans(),
)
def test_any_json_is_an_array_of_the_signature_or_refused(*, spec, shape, data, text, allow):
    member = {"name": "x", "datatype": spec.datatype, "shape": shape, "data": data}
    codec = InputCodec(spec, text=text, allow_non_finite=allow)
    request = InferenceRequest.model_validate({"inputs": [member]})

    array, error = outcome(codec.decode, request.inputs[0], None, 0)

    if error is None:
        assert array.shape == tuple(shape)
        assert array.dtype == ARRAY_TYPES[spec.datatype].dtype
    else:
        assert error.status == 400
        assert error.field.startswith("inputs[0]")
        assert orjson.loads(orjson.dumps(error.body()))["error"] == error.message


@settings(max_examples=300)
@given(
    spec=SPECS,
    shape=st.lists(DIMENSIONS, max_size=3),
    part=st.binary(max_size=64),
    text=st.booleans(),
)
def test_any_bytes_are_an_array_of_the_signature_or_refused(*, spec, shape, part, text):
    parameters = {"binary_data_size": len(part)}
    member = {"name": "x", "datatype": spec.datatype, "shape": shape, "parameters": parameters}
    codec = InputCodec(spec, text=text, allow_non_finite=False)
    request = InferenceRequest.model_validate({"inputs": [member]})

    for array, error in (
        outcome(codec.decode, request.inputs[0], memoryview(part), 0),
        outcome(codec.decode_raw, memoryview(part)),
    ):
        if error is None:
            assert array.dtype == ARRAY_TYPES[spec.datatype].dtype
        else:
            assert error.status == 400
