"""Framing: what bytes are a request, what is refused and why, and how an answer is put together."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    CallerError,
    InvalidRequestError,
    MalformedBodyError,
    MediaTypeError,
    TooLargeError,
)
from shared.limits import COMPRESS_ANSWER_FROM_BYTES
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.schema.wire import (
    JSON_BYTES_MAX,
    Answer,
    compress,
    join_answer,
    open_body,
    parse_json,
    split_tail,
    wants_binary,
)
from tests.unit.schema.bodies import nearly_valid_bodies

VALIDATORS = load_validators(export_validators())
CAP = 10_000
ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress}


def request(*inputs, **members):
    return VALIDATORS.inference_request({"inputs": list(inputs), **members})


def binary(name, size, **members):
    return {
        "name": name,
        "datatype": "UINT8",
        "shape": [1],
        "parameters": {"binary_data_size": size},
        **members,
    }


JSON_INPUT = {"name": "j", "datatype": "UINT8", "shape": [1], "data": [1]}


@contextlib.contextmanager
def refused_as_4xx_if_at_all():
    """Lets nothing but a refusal with a message pass for an outcome."""
    refusals = []
    try:
        yield
    except CallerError as error:
        refusals.append(error)
    assert all(400 <= error.status < 500 and error.message for error in refusals)


# --- opening ---


def test_a_body_without_a_header_length_is_json_as_a_whole():
    frame = open_body(b'{"a":1}')

    assert frame.json == b'{"a":1}'
    assert bytes(frame.tail) == b""
    assert not frame.raw


def test_a_header_length_cuts_the_body_without_copying_it():
    body = b'{"a":1}' + b"\x01\x02"

    frame = open_body(body, header_length="7")

    assert bytes(frame.json) == b'{"a":1}'
    assert bytes(frame.tail) == b"\x01\x02"
    assert frame.tail.obj is body


def test_a_header_length_of_the_whole_body_leaves_an_empty_tail():
    frame = open_body(b"{}", header_length=2)

    assert bytes(frame.json) == b"{}"
    assert len(frame.tail) == 0
    assert not frame.raw


def test_a_header_length_of_zero_is_a_raw_request():
    frame = open_body(b"\x01\x02", header_length="0")

    assert frame.raw
    assert bytes(frame.tail) == b"\x01\x02"


@pytest.mark.parametrize(
    "value", ["-1", "3", "1.0", "abc", "", "1_0", "+1", "0x1", "\u0663", "9" * 5000, "1,1"]
)
def test_a_header_length_that_is_no_length_of_the_body_is_refused(value):
    with pytest.raises(MalformedBodyError) as refused:
        open_body(b"{}", header_length=value)

    assert refused.value.field == "Inference-Header-Content-Length"


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_compressed_body_is_inflated_and_the_header_length_counts_inflated_bytes(encoding):
    head = b'{"a":"' + b"x" * 500 + b'"}'
    raw = ENCODERS[encoding](head + b"\x05\x06")
    assert len(raw) < len(head)

    frame = open_body(raw, content_encoding=encoding.upper(), header_length=len(head))

    assert bytes(frame.json) == head
    assert bytes(frame.tail) == b"\x05\x06"


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_identity_is_no_encoding(encoding):
    assert open_body(b"{}", content_encoding=encoding).json == b"{}"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, deflate", "compress"])
def test_an_encoding_that_is_not_supported_is_415_and_names_those_that_are(encoding):
    with pytest.raises(MediaTypeError, match="gzip, deflate"):
        open_body(b"{}", content_encoding=encoding)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_bomb_is_refused_before_it_unfolds(encoding):
    bomb = ENCODERS[encoding](bytes(64 * 1024 * 1024))

    tracemalloc.start()
    with pytest.raises(TooLargeError):
        open_body(bomb, content_encoding=encoding, max_decoded_bytes=CAP)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < 1024 * 1024


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_body_of_exactly_the_cap_is_taken(encoding):
    raw = ENCODERS[encoding](b" " * CAP)

    assert len(open_body(raw, content_encoding=encoding, max_decoded_bytes=CAP).json) == CAP
    with pytest.raises(TooLargeError):
        open_body(
            ENCODERS[encoding](b" " * (CAP + 1)), content_encoding=encoding, max_decoded_bytes=CAP
        )


def test_a_plain_body_past_the_cap_is_refused():
    with pytest.raises(TooLargeError, match=str(CAP)):
        open_body(b" " * (CAP + 1), max_decoded_bytes=CAP)


def test_a_json_part_that_would_fill_the_memory_once_parsed_is_refused_and_a_binary_one_is_not():
    body = b"[" * (JSON_BYTES_MAX + 1)

    with pytest.raises(TooLargeError, match="in binary"):
        parse_json(open_body(body).json)
    packed = open_body(gzip.compress(body, 1), content_encoding="gzip", header_length=len(body))
    with pytest.raises(TooLargeError, match="in binary"):
        parse_json(packed.json)
    assert len(open_body(body, header_length=2).tail) == JSON_BYTES_MAX - 1


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_truncated_or_continued_compressed_body_is_refused(encoding):
    whole = ENCODERS[encoding](b'{"a":1}' * 50)

    for broken in (whole[:-1], whole[:5], b"", whole + b"x", b"not compressed"):
        with pytest.raises(MalformedBodyError):
            open_body(broken, content_encoding=encoding)


@given(
    raw=st.binary(max_size=300),
    encoding=st.sampled_from([None, "gzip", "deflate", "identity", "br"]) | st.text(max_size=6),
    header_length=st.none() | st.integers(min_value=-3, max_value=400) | st.text(max_size=6),
    packed=st.booleans(),
)
def test_arbitrary_bodies_are_opened_or_refused_and_nothing_else(
    raw, encoding, header_length, packed
):
    if packed and encoding in ENCODERS:
        raw = ENCODERS[encoding](raw)
    with refused_as_4xx_if_at_all():
        frame = open_body(
            raw, content_encoding=encoding, header_length=header_length, max_decoded_bytes=200
        )
        body = VALIDATORS.inference_request(parse_json(frame.json))
        split_tail(body.inputs, frame.tail)


@given(head=st.binary(max_size=80), tails=st.lists(st.binary(max_size=40), max_size=4))
def test_what_is_joined_is_cut_into_the_same_parts(head, tails):
    answer = join_answer(head, tails)

    frame = open_body(
        answer.body, header_length=answer.headers.get("inference-header-content-length")
    )

    if tails:
        assert frame.raw == (head == b"")
    assert bytes(frame.json) == head
    sent = request(*(binary(str(i), len(tail)) for i, tail in enumerate(tails)), JSON_INPUT)
    parts = split_tail(sent.inputs, frame.tail)
    assert [bytes(part) for part in parts[:-1]] == tails
    assert parts[-1] is None


# --- JSON ---


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body_is_refused_as_empty(body):
    with pytest.raises(MalformedBodyError, match="empty"):
        parse_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}{}",
        b'{"a":1',
        b"\xff\xfe{}",
        b'{"a":"\xff"}',
        b'"\\ud800"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"[NaN" + b",[" * 100_000,
        b"[" * 5_000 + b"NaN" + b"]" * 5_000,
        b"[Nan]",
        b"[NaN,\xff]",
        b"[1e999]",
        b"\x00",
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_json_is_refused(body):
    with pytest.raises(MalformedBodyError, match="not valid JSON"):
        parse_json(body)


def test_bare_nan_and_infinity_are_read_as_the_protocols_clients_write_them():
    values = parse_json(b'{"data":[NaN,Infinity,-Infinity,1.5],"name":"NaN"}')

    assert math.isnan(values["data"][0])
    assert values["data"][1:] == [math.inf, -math.inf, 1.5]
    assert values["name"] == "NaN"


def test_the_json_part_of_a_binary_body_is_parsed_from_its_view():
    frame = open_body(b"[NaN]\x00", header_length=5)

    assert math.isnan(parse_json(frame.json)[0])


@given(nearly_valid_bodies())
def test_any_json_ends_as_a_request_or_as_a_refusal(body):
    raw = json.dumps(body).encode()
    with refused_as_4xx_if_at_all():
        assert VALIDATORS.inference_request(parse_json(raw)).inputs


# --- the tail ---


def test_the_tail_is_shared_out_in_the_order_of_the_binary_inputs():
    tail = memoryview(b"abcde")
    sent = request(binary("a", 2), JSON_INPUT, binary("b", 0), binary("c", 3))

    parts = split_tail(sent.inputs, tail)

    assert [None if part is None else bytes(part) for part in parts] == [b"ab", None, b"", b"cde"]
    assert all(part is None or part.obj is tail.obj for part in parts)


def test_too_few_bytes_are_refused_with_the_name_of_the_input_that_lacks_them():
    sent = request(binary("first", 2), binary("second", 3))

    with pytest.raises(InvalidRequestError) as refused:
        split_tail(sent.inputs, memoryview(b"abcd"))

    assert "'second' says binary_data_size 3, but 2 bytes are left" in refused.value.message
    assert refused.value.field == "inputs[1].parameters.binary_data_size"


def test_left_over_bytes_are_refused_with_their_number():
    with pytest.raises(InvalidRequestError, match=r"2 bytes are left over after .*'first'"):
        split_tail(request(binary("first", 2)).inputs, memoryview(b"abcd"))
    with pytest.raises(InvalidRequestError, match="4 bytes are left over and no input"):
        split_tail(request(JSON_INPUT).inputs, memoryview(b"abcd"))


@pytest.mark.parametrize(
    ("tensor", "fact"),
    [
        (binary("x", 1, data=[1]), "send one"),
        ({"name": "x", "datatype": "UINT8", "shape": [1]}, "neither data"),
        ({**JSON_INPUT, "parameters": {"shared_memory_region": "r"}}, "shared memory"),
        (binary("x", -1), "received -1"),
        (binary("x", size=True), "received true"),
        (binary("x", 1.0), "received 1.0"),
        (binary("x", "1"), 'received "1"'),
        (binary("x", 2**80), "bytes are left"),
    ],
)
def test_an_input_has_exactly_one_kind_of_data(tensor, fact):
    with pytest.raises(InvalidRequestError, match=fact) as refused:
        split_tail(request(tensor).inputs, memoryview(b"a"))

    assert str(refused.value.field).startswith("inputs[0]")


# --- the form of outputs ---


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [
        (None, None, False),
        (True, None, True),
        (False, None, False),
        (True, False, False),
        (False, True, True),
        (None, True, True),
    ],
)
def test_an_outputs_own_wish_goes_before_the_requests_default(default, own, expected):
    members = {} if default is None else {"parameters": {"binary_data_output": default}}
    output = {"name": "y"} if own is None else {"name": "y", "parameters": {"binary_data": own}}

    sent = request(JSON_INPUT, outputs=[output], **members)

    assert sent.outputs is not None
    assert wants_binary(sent, sent.outputs[0]) is expected
    assert wants_binary(sent) is bool(default)


def test_a_wish_that_is_not_true_or_false_is_refused():
    sent = request(JSON_INPUT, outputs=[{"name": "y", "parameters": {"binary_data": 1}}])

    assert sent.outputs is not None
    with pytest.raises(InvalidRequestError, match="true or false; received 1") as refused:
        wants_binary(sent, sent.outputs[0], 3)
    assert refused.value.field == "outputs[3].parameters.binary_data"
    with pytest.raises(InvalidRequestError, match=r"binary_data_output .* received \"yes\""):
        wants_binary(request(JSON_INPUT, parameters={"binary_data_output": "yes"}))


# --- answers ---


def test_an_answer_without_binary_outputs_is_json():
    assert join_answer(b"{}") == Answer(b"{}", {"content-type": "application/json"})


def test_an_answer_with_a_zero_size_binary_output_is_still_binary():
    answer = join_answer(b"{}", [b""])

    assert answer.body == b"{}"
    assert answer.headers == {
        "content-type": "application/octet-stream",
        "inference-header-content-length": "2",
    }


LARGE = b'{"a":"' + b"x" * COMPRESS_ANSWER_FROM_BYTES + b'"}'


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip;q=0.2, deflate;q=0.9", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("*", "gzip"),
        ("*;q=0.5, gzip;q=0", "deflate"),
        ("identity", None),
        ("gzip;q=high", None),
        ("gzip;q=nan", None),
        ("", None),
        (None, None),
    ],
)
def test_an_answer_is_compressed_only_as_the_caller_accepts(accept, encoding):
    answer = join_answer(LARGE, [b"\x00" * 10], accept_encoding=accept)

    assert answer.headers.get("content-encoding") == encoding
    decode = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[encoding]
    assert decode(answer.body) == LARGE + b"\x00" * 10
    assert answer.headers["inference-header-content-length"] == str(len(LARGE))


def test_a_small_answer_or_one_that_does_not_shrink_is_sent_as_it_is():
    small = Answer(b"{}", {})
    noise = Answer(random.Random(1).randbytes(4 * COMPRESS_ANSWER_FROM_BYTES), {})  # noqa: S311  noise, not a secret

    assert compress(small, "gzip") is small
    assert compress(noise, "gzip") is noise


@given(st.text(max_size=40))
def test_no_accept_encoding_header_can_break_an_answer(accept):
    assert compress(Answer(LARGE, {}), accept).headers.get("content-encoding") in {
        None,
        "gzip",
        "deflate",
    }
