"""The client's jobs against the whole service: the deployed handlers, the real worker, moto behind."""

from __future__ import annotations

import asyncio
import uuid

import boto3
import numpy as np
import pytest

from cli.client import (
    AsyncLaneway,
    BadRequestError,
    ConflictError,
    GoneError,
    InputError,
    InternalError,
    Laneway,
    NotFinishedError,
    NotFoundError,
    StatusError,
    StoredInput,
    Tensor,
    WaitTimeoutError,
)
from cli.client.queue import submit_to_queue
from cli.testing.lambdas import REGION

ROWS = np.array([[1.0, 2.0], [3.0, -4.0]], np.float32)


@pytest.fixture
def service(laneway_service):
    laneway_service.run_jobs()  # what other tests left
    return laneway_service


@pytest.fixture
def client(service):
    return service.client


@pytest.fixture
def sqs(service):  # noqa: ARG001  the service opens the fake account
    return boto3.client("sqs", region_name=REGION)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("inputs", [{"x": ROWS}, {"x": ROWS.tolist()}])
def test_a_jobs_result_is_what_infer_answers(service, client, inputs, binary):
    job = client.submit("scale", inputs, version="1", binary=binary, metadata={"order": "7"})
    assert (job.status, job.version, job.metadata) == ("queued", "1", {"order": "7"})

    service.run_jobs()
    ended = client.wait(job, timeout_s=20)
    result = client.result(job)

    assert (ended.status, ended.attempt, ended.rows_stacked) == ("succeeded", 1, 1)
    assert ended.finished
    realtime = client.infer("scale", inputs, version="1", binary=binary)
    np.testing.assert_array_equal(result["y"].numpy(), realtime["y"].numpy())
    assert (result.model_version, type(result["y"].data)) == ("1", type(realtime["y"].data))


def test_a_choice_of_outputs_and_text_travel_as_with_infer(service, client):
    chosen = client.submit(
        "pairs", {"left": [1], "right": [2], "note": ["n"]}, outputs=["sum"], latency_class="batch"
    )
    text = client.submit("shout", {"text": ["ab", "cdé"]}, binary=False)
    service.run_jobs()

    assert list(client.result(chosen).outputs) == ["sum"]
    assert client.job(chosen.id).latency_class == "batch"
    assert client.result(text)["shout"].tolist() == ["AB! 4", "CDÉ! 8"]


def test_the_same_id_or_key_is_the_same_job_and_another_payload_a_conflict(client):
    name = uuid.uuid4().hex
    first = client.submit("scale", {"x": ROWS}, id=name)
    again = client.submit("scale", {"x": ROWS}, id=name)
    keyed = [client.submit("scale", {"x": ROWS}, idempotency_key=f"k {name}") for _ in range(2)]

    assert (first.id, again.id) == (name, name)
    assert keyed[0].id == keyed[1].id != name
    with pytest.raises(ConflictError):
        client.submit("scale", {"x": ROWS + 1}, id=name)
    with pytest.raises(ConflictError):
        client.submit("scale", {"x": ROWS + 1}, idempotency_key=f"k {name}")
    with pytest.raises(InputError, match="choose one"):
        client.submit("scale", {"x": ROWS}, id=name, idempotency_key="k")


def test_without_id_and_key_each_call_is_a_job_of_its_own(client):
    assert client.submit("scale", {"x": ROWS}).id != client.submit("scale", {"x": ROWS}).id


def test_an_input_and_a_result_too_large_for_a_call_go_by_s3(service, client):
    x = np.random.default_rng(7).normal(size=(900_000, 2)).astype(np.float32)

    job = client.submit("scale", {"x": x}, version="1")
    service.run_jobs()
    result = client.result(client.wait(job, timeout_s=30))

    assert x.nbytes > 6 * 1024 * 1024
    np.testing.assert_array_equal(result["y"].numpy(), x * 2)


