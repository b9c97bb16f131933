"""Input tensors: what is read, what is refused, and with which words."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from shared.catalog import TensorSpec
from shared.errors import InvalidRequestError, NonFiniteInputError, SignatureError
from shared.inference.codec import InputCodec
from shared.schema.request import InferenceRequest
from tests.unit.inference.serving import binary, tensor

OPEN = (-1,)


def codec(datatype="FP32", shape=OPEN, *, text=False, allow_non_finite=False):
    spec = TensorSpec("x", datatype, tuple(shape))
    return InputCodec(spec, text=text, allow_non_finite=allow_non_finite)


def decode(of, member, part=None):
    request = InferenceRequest.model_validate({"inputs": [member]})
    return of.decode(request.inputs[0], None if part is None else memoryview(part), 0)


def test_flat_and_nested_data_are_the_same_tensor():
    flat = decode(codec(shape=(-1, 2, 2)), tensor([1, 2, 3, 4.5], [1, 2, 2]))
    nested = decode(codec(shape=(-1, 2, 2)), tensor([[[1, 2], [3, 4.5]]], [1, 2, 2]))

    assert flat.dtype == np.float32
    assert flat.shape == (1, 2, 2)
    assert np.array_equal(flat, nested)


def test_a_scalar_comes_as_a_list_of_one_or_bare():
    assert decode(codec(shape=()), tensor([2.5], [])).shape == ()
    assert decode(codec(shape=()), tensor(2.5, [])) == 2.5


@pytest.mark.parametrize("shape", [[0], [0, 3], [3, 0]])
def test_a_tensor_without_elements_keeps_its_shape(shape):
    of = codec(shape=(-1,) * len(shape))

    assert decode(
        of, tensor([], shape) if shape[0] == 0 else tensor([[]] * 3, shape)
    ).shape == tuple(shape)
    assert decode(of, binary(0, shape), b"").shape == tuple(shape)


def test_an_aligned_binary_tensor_shares_the_memory_of_the_body():
    body = np.arange(4, dtype=np.float32).tobytes()

    array = decode(codec(), binary(16, [4]), body)

    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert array.tolist() == [0, 1, 2, 3]


def test_a_binary_tensor_at_an_odd_offset_is_aligned_by_one_copy():
    body = b"{}{" + np.arange(4, dtype=np.float32).tobytes()

    array = decode(codec(), binary(16, [4]), memoryview(body)[3:])

    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


def test_64_bit_integers_are_exact():
    large = [2**64 - 1, 2**63, 2**53 + 1]

    assert decode(codec("UINT64"), tensor(large, [3], "UINT64")).tolist() == large
    assert decode(codec("INT64"), tensor([-(2**63), 2**63 - 1], [2], "INT64")).tolist() == [
        -(2**63),
        2**63 - 1,
    ]


def test_text_keeps_its_trailing_nul_and_its_accents():
    words = ["a\0", "é", ""]

    as_text = decode(codec("BYTES", text=True), tensor(words, [3], "BYTES"))
    as_bytes = decode(codec("BYTES"), tensor(words, [3], "BYTES"))

    assert as_text.tolist() == words
    assert as_bytes.tolist() == [word.encode() for word in words]


def test_binary_bytes_that_are_not_utf_8_reach_a_transform_but_no_graph():
    body = struct.pack("<I", 2) + b"\xff\xfe"

    assert decode(codec("BYTES"), binary(6, [1], "BYTES"), body).tolist() == [b"\xff\xfe"]
    with pytest.raises(SignatureError, match=r"element 0 is not UTF-8 at byte 0"):
        decode(codec("BYTES", text=True), binary(6, [1], "BYTES"), body)


REFUSED = [
    ("FP32", tensor([1.0, None], [2]), "element 1 is null", "data"),
    ("FP32", tensor(["1.5"], [1]), "element 0 is a string", "data"),
    ("FP32", tensor([True, False], [2]), "element 0 is a boolean", "data"),
    ("FP32", tensor([1.0, {}], [2]), "element 1 is an object", "data"),
    ("FP32", tensor([1.0, [2.0]], [2]), "element 1 is an array", "data"),
    ("FP32", tensor([1.0, 1e300], [2]), "element 1 is 1e+300, too large", "data"),
    ("FP32", tensor([10**400], [1]), "too large for FP32", "data"),
    ("FP32", tensor([1.0], [2]), "which is 2 elements, but its data has 1", "data"),
    ("FP32", tensor("ab", [2]), "data is a string", "data"),
    ("FP32", tensor({"a": 1}, [1]), "data is an object", "data"),
    ("INT32", tensor([1.0], [1], "INT32"), "element 0 is 1.0", "data"),
    ("INT32", tensor([2**31], [1], "INT32"), "element 0 is 2147483648; INT32 holds", "data"),
    ("UINT8", tensor([3, 256], [2], "UINT8"), "element 1 is 256; UINT8 holds 0 to 255", "data"),
    ("UINT64", tensor([-1], [1], "UINT64"), "UINT64 holds 0 to 18446744073709551615", "data"),
    ("BOOL", tensor([True, 1], [2], "BOOL"), "element 1 is an integer; BOOL takes", "data"),
    ("BYTES", tensor(["a", 1], [2], "BYTES"), "element 1 is an integer; BYTES takes", "data"),
    ("BYTES", tensor(["\ud800"], [1], "BYTES"), "lone surrogate", "data"),
    ("FP16", tensor([1.0], [1], "FP16"), "FP16 travels as binary data only", "data"),
    ("BF16", tensor([1.0], [1], "BF16"), "BF16 travels as binary data only", "data"),
    ("FP32", tensor([1], [1], "INT64"), "came as INT64; the model takes FP32", "datatype"),
    ("FP32", tensor([1], [1, 1]), "has 2 dimensions, shape [1, 1]", "shape"),
    ("FP32", tensor([1], [2**62]), "a tensor of its datatype may have", "shape"),
    ("FP32", tensor([], [0]) | {"datatype": "FP64"}, "came as FP64", "datatype"),
]


@pytest.mark.parametrize(("datatype", "member", "words", "field"), REFUSED)
def test_what_does_not_fit_is_refused_with_the_fact(datatype, member, words, field):
    with pytest.raises(SignatureError) as refused:
        decode(codec(datatype), member)

    assert words in refused.value.message
    assert refused.value.field == f"inputs[0].{field}"
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([[1, 2], [3]], r"data\[1\] is an array of 1, but the shape asks for an array of 2"),
        ([[1, 2], 3], r"data\[1\] is an integer"),
        ([[1, 2]], r"data is an array of 1, but the shape asks for an array of 2"),
        ([[[1, 2]], [[3, 4]]], r"data\[0\] is an array of 1"),
        (
            [[[1], 2], [3, 4]],
            r"data\[0\]\[0\] is an array of 1, but the shape asks for a plain value",
        ),
    ],
)
def test_ragged_data_is_refused_at_its_place(data, words):
    with pytest.raises(SignatureError, match=words):
        decode(codec(shape=(-1, 2)), tensor(data, [2, 2]))


def test_a_shape_of_nothing_with_an_absurd_dimension_is_refused():
    with pytest.raises(SignatureError, match="may have"):
        decode(codec(shape=(-1, -1)), binary(0, [0, 2**62]), b"")


def test_a_negative_dimension_is_refused_whoever_let_it_pass():
    class Unchecked:
        name, datatype, shape, parameters, data = "x", "FP32", (-1,), None, []

    with pytest.raises(SignatureError, match="dimension 0 is -1, the model takes any size from 0"):
        codec().decode(Unchecked(), None, 0)


def test_a_fixed_dimension_of_another_size_is_refused():
    with pytest.raises(SignatureError, match="dimension 1 is 3, the model takes 4 there"):
        decode(codec(shape=(-1, 4)), tensor([1, 2, 3], [1, 3]))


@pytest.mark.parametrize("size_bytes", [0, 15, 17])
def test_binary_data_of_another_size_is_refused(size_bytes):
    with pytest.raises(SignatureError, match=rf"16 bytes of its datatype, but {size_bytes} came"):
        decode(codec(), binary(size_bytes, [4]), bytes(size_bytes))


def test_a_binary_boolean_is_zero_or_one():
    assert decode(codec("BOOL"), binary(2, [2], "BOOL"), b"\0\1").tolist() == [False, True]
    with pytest.raises(SignatureError, match="0 or 1"):
        decode(codec("BOOL"), binary(2, [2], "BOOL"), b"\0\2")


@pytest.mark.parametrize(
    "body",
    [b"", b"\1\0\0", struct.pack("<I", 9) + b"abc", struct.pack("<I", 1) + b"ab", b"\xff" * 8],
)
def test_binary_elements_that_do_not_add_up_are_refused(body):
    with pytest.raises(SignatureError, match="1 elements, each a 4-byte length"):
        decode(codec("BYTES"), binary(len(body), [1], "BYTES"), body)


def test_nan_is_refused_with_its_place():
    with pytest.raises(NonFiniteInputError, match="element 2 is not a finite number"):
        decode(codec(), tensor([1.0, 2.0, float("nan")], [3]))


def test_a_single_nan_is_found_in_a_large_tensor():
    data = np.ones(100_000, np.float32)
    data[77_777] = np.inf

    with pytest.raises(NonFiniteInputError, match="element 77777 "):
        decode(codec(), binary(400_000, [100_000]), data.tobytes())


@pytest.mark.parametrize(
    ("datatype", "bits"),
    [("FP16", "<u2"), ("BF16", "<u2"), ("FP32", "<u4"), ("FP64", "<u8")],
)
def test_infinities_are_found_in_every_floating_datatype(datatype, bits):
    exponent = {"FP16": 0x7C00, "BF16": 0x7F80, "FP32": 0x7F800000, "FP64": 0x7FF << 52}[datatype]
    body = np.array([0, 0x1234, exponent], bits).tobytes()

    with pytest.raises(NonFiniteInputError, match="element 2"):
        decode(codec(datatype), binary(len(body), [3], datatype), body)
    allowed = decode(codec(datatype, allow_non_finite=True), binary(len(body), [3], datatype), body)
    assert allowed.tobytes() == body


def test_values_whose_squares_and_sums_overflow_are_finite_all_the_same():
    large = [3e38] * 5_000

    assert decode(codec(), tensor(large, [5_000])).shape == (5_000,)
    assert decode(codec("FP64"), tensor([1.7e308] * 5, [5], "FP64")).shape == (5,)
    assert decode(codec(), binary(12, [3]), np.full(3, 3e38, "<f4").tobytes()).shape == (3,)


def test_a_model_that_allows_infinities_gets_them_but_no_overflow():
    of = codec(allow_non_finite=True)

    assert np.isnan(decode(of, tensor([1.0, float("nan")], [2]))[1])
    with pytest.raises(SignatureError, match=r"element 1 is 1e\+39, too large"):
        decode(of, tensor([float("inf"), 1e39], [2]))


@pytest.mark.parametrize(
    ("shape", "size_bytes", "found"),
    [
        ((-1,), 12, (3,)),
        ((-1, 4), 16, (1, 4)),
        ((-1, 4), 32, (2, 4)),
        ((-1, -1), 12, (1, 3)),
        ((-1, 2, -1), 24, (1, 2, 3)),
        ((2, 2), 16, (2, 2)),
        ((), 4, ()),
    ],
)
def test_a_raw_body_gets_the_shape_that_its_size_says(shape, size_bytes, found):
    assert codec(shape=shape).decode_raw(memoryview(bytes(size_bytes))).shape == found


def test_a_raw_body_of_bytes_is_one_element():
    array = codec("BYTES", shape=(-1, 1)).decode_raw(memoryview(b"a text"))

    assert array.tolist() == [[b"a text"]]


@pytest.mark.parametrize(
    ("datatype", "shape", "size_bytes", "error"),
    [
        ("FP32", (-1, -1, -1), 12, InvalidRequestError),
        ("FP32", (2, -1, -1), 12, InvalidRequestError),
        ("BYTES", (-1, 2), 12, InvalidRequestError),
        ("FP32", (-1, 4), 15, SignatureError),
        ("FP32", (2, 2), 12, SignatureError),
    ],
)
def test_a_raw_body_that_fits_no_shape_is_refused(datatype, shape, size_bytes, error):
    with pytest.raises(error):
        codec(datatype, shape=shape).decode_raw(memoryview(bytes(size_bytes)))


@pytest.mark.parametrize(
    ("shape", "size_bytes", "facts"),
    [
        ((-1, 30), 100, "each row takes 120, so send 120, 240, 360 and so on"),
        ((-1, -1, 3), 13, "each step of dimension 1 takes 12, so send 12, 24, 36 and so on"),
        ((-1, 0), 4, "each row takes 0, so send 0"),
        ((2, 2), 12, "it takes 16 bytes"),
    ],
)
def test_a_raw_body_of_a_wrong_size_is_told_what_sizes_would_do(shape, size_bytes, facts):
    with pytest.raises(SignatureError) as caught:
        codec(shape=shape).decode_raw(memoryview(bytes(size_bytes)))

    assert f"the raw body has {size_bytes} bytes" in caught.value.message
    assert caught.value.message.endswith(facts)
    assert caught.value.field == "body"
