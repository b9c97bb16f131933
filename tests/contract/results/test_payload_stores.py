"""What every store of payloads must do, and the claim check on top of it."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import boto3
import orjson
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.errors import InternalError, NotFoundError, StoreUnavailableError, TooLargeError
from shared.limits import JOB_INLINE_BYTES_MAX
from shared.results.payloads import (
    MemoryPayloadStore,
    claim_check,
    load,
    parse_uri,
)
from shared.results.rows import Payload
from shared.results.s3 import S3PayloadStore

BIG = bytes(range(256)) * 65


@pytest.fixture(scope="module")
def s3():
    with mock_aws():
        client = make_client("s3", session=boto3.Session(region_name="us-east-1"))
        client.create_bucket(Bucket="contract-payloads")
        client.create_bucket(Bucket="elsewhere")
        yield client


@pytest.fixture(params=["memory", "s3"])
def payloads(request):
    if request.param == "memory":
        return MemoryPayloadStore(bucket="contract-payloads")
    return S3PayloadStore(request.getfixturevalue("s3"), bucket="contract-payloads")


def put(payloads, key, data):
    payloads.put(key, data, content_type="application/octet-stream")


def test_an_object_is_read_as_it_was_written(payloads):
    put(payloads, "inputs/acme/1", BIG)
    assert payloads.get("inputs/acme/1", max_bytes=len(BIG)) == BIG


def test_an_object_is_found_by_its_uri_too(payloads):
    put(payloads, "inputs/acme/2", b"x")
    assert payloads.get("s3://contract-payloads/inputs/acme/2", max_bytes=1) == b"x"


def test_an_object_of_another_bucket_is_written_and_read_by_its_uri(payloads):
    put(payloads, "s3://elsewhere/a/b c.json", b"{}")
    assert payloads.get("s3://elsewhere/a/b c.json", max_bytes=9) == b"{}"


def test_an_object_past_the_readers_limit_is_not_read(payloads):
    put(payloads, "inputs/acme/3", BIG)
    with pytest.raises(TooLargeError, match=r"inputs/acme/3 has 16640 bytes; at most 16639"):
        payloads.get("inputs/acme/3", max_bytes=len(BIG) - 1)


@pytest.mark.parametrize("place", ["inputs/acme/none", "s3://elsewhere/none"])
def test_a_missing_object_is_not_found(payloads, place):
    with pytest.raises(NotFoundError, match="none"):
        payloads.get(place, max_bytes=1)


def test_a_deleted_object_is_not_found_and_may_be_deleted_again(payloads):
    put(payloads, "inputs/acme/4", b"x")
    payloads.delete("inputs/acme/4")
    payloads.delete("inputs/acme/4")
    with pytest.raises(NotFoundError):
        payloads.get("inputs/acme/4", max_bytes=1)


def test_an_object_is_copied_to_a_uri(payloads):
    put(payloads, "results/acme/1/1", b"result")
    payloads.copy_to("results/acme/1/1", "s3://elsewhere/out/1")
    assert payloads.get("s3://elsewhere/out/1", max_bytes=9) == b"result"


def test_a_missing_object_is_not_copied(payloads):
    with pytest.raises(NotFoundError):
        payloads.copy_to("results/acme/none", "s3://elsewhere/out/2")


def test_the_place_for_an_upload_names_its_key(payloads):
    upload = payloads.presign_upload("uploads/acme/u1", max_bytes=1000, expires_s=60)
    assert upload.fields["key"] == "uploads/acme/u1"


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/", "https://x/y", "a/b"])
def test_what_is_no_uri_of_an_object_is_refused(uri):
    with pytest.raises(ValueError, match="s3://bucket/key"):
        parse_uri(uri)


@pytest.mark.parametrize("size", [0, 1, JOB_INLINE_BYTES_MAX])
def test_a_small_payload_stays_inline(payloads, size):
    data = b"x" * size
    payload = claim_check(payloads, data, key="inputs/acme/5", header_length=0)
    assert payload == Payload(
        size_bytes=size,
        sha256=hashlib.sha256(data).hexdigest(),
        inline=data,
        header_length=0,
    )
    assert load(payloads, payload) == data


def test_a_large_payload_is_written_before_it_is_named(payloads):
    data = b"x" * (JOB_INLINE_BYTES_MAX + 1)
    payload = claim_check(payloads, data, key="inputs/acme/6", content_type="application/json")
    assert payload.inline is None
    assert payload.s3_key.startswith("inputs/acme/6/")
    assert load(payloads, payload) == data


def test_two_payloads_under_one_id_do_not_meet(payloads):
    first = claim_check(payloads, BIG, key="inputs/acme/7")
    second = claim_check(payloads, BIG[::-1], key="inputs/acme/7")
    assert load(payloads, first) == BIG
    assert load(payloads, second) == BIG[::-1]


def test_a_payload_that_was_changed_is_not_loaded(payloads):
    payload = claim_check(payloads, BIG, key="inputs/acme/8")
    put(payloads, payload.s3_key, BIG[::-1])
    with pytest.raises(InternalError, match="SHA-256"):
        load(payloads, payload)


def test_a_payload_that_was_cut_is_not_loaded(payloads):
    payload = claim_check(payloads, BIG, key="inputs/acme/9")
    put(payloads, payload.s3_key, BIG[:-1])
    with pytest.raises(InternalError, match="16639 bytes, 16640 were written"):
        load(payloads, payload)


def test_an_object_that_a_caller_named_is_loaded_as_it_is(payloads):
    put(payloads, "s3://elsewhere/in.json", b"anything")
    named = Payload(size_bytes=0, sha256="", s3_key="s3://elsewhere/in.json")
    assert load(payloads, named) == b"anything"
    with pytest.raises(TooLargeError):
        load(payloads, named, max_bytes=3)


def test_a_payload_that_is_nowhere_is_a_defect(payloads):
    payload = claim_check(payloads, b"x", key="k")
    with pytest.raises(InternalError, match="neither"):
        load(payloads, replace(payload, inline=None))


def test_urls_are_signed_with_version_four(s3):
    store = S3PayloadStore(s3, bucket="contract-payloads")
    store.put("results/acme/url", b"result", content_type="text/plain")
    url = store.presign_get("results/acme/url", expires_s=90)
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["90"]


def test_an_upload_is_bound_to_its_key_and_size(s3):
    upload = S3PayloadStore(s3, bucket="contract-payloads").presign_upload(
        "uploads/acme/u2", max_bytes=1000, expires_s=60
    )
    policy = orjson.loads(b64decode(upload.fields["policy"]))
    assert ["content-length-range", 0, 1000] in policy["conditions"]
    assert {"key": "uploads/acme/u2"} in policy["conditions"]
    assert upload.fields["x-amz-algorithm"] == "AWS4-HMAC-SHA256"


def test_our_own_bucket_being_away_is_not_the_callers_fault(s3):
    store = S3PayloadStore(s3, bucket="no-such-bucket")
    with pytest.raises(StoreUnavailableError, match="NoSuchBucket"):
        store.put("inputs/acme/1", b"x", content_type="text/plain")
