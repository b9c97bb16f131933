"""The client's calls about batches against a real HTTP server: what is sent, and what is written."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from cli.client import (
    AsyncLaneway,
    BatchCounts,
    BatchFile,
    ConnectionFailedError,
    InputError,
    JobError,
    Laneway,
    ProtocolError,
    RetryPolicy,
    StatusError,
    WaitTimeoutError,
)
from tests.unit.client.recording_server import Answer, json_answer, recording_server

KEY = "lw_secret"
RETRY = RetryPolicy(max_retries=2, base_s=0.001)
LINES = b'{"custom_id": "a"}\n' * 50
BATCH = {
    "id": "b1",
    "status": "running",
    "endpoint": "/v2/models/iris/infer",
    "model": "iris",
    "version": "1",
    "input": "s3://b/uploads/t/1",
    "counts": {"total": 3, "succeeded": 1, "failed": 0},
    "created_at": "2026-11-22T00:00:00.000+00:00",
    "started_at": None,
    "finished_at": None,
    "expires_at": "2026-11-23T00:00:00.000+00:00",
    "not_before": None,
    "window": None,
    "error": None,
    "metadata": {},
    "retry_of": None,
    "files": {"output": None, "errors": None, "refused": None, "manifest": None},
}


@pytest.fixture
def storage():
    """Stands where S3 is: another origin."""
    with recording_server() as running:
        yield running


@pytest.fixture
def client(server):
    with Laneway(server.endpoint, api_key=KEY, retry=RETRY) as opened:
        yield opened


def ended(storage, **members):
    file = {"uri": "s3://b/o", "size_bytes": 9, "url": f"{storage.endpoint}/o?secret=1"}
    return json_answer(BATCH | {"status": "succeeded", "files": {"output": file}} | members)


def test_a_file_is_uploaded_and_the_batch_says_what_it_was_told(server, storage, client, tmp_path):
    place = {"uri": "s3://b/uploads/t/1", "url": f"{storage.endpoint}/b", "fields": {"policy": "p"}}
    server.will_answer(json_answer(place, 201), json_answer(BATCH, 202))
    storage.will_answer(Answer(204, b""))
    (tmp_path / "lines.jsonl").write_bytes(LINES)

    batch = client.submit_batch(
        "iris",
        tmp_path / "lines.jsonl",
        version="1",
        not_before=datetime(2027, 1, 1, tzinfo=UTC),
        metadata={"order": "7"},
        ttl_s=None,
    )

    call = server.received[-1]
    assert LINES in storage.received[0].body
    assert (call.method, call.path, len(call.headers["idempotency-key"])) == (
        "POST", "/v2/batches", 32,
    )  # fmt: skip
    assert json.loads(call.body) == {
        "endpoint": "/v2/models/iris/versions/1/infer",
        "input": "s3://b/uploads/t/1",
        "not_before": "2027-01-01T00:00:00+00:00",
        "metadata": {"order": "7"},
    }
    assert (batch.id, batch.counts, batch.finished) == ("b1", BatchCounts(3, 1, 0), False)


def test_lines_that_are_on_s3_are_not_uploaded_and_a_second_try_carries_the_same_key(
    server, client
):
    busy = json_answer({"error": "later", "code": "store_unavailable"}, 503)
    server.will_answer(busy, json_answer(BATCH, 202))

    client.submit_batch("iris", "s3://b/mine", idempotency_key="night")

    assert [call.path for call in server.received] == ["/v2/batches"] * 2
    assert {call.headers["idempotency-key"] for call in server.received} == {"night"}
    assert json.loads(server.received[0].body)["input"] == "s3://b/mine"


def test_a_batch_is_canceled_and_retried_by_its_quoted_id(server, client):
    server.will_answer(json_answer(BATCH))

    client.cancel_batch("a/b")
    client.retry_batch(client.batch("b1"))

    assert [(call.method, call.path) for call in server.received] == [
        ("POST", "/v2/batches/a%2Fb/cancel"),
        ("GET", "/v2/batches/b1"),
        ("POST", "/v2/batches/b1/retry"),
    ]


def test_pages_are_asked_for_as_they_are_reached(server, client):
    pages = [{"batches": [BATCH | {"id": "a"}], "cursor": "c/1"}, {"batches": [BATCH]}]
    server.will_answer(*map(json_answer, pages))

    batches = client.batches()
    first = next(batches)
    asked_for_one = len(server.received)

    assert (first.id, asked_for_one, [batch.id for batch in batches]) == ("a", 1, ["b1"])
    assert [call.path for call in server.received] == [
        "/v2/batches",
        "/v2/batches?cursor=c%2F1",
    ]


def test_a_wait_ends_with_the_batch_or_with_its_time(server, storage, client):
    failure = {"error": "the input is gzip", "code": "invalid_request"}
    server.will_answer(
        json_answer(BATCH), ended(storage, status="failed", error=failure), json_answer(BATCH)
    )
    seen = []

    batch = client.wait_batch("b1", on_poll=seen.append)

    assert [found.status for found in seen] == ["running", "failed"]
    assert batch.error == JobError("invalid_request", "the input is gzip")
    with pytest.raises(WaitTimeoutError, match="b1 is running"):
        client.wait_batch("b1", timeout_s=0)


def test_a_file_is_written_without_sending_the_key_and_a_broken_download_begins_anew(
    server, storage, client, tmp_path
):
    server.will_answer(ended(storage))
    storage.will_answer(
        Answer(503, b"<Code>SlowDown</Code>"), Answer(200, b"half", missing_bytes=5), Answer(200, LINES)
    )  # fmt: skip
    target = tmp_path / "out.jsonl"

    batch = client.download_batch("b1", target)

    assert batch.files == {"output": BatchFile("s3://b/o", 9, f"{storage.endpoint}/o?secret=1")}
    assert target.read_bytes() == LINES
    assert len(storage.received) == 3
    assert all(KEY not in str(call.headers) for call in storage.received)


def test_a_download_that_breaks_off_leaves_what_was_there(server, storage, client, tmp_path):
    server.will_answer(ended(storage))
    storage.will_answer(Answer(200, b"half", missing_bytes=5))
    target = tmp_path / "out.jsonl"
    target.write_text("of yesterday")

    with pytest.raises(ConnectionFailedError):
        client.download_batch("b1", target)

    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert target.read_text() == "of yesterday"


def test_what_s3_refuses_is_told_without_the_address(server, storage, client, tmp_path):
    server.will_answer(ended(storage))
    storage.will_answer(Answer(403, b"<Error><Code>AccessDenied</Code></Error>"))

    with pytest.raises(StatusError, match="AccessDenied") as caught:
        client.download_batch("b1", tmp_path / "out")

    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_batch_has_not_or_that_cannot_be_written_is_said(
    server, storage, client, tmp_path
):
    server.will_answer(ended(storage))
    storage.will_answer(Answer(200, LINES))

    with pytest.raises(InputError, match="no file 'errors'; its files: output"):
        client.download_batch("b1", tmp_path / "out", file="errors")
    with pytest.raises(InputError, match="cannot write"):
        client.download_batch("b1", tmp_path / "absent" / "out")


@pytest.mark.parametrize(
    "body", [{}, BATCH | {"counts": None}, BATCH | {"error": "text"}, BATCH | {"files": {"output": 1}}]
)  # fmt: skip
def test_an_answer_that_is_no_batch_is_a_protocol_error(server, client, body):
    server.will_answer(json_answer(body))

    with pytest.raises(ProtocolError):
        client.batch("b1")


def test_the_asyncio_client_does_the_same(server, storage, tmp_path):
    place = {"uri": "s3://b/k", "url": f"{storage.endpoint}/b", "fields": {"policy": "p"}}
    server.on("/v2/uploads", json_answer(place, 201))
    server.on("/v2/batches/b1", ended(storage))
    server.will_answer(
        json_answer(BATCH, 202),
        json_answer({"batches": [BATCH], "cursor": "c"}),
        json_answer({"batches": [BATCH]}),
        json_answer(BATCH),
    )
    storage.on("/b", Answer(204, b""))
    storage.will_answer(Answer(200, b"half", missing_bytes=5), Answer(200, LINES), Answer(403, b""))
    target = tmp_path / "out"

    async def use():
        async with AsyncLaneway(server.endpoint, api_key=KEY, retry=RETRY) as client:
            batch = await client.submit_batch("iris", LINES)
            listed = [found.id async for found in client.batches()]
            await client.cancel_batch(batch)
            await client.retry_batch(batch)
            done = await client.wait_batch(batch)
            await client.download_batch(done, target)
            with pytest.raises(StatusError):
                await client.download_batch(done, tmp_path / "refused")
            return listed, done.status

    assert asyncio.run(use()) == (["b1", "b1"], "succeeded")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert target.read_bytes() == LINES
    assert all(KEY not in str(call.headers) for call in storage.received)
