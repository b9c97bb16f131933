"""What a stage on RabbitMQ does with jobs beyond what it does on any broker: messages of pika, and dead letters.

The tests of jobs that ask for no broker run on both (`service_of_either_broker`, `make_desk`). Only on SQS,
because it is of SQS or of Lambda: partial failures and deadlines of a delivery, fair queues, a dead-letter
queue by redrive policy, messages by boto3, chunks of batches and webhooks, whose queues are always on SQS.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile

import boto3
import pika
import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.testing.lambdas import REGION
from shared.jobs.messages import reference
from shared.jobs.retry import Retries
from shared.queues.messages import REASON_ATTRIBUTE
from shared.results.rows import JobKey
from tests.fixtures.audit_log import make_audit_log
from tests.fixtures.brokered import Carrier
from tests.fixtures.carried_desk import CarriedDesk
from tests.fixtures.job_desk import tensor_body

pytestmark = pytest.mark.rabbitmq

X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
JOB = {"schema_version": 1, "model": "scale", "input": {"inputs": [X]}}
BREAK = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["break"]}


@pytest.fixture
def service(carried_service):
    carried_service.run_jobs()
    return carried_service


@pytest.fixture
def desk(small_models, rabbitmq):
    carrier = Carrier(rabbitmq.url, dict.fromkeys(("shared", "other"), ("async", "batch")))
    yield CarriedDesk(small_models, carrier=carrier, elsewhere={"queued": "other"})
    carrier.close()


@pytest.fixture
def publish(rabbitmq):
    """Puts bytes on a queue as a program does that has nothing of ours."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()

        def put(queue, body, **properties):
            channel.basic_publish(
                "", queue.name, body, pika.BasicProperties(**properties), mandatory=True
            )

        yield put


def test_messages_of_pika_become_jobs_once_by_their_own_id_or_the_messages(service, publish):
    queue = service.carrier.queue("shared", "async")
    for _ in range(2):
        publish(queue, json.dumps(JOB | {"id": "pika-own"}).encode())
        publish(queue, json.dumps(JOB).encode(), message_id="pika-message")

    assert service.run_jobs() == 4

    answers = [
        service.request("GET", f"/v2/jobs/{name}/result") for name in ("pika-own", "m-pika-message")
    ]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body


def test_what_cannot_be_read_is_a_dead_letter_byte_for_byte_and_holds_up_nobody(desk, publish):
    queue = desk.carrier.queue("shared", "async")
    poison = [
        b"no json",
        b'{"schema_version": 2, "model": "scale"}',
        b'{"schema_version": 1, "model": 7}',
    ]
    for body in poison:
        publish(queue, body)
    key = desk.submit(tensor_body([[1.0, 2.0]]))

    desk.start().drain()

    assert desk.check_settled([key]) == {"succeeded": 1}
    dead = desk.dead.receive(limit=10, wait_s=10)
    while len(dead) < len(poison):
        dead += desk.dead.receive(limit=10, wait_s=10)
    assert sorted(letter.body.encode() for letter in dead) == sorted(poison)
    assert all(letter.attributes[REASON_ATTRIBUTE] for letter in dead)


def test_a_job_that_waited_past_its_ttl_is_not_run(desk):
    late, good = (
        desk.submit(tensor_body([[1.0, 2.0]]), ttl_s=60),
        desk.submit(tensor_body([[3.0, 4.0]])),
    )
    desk.clock.advance(61)

    desk.start().drain()
    desk.sweeper().sweep()

    assert desk.check_settled([late, good]) == {"expired": 1, "succeeded": 1}


def test_a_message_for_a_model_of_another_pool_is_forwarded(desk):
    desk.drop(JOB | {"id": "astray", "model": "queued"})

    desk.start().drain()

    forwarded = desk.carrier.take_all("other", "async")
    assert [json.loads(body)["id"] for body in forwarded] == ["astray"]
    assert desk.waiting() == 0


def test_messages_that_the_broker_lost_are_sent_again_by_the_sweeper(desk):
    keys = [desk.submit(tensor_body([[float(n), 2.0]])) for n in range(3)]
    desk.lose_messages()
    desk.clock.advance(400)

    desk.sweeper().sweep()
    desk.start().drain()

    assert desk.check_settled(keys) == {"succeeded": 3}


