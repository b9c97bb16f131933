"""Raw binary requests stand for the ordinary form, with the shape that the bytes imply."""

from __future__ import annotations

import pytest

from shared.catalog import TensorSpec
from shared.errors import SignatureError
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.schema.raw import raw_request
from shared.schema.wire import split_tail, wants_binary

VALIDATORS = load_validators(export_validators())


def declared(shape, datatype="FP32"):
    return TensorSpec(name="x", datatype=datatype, shape=tuple(shape))


@pytest.mark.parametrize(
    ("shape", "body_bytes", "expected"),
    [
        ((1, 4), 16, (1, 4)),
        ((-1, 4), 48, (3, 4)),
        ((-1, 4), 0, (0, 4)),
        ((2, -1), 16, (2, 2)),
        ((-1, -1), 12, (1, 3)),
        ((-1, 3, -1), 24, (1, 3, 2)),
        ((), 4, ()),
        ((-1, 0), 0, (0, 0)),
    ],
)
def test_the_shape_follows_from_the_number_of_bytes(shape, body_bytes, expected):
    body, tail = raw_request([declared(shape)], memoryview(bytes(body_bytes)))

    request = VALIDATORS.inference_request(body)

    assert request.inputs[0].shape == expected
    assert split_tail(request.inputs, tail) == [tail]
    assert wants_binary(request)


def test_a_bytes_input_takes_the_whole_body_as_its_one_element():
    body, tail = raw_request([declared((-1,), "BYTES")], memoryview(b"\xff\xd8jpeg"))

    assert body["inputs"][0]["shape"] == [1]
    assert bytes(tail) == b"\x06\x00\x00\x00\xff\xd8jpeg"
    assert body["inputs"][0]["parameters"] == {"binary_data_size": 10}


@pytest.mark.parametrize(
    ("inputs", "fact"),
    [
        ([], "one input"),
        ([declared((1,)), declared((1,))], "this one has 2"),
        ([declared((1, 4))], "takes 16 bytes; 15 came"),
        ([declared((-1, 4))], "a multiple of 16 bytes; 15 came"),
        ([declared((-1, 0))], "a multiple of 0 bytes; 15 came"),
        ([declared((3, -1, -1))], "does not follow"),
        ([declared((-1, -1, -1))], "does not follow"),
        ([declared((2,), "BYTES")], "takes 2"),
    ],
)
def test_a_body_that_fits_no_shape_is_refused(inputs, fact):
    with pytest.raises(SignatureError, match=fact):
        raw_request(inputs, memoryview(bytes(15)))
