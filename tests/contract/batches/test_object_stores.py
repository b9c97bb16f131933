"""What every store of large objects must do."""

from __future__ import annotations

from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.errors import ConflictError, InternalError, NotFoundError
from shared.limits import MIB
from shared.results.objects import PIECE_BYTES, MemoryObjectStore, Span
from shared.results.objects_s3 import S3ObjectStore

TYPE = "application/x-ndjson"


@pytest.fixture(scope="module")
def s3():
    with mock_aws():
        client = make_client("s3", session=boto3.Session(region_name="us-east-1"))
        client.create_bucket(Bucket="contract-objects")
        yield client


@pytest.fixture(params=["memory", "s3"])
def store(request):
    if request.param == "memory":
        return MemoryObjectStore()
    return S3ObjectStore(request.getfixturevalue("s3"), bucket="contract-objects")


@pytest.fixture
def key():
    return f"batches/{uuid4().hex}"


def whole(store, key, **given):
    return b"".join(store.read(key, **given))


def test_a_written_object_is_read_back_in_pieces(store, key):
    data = bytes(range(256)) * 8192
    store.put(key, data, content_type=TYPE)

    pieces = list(store.read(key))

    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert store.stat(key).size_bytes == len(data)


def test_a_range_is_read_and_no_more(store, key):
    store.put(key, b"0123456789", content_type=TYPE)

    assert whole(store, key, start=3, end=7) == b"3456"
    assert whole(store, key, start=8) == b"89"
    assert whole(store, key, start=10) == b""
    assert whole(store, key, start=12, end=20) == b""


def test_an_object_that_was_written_again_is_not_read_as_the_first(store, key):
    store.put(key, b"first", content_type=TYPE)
    etag = store.stat(key).etag
    assert whole(store, key, etag=etag) == b"first"

    store.put(key, b"second", content_type=TYPE)

    with pytest.raises(ConflictError, match="was changed"):
        whole(store, key, etag=etag)


def test_an_object_that_is_not_there_is_named(store, key):
    with pytest.raises(NotFoundError, match="no object"):
        store.stat(key)
    with pytest.raises(NotFoundError, match="no object"):
        whole(store, key)


@pytest.mark.parametrize("size_bytes", [1, 8 * MIB - 1, 8 * MIB, 21 * MIB + 5])
def test_a_stream_becomes_an_object_when_it_is_closed(store, key, size_bytes):
    data = bytes(range(251)) * (size_bytes // 251 + 1)
    data = data[:size_bytes]
    writer = store.writer(key, content_type=TYPE)
    for at in range(0, size_bytes, 3 * MIB):
        writer.write(data[at : at + 3 * MIB])
    with pytest.raises(NotFoundError):
        store.stat(key)

    assert writer.close() == size_bytes

    assert whole(store, key) == data


def test_an_empty_stream_writes_nothing(store, key):
    assert store.writer(key, content_type=TYPE).close() == 0

    with pytest.raises(NotFoundError):
        store.stat(key)


def test_an_aborted_stream_leaves_nothing(store, key):
    writer = store.writer(key, content_type=TYPE)
    writer.write(bytes(9 * MIB))

    writer.abort()

    with pytest.raises(NotFoundError):
        store.stat(key)


def test_parts_that_are_copied_and_parts_that_are_sent_become_one_object(store, key):
    store.put(f"{key}-source", b"a" * (6 * MIB) + b"z", content_type=TYPE)
    upload = store.begin_upload(key, content_type=TYPE)

    copied = store.copy_part(key, upload, 1, Span(f"{key}-source", 1, 6 * MIB))
    sent = store.upload_part(key, upload, 2, b"end")

    assert dict(store.uploaded(key, upload)) == {1: copied, 2: sent}
    store.complete_upload(key, upload, [copied, sent])
    assert whole(store, key) == b"a" * (6 * MIB - 1) + b"end"
    with pytest.raises(NotFoundError):
        store.uploaded(key, upload)


def test_a_small_part_that_is_not_the_last_is_refused(store, key):
    upload = store.begin_upload(key, content_type=TYPE)
    etags = [store.upload_part(key, upload, number, b"small") for number in (1, 2)]

    with pytest.raises(InternalError, match="EntityTooSmall"):
        store.complete_upload(key, upload, etags)


def test_a_presigned_address_names_the_object(store, key):
    assert key in store.presign_get(key, expires_s=60)