def test_the_end_of_a_job_is_told_to_the_webhooks_queue(service):
    body = JOB | {"id": f"told-{uuid.uuid4().hex[:8]}", "webhook": "https://example.org/hook"}
    accepted = service.request(
        "PUT",
        f"/v2/jobs/{body['id']}",
        body={name: value for name, value in body.items() if name not in {"id", "schema_version"}},
    )
    assert accepted.status == 202, accepted.body
    service.run_jobs()

    [event] = service.events.receive(limit=10, wait_s=0)
    assert json.loads(event.body)["event"]["id"] == body["id"]


def fail_job(service):
    job = {"model": "shout", "input": {"inputs": [BREAK]}}
    accepted = service.request("POST", "/v2/jobs", body=job)
    service.run_jobs()
    return accepted.json()["id"]


def test_a_failed_job_is_retried_from_its_stored_input_over_the_broker(service):
    worker = service.workers["shared"]
    retries = Retries(
        store=worker.store,
        payloads=worker.payloads,
        queues=service.carrier.sending(service.lambdas),
        rules=worker.rules,
        clock=worker.clock,
    )
    job = fail_job(service)

    retried = retries.retry(JobKey("default", job)).row.key

    assert retries.retry(JobKey("default", job)).created is False
    assert service.run_jobs() == 1
    told = service.client.job(retried.id)
    assert (told.retry_of, told.status, told.attempt) == (job, "failed", 1)


@pytest.fixture
def laneway(service, monkeypatch):
    """The command, with the options of a stage whose ingress was told of the service's resources."""
    for name in ("LANEWAY_STAGE", "LANEWAY_AMQP_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    stage, package = f"t{uuid.uuid4().hex[:8]}", io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", "")
    trust = {"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}}]}
    role = boto3.client("iam", region_name=REGION).create_role(
        RoleName=stage, AssumeRolePolicyDocument=json.dumps(trust)
    )
    boto3.client("lambda", region_name=REGION).create_function(
        FunctionName=f"laneway-{stage}-ingress",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="handler.handler",
        Code={"ZipFile": package.getvalue()},
        Environment={"Variables": service.settings.to_env()},
    )
    make_audit_log(stage, REGION)

    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, "--stage", stage, "--region", REGION])

    return run


def test_dead_letters_in_rabbitmq_are_counted_shown_and_redriven(
    service, laneway, rabbitmq, publish
):
    failed = fail_job(service)
    dead = service.carrier.dead_letters("shared", "async")
    name = uuid.uuid4().hex[:8]
    for body in (
        reference(JobKey("default", failed)),
        *(json.dumps(JOB | {"id": f"{name}-{n}"}) for n in range(12)),
        "not a job",
    ):
        publish(dead, body.encode())
    there = ("--amqp-url", rabbitmq.url, "--pool", "shared", "--class", "async")

    counted = laneway("dlq", "list", *there)
    shown = laneway("dlq", "show", *there)
    redriven = laneway("dlq", "redrive", *there)

    assert ["shared", "async", "14"] in [line.split()[:3] for line in counted.stdout.splitlines()]
    assert f"default/{failed}" in shown.stdout
    assert "not JSON" in shown.stdout
    told = [line.split()[-4:] for line in redriven.stdout.splitlines()]
    assert ["redriven", "not", "admitted", "12"] in told
    assert any(line[-3:] == ["redriven", "failed", "1"] for line in told)
    assert any(line[-3:] == ["left", "unreadable", "1"] for line in told)
    assert service.run_jobs() == 12
    assert service.client.job(f"{name}-11").status == "succeeded"
    [retry] = [job for job in service.client.jobs(model="shout") if job.retry_of == failed]
    assert retry.status == "queued"  # nobody answers for `send` in this account: it is sent later
    [left] = service.carrier.take_dead("shared", "async")
    assert left == "not a job"


def test_dead_letters_in_a_rabbitmq_that_is_not_named_are_said_to_be_there(laneway):
    told = laneway("dlq", "list")

    assert "shared/async" in told.stderr
    assert "--amqp-url" in told.stderr
    assert ["shared", "chunks"] not in [line.split()[:2] for line in told.stdout.splitlines()]


def test_an_address_that_is_none_is_refused(laneway):
    told = laneway("dlq", "list", "--amqp-url", "nowhere")

    assert told.exit_code == 1
    assert "no address of a RabbitMQ" in told.stderr