def test_a_file_is_uploaded_and_run_from_where_it_lies(service, client, tmp_path):
    body = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}'
    (tmp_path / "input.json").write_bytes(body)

    uri = client.upload(tmp_path / "input.json")
    job = client.submit("scale", StoredInput(uri), version="1")
    service.run_jobs()

    assert uri.startswith(f"s3://{service.resources.bucket}/uploads/default/")
    assert client.result(job)["y"].tolist() == [[2, 4]]


def test_a_compressed_submission_is_the_same_job(service):
    x = np.zeros((5000, 2), np.float32)
    with Laneway(service.url, api_key=service.api_key, compress=True) as client:
        job = client.submit("scale", {"x": x})
        service.run_jobs()
        np.testing.assert_array_equal(client.result(job)["y"].numpy(), x)


def test_before_the_end_there_is_no_result_and_a_wait_ends_in_time(client):
    job = client.submit("scale", {"x": ROWS})

    with pytest.raises(NotFinishedError) as caught:
        client.result(job)
    with pytest.raises(WaitTimeoutError, match=r"queued after 0\.2 s"):
        client.wait(job, timeout_s=0.2)

    assert caught.value.code == "not_finished"
    assert client.job(job).status == "queued"


def test_a_wait_sees_the_job_through(service, client):
    job = client.submit("scale", {"x": ROWS})
    seen = []
    with service.working():
        ended = client.wait(job.id, timeout_s=20, on_poll=lambda job: seen.append(job.status))

    assert ended.status == seen[-1] == "succeeded"


def test_a_canceled_job_has_no_result_and_a_finished_one_stays(service, client):
    waiting, running = (client.submit("scale", {"x": ROWS}) for _ in range(2))
    assert client.cancel(waiting).status == "canceled"
    service.run_jobs()

    with pytest.raises(GoneError):
        client.result(waiting)
    assert client.cancel(running).status == "succeeded"


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        ("", BadRequestError, "transform_refused"),
        ("break", InternalError, "transform_failed"),
    ],
)
def test_a_failed_job_raises_the_error_that_infer_would_have_raised(
    service, client, text, error, code
):
    job = client.submit("shout", {"text": [text]})
    service.run_jobs()
    with pytest.raises(StatusError) as realtime:
        client.infer("shout", {"text": [text]})

    with pytest.raises(error) as caught:
        client.result(job)

    assert caught.value.code == code
    assert caught.value.message == realtime.value.message
    assert client.job(job).error.code == code
    assert client.wait(job).status == "failed"


def test_what_does_not_fit_is_refused_before_there_is_a_job(client):
    with pytest.raises(BadRequestError) as caught:
        client.submit("scale", {"x": ROWS.astype(np.float64)})
    with pytest.raises(BadRequestError) as classes:
        client.submit("queued", {"x": ROWS}, webhook="http://plain.example")
    with pytest.raises(NotFoundError):
        client.job("nobody-has-this-id")

    assert caught.value.code == "signature_mismatch"
    assert classes.value.field == "webhook"


def test_jobs_are_listed_newest_first_over_all_pages_and_by_status_and_model(client):
    first, *others = [client.submit("queued", {"x": ROWS}).id for _ in range(52)]
    client.cancel(first)

    queued = [job.id for job in client.jobs(model="queued", status="queued")]
    canceled = [job.id for job in client.jobs(model="queued", status="canceled")]

    assert queued == others[::-1]
    assert canceled == [first]
    assert next(iter(client.jobs())).id == others[-1]


def test_the_asyncio_client_does_the_same(service):
    x = np.arange(1_800_000, dtype=np.float32).reshape(-1, 2)

    async def calls():
        async with AsyncLaneway(service.url, api_key=service.api_key) as client:
            small, large = await asyncio.gather(
                client.submit("scale", {"x": ROWS.tolist()}), client.submit("scale", {"x": x})
            )
            canceled = await client.cancel(await client.submit("scale", {"x": ROWS}))
            with pytest.raises(NotFinishedError):
                await client.result(small)
            with pytest.raises(WaitTimeoutError):
                await client.wait(small, timeout_s=0.1)
            await asyncio.to_thread(service.run_jobs)
            ended = await client.wait(small)
            listed = [job.id async for job in client.jobs(model="scale")]
            return (
                canceled.status,
                ended.status,
                (await client.job(large)).status,
                {small.id, large.id} <= set(listed),
                (await client.result(small))["y"].numpy(),
                (await client.result(large))["y"].numpy(),
            )

    *told, small, large = asyncio.run(calls())

    assert told == ["canceled", "succeeded", "succeeded", True]
    np.testing.assert_array_equal(small, ROWS * 3)
    np.testing.assert_array_equal(large, x * 3)


@pytest.mark.parametrize("binary", [True, False])
def test_a_message_on_a_queue_becomes_a_job_without_endpoint_or_key(service, client, sqs, binary):
    url = service.resources.queues["shared"]["async"]

    job_id = submit_to_queue(
        url, "scale", {"x": ROWS}, version="1", binary=binary, metadata={"a": "grün"}, sqs=sqs
    )
    service.run_jobs()

    job = client.job(job_id)
    assert (job.status, job.latency_class, job.metadata) == ("succeeded", "async", {"a": "grün"})
    np.testing.assert_array_equal(client.result(job)["y"].numpy(), ROWS * 2)


def test_a_message_sent_twice_under_one_id_is_one_job(service, client, sqs):
    url, name = service.resources.queues["shared"]["batch"], uuid.uuid4().hex
    for _ in range(2):
        submit_to_queue(url, "scale", {"x": ROWS}, id=name, sqs=sqs)
    service.run_jobs()

    assert client.job(name).attempt == 1
    assert [job.id for job in client.jobs()].count(name) == 1


def test_a_message_is_fair_to_the_other_tenants_of_its_queue(service, sqs):
    url = service.resources.queues["shared"]["batch"]

    submit_to_queue(url, "scale", {"x": ROWS}, sqs=sqs)
    submit_to_queue(url, "scale", {"x": ROWS}, sqs=sqs, tenant="acme")

    received = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
    )["Messages"]
    groups = [message["Attributes"]["MessageGroupId"] for message in received]
    assert sorted(groups) == ["acme", "default"]
    for message in received:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_an_input_past_the_message_limit_is_claim_checked_to_s3(service, client, sqs):
    x = np.ones((200_000, 2), np.float32)
    url, s3 = service.resources.queues["shared"]["async"], service.resources.s3
    place = f"s3://{service.resources.bucket}/uploads/default/"
    with pytest.raises(InputError, match="pass place="):
        submit_to_queue(url, "scale", {"x": x}, sqs=sqs, s3=s3)

    job_id = submit_to_queue(url, "scale", {"x": x}, version="1", place=place, sqs=sqs, s3=s3)
    service.run_jobs()

    np.testing.assert_array_equal(client.result(job_id)["y"].numpy(), x * 2)


def test_a_dropped_message_that_does_not_fit_is_a_failed_job_that_says_why(service, client, sqs):
    url = service.resources.queues["shared"]["async"]

    job_id = submit_to_queue(url, "scale", {"z": Tensor.of("FP32", [[1, 2]])}, sqs=sqs)
    service.run_jobs()

    with pytest.raises(BadRequestError) as caught:
        client.result(job_id)
    assert caught.value.code == "signature_mismatch"


@pytest.mark.parametrize(
    ("inputs", "options", "word"),
    [
        ({"x": [[1, 2]]}, {}, "Tensor.of"),
        ({"x": ROWS}, {"ttl_s": 1}, "ttl_s"),
        ({"x": ROWS}, {"webhook": "http://plain.example"}, "webhook"),
        ({"x": np.full((1, 2), np.nan, np.float32)}, {"binary": False}, "binary"),
    ],
)
def test_what_the_published_schema_refuses_is_not_sent(service, sqs, inputs, options, word):
    url = service.resources.queues["shared"]["async"]

    with pytest.raises(InputError, match=word):
        submit_to_queue(url, "scale", inputs, sqs=sqs, **options)

    assert service.run_jobs() == 0
