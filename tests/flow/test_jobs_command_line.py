"""`laneway submit` to `laneway dlq redrive` against the whole service, as an operator strings them together."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from typing import NamedTuple

import boto3
import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.testing.lambdas import REGION
from cli.testing.service import ingress_settings
from shared.jobs.clock import system_clock
from shared.jobs.messages import event, reference
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.results.rows import JobKey
from tests.fixtures.audit_log import audited, make_audit_log

TEXT = ("submit", "shout", "--text", "--input", "-")
ASYNC = ("--pool", "shared", "--class", "async")
"""The one queue to look at; each that is empty is waited for."""


class Ran(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self):
        return self.stdout + self.stderr


def _without_logs(text):
    """The functions run in this process and write their lines where the command writes its own."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith('{"level"'))


@pytest.fixture
def service(laneway_service):
    laneway_service.run_jobs()  # what other tests left
    return laneway_service


@pytest.fixture
def laneway(service, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LANEWAY_STAGE", "LANEWAY_DEBUG", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("LANEWAY_ENDPOINT", service.url)
    monkeypatch.setenv("LANEWAY_API_KEY", service.api_key)

    def run(*args, stdin=None):
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
        return Ran(result.exit_code, _without_logs(result.stdout), result.stderr)

    return run


@pytest.fixture
def stage(service, events_url, empty_dead_letters):  # noqa: ARG001  the queues are this test's own
    """The options that name a stage whose ingress function was told of the service's resources."""
    name = f"t{uuid.uuid4().hex[:8]}"
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", "")
    trust = {"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}}]}
    role = boto3.client("iam", region_name=REGION).create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps(trust)
    )
    told = {
        "ingress": ingress_settings(service.resources).to_env(),
        "webhooks": {"WEBHOOKS_QUEUE": events_url},
    }
    for function, environment in told.items():
        boto3.client("lambda", region_name=REGION).create_function(
            FunctionName=f"laneway-{name}-{function}",
            Runtime="python3.13",
            Role=role["Role"]["Arn"],
            Handler="handler.handler",
            Code={"ZipFile": package.getvalue()},
            Environment={"Variables": environment},
        )
    make_audit_log(name, REGION)
    return ("--stage", name, "--region", REGION)


@pytest.fixture
def events_url(service):
    """The queue of webhooks, with its dead letters behind it."""
    sqs, name = service.resources.sqs, f"events-{uuid.uuid4().hex[:8]}"
    dead = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 30}
    made = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(policy)})
    return made["QueueUrl"]


@pytest.fixture
def empty_dead_letters(service):
    for urls in service.resources.dead_letters.values():
        for url in urls.values():
            queue = SqsQueue(service.resources.sqs, url=url)
            while deliveries := queue.receive(limit=10, wait_s=0):
                for delivery in deliveries:
                    queue.acknowledge(delivery)


@pytest.fixture
def dead(service):
    """The dead-letter queue of the async queue of the pool `shared`."""
    url = service.resources.dead_letters["shared"]["async"]
    return SqsQueue(service.resources.sqs, url=url)


@pytest.fixture
def store(service):
    resources = service.resources
    return DynamoJobStore(resources.dynamodb, table=resources.jobs_table, clock=system_clock)


def failed_job(laneway, service, text="break"):
    job = laneway(*TEXT, stdin=text).stdout.strip()
    service.run_jobs()
    return job


def test_submit_prints_the_id_and_the_job_is_followed_by_it(laneway, service):
    submitted = laneway(
        *TEXT, "--class", "batch", "--meta", "order=7", "--ttl-s", 600, stdin="ab\n"
    )
    assert submitted.exit_code == 0, submitted.output
    job = submitted.stdout.strip()
    before = laneway("result", job)
    service.run_jobs()

    waited, result, shown = (
        laneway("wait", job),
        laneway("result", job),
        laneway("jobs", "show", job),
    )

    assert (before.exit_code, "not_finished" in before.stderr) == (1, True)
    assert waited.exit_code == 0, waited.output
    assert '["AB! 4"]' in result.stdout
    assert "metadata order" in shown.stdout
    assert json.loads(laneway("jobs", "show", job, "--json").stdout)["latency_class"] == "batch"


def test_submit_and_wait_shows_the_result(laneway, service):
    with service.working():
        result = laneway(*TEXT, "--wait", stdin="ab\ncd\n")

    assert result.exit_code == 0, result.output
    assert '["AB! 4", "CD! 4"]' in result.stdout


def test_a_job_that_fails_ends_wait_and_result_with_its_reason(laneway, service):
    job = failed_job(laneway, service)
    with service.working():
        at_once = laneway(*TEXT, "--wait", stdin="break")

    for ended in (laneway("wait", job), laneway("result", job), at_once):
        assert ended.exit_code == 1
        assert "transform_failed" in ended.stderr
        assert "Traceback" not in ended.output


def test_a_result_is_written_to_a_file_or_printed_as_json(laneway, service, tmp_path):
    named = ("submit", "scale", "--version", "1", "--input", "-")
    text = laneway(*named, stdin="[[1, 2]]").stdout.strip()
    packed = laneway(*named, "--binary", stdin="[[1, 2]]").stdout.strip()
    service.run_jobs()

    printed = json.loads(laneway("result", text, "--json").stdout)
    refused = laneway("result", packed, "--json")
    written = laneway("result", packed, "--output", "y.bin")

    assert printed["outputs"][0]["data"] == [2.0, 4.0]
    assert "--output" in refused.stderr
    assert written.exit_code == 0, written.output
    assert (tmp_path / "y.bin").read_bytes().endswith(b"\x00\x00\x00\x40\x00\x00\x80\x40")


def test_jobs_are_listed_by_status_and_model(laneway, service):
    jobs = [laneway(*TEXT, stdin="ab").stdout.strip() for _ in range(3)]
    canceled = laneway("cancel", jobs[0])
    service.run_jobs()

    listed = laneway("jobs", "--model", "shout", "--status", "succeeded", "--limit", 2)

    assert canceled.exit_code == 0, canceled.output
    assert all(job in listed.stdout for job in jobs[1:])
    assert jobs[0] not in listed.stdout
    assert laneway("cancel", jobs[1]).exit_code == 1
    assert "the newest 2" in laneway("jobs", "--limit", 2).stderr


def test_a_refused_submission_shows_what_the_model_takes(laneway):
    refused = laneway("submit", "scale", "--input", "-", stdin="[[1, 2, 3]]")
    usage = laneway(*TEXT, "--class", "realtime", stdin="ab")
    option = laneway(*TEXT, "--webhook", "https://10.0.0.1/hook", stdin="ab")

    assert (refused.exit_code, usage.exit_code) == (1, 2)
    assert "x: FP32 [-1, 2]" in refused.stderr
    assert "not on the public internet" in option.stderr
    assert "takes" not in option.stderr
    assert "laneway infer" in usage.stderr


def test_a_failed_job_is_retried_once_from_its_stored_input(laneway, service, stage):
    job = failed_job(laneway, service, text="break\n" + "x" * 20_000)  # past what a row holds

    first, again = (laneway("jobs", "retry", job, *stage) for _ in range(2))
    retried = first.stdout.strip()
    assert first.exit_code == again.exit_code == 0, first.output + again.output
    service.run_jobs()

    assert again.stdout.strip() == retried != job
    assert "nothing was done" in again.stderr
    told = service.client.job(retried)
    assert (told.retry_of, told.status, told.attempt) == (job, "failed", 1)
    assert told.error == service.client.job(job).error
    recorded = [
        (line["audit"], line["job_id"], line["outcome"]) for line in audited(stage[1], REGION)
    ]
    assert recorded == [("retry", job, outcome) for outcome in ("begun", "ok", "begun", "ok")]


def test_a_job_that_has_not_failed_is_not_retried(laneway, service, stage, store):
    job = laneway(*TEXT, stdin="ab").stdout.strip()
    queued = laneway("jobs", "retry", job, *stage)
    service.run_jobs()
    row = store.get(JobKey("default", job))

    ended, unknown = laneway("jobs", "retry", job, *stage), laneway("jobs", "retry", "none", *stage)

    for result, word in ((queued, "queued"), (ended, "succeeded"), (unknown, "no job 'none'")):
        assert result.exit_code == 1
        assert word in result.stderr
        assert result.stdout == ""
    assert service.run_jobs() == 0
    assert store.get(JobKey("default", job)) == row


def test_a_retry_whose_input_was_removed_says_so(laneway, service, stage, store):
    job = failed_job(laneway, service, text="break\n" + "x" * 20_000)
    key = store.get(JobKey("default", job)).input.s3_key
    service.resources.s3.delete_object(Bucket=service.resources.bucket, Key=key)

    result = laneway("jobs", "retry", job, *stage)

    assert result.exit_code == 1
    assert "was removed" in result.stderr


def test_dead_letters_are_counted_shown_and_stay(laneway, service, stage, dead):
    job = failed_job(laneway, service)
    dead.send(reference(JobKey("default", job)), tenant="default")
    service.resources.sqs.send_message(
        QueueUrl=service.resources.queues["shared"]["async"], MessageBody="not a job"
    )
    service.run_jobs()

    counted = laneway("dlq", "list", *stage)
    shown = [laneway("dlq", "show", *ASYNC, *stage) for _ in range(2)]

    assert counted.exit_code == 0, counted.output
    rows = [line.split()[:3] for line in counted.stdout.splitlines()]
    assert ["shared", "async", "2"] in rows
    assert ["shared", "batch", "0"] in rows
    for result in shown:
        assert result.exit_code == 0, result.output
        assert f"default/{job}" in result.stdout
        assert "transform_failed" in result.stdout
        assert "not JSON" in result.stdout
        assert "not a job" in result.stdout
    assert dead.depth() == 2


def test_redrive_makes_a_new_job_of_each_failed_one_and_leaves_the_rest(
    laneway, service, stage, dead, store
):
    failed = [failed_job(laneway, service) for _ in range(2)]
    done = laneway(*TEXT, stdin="ab").stdout.strip()
    service.run_jobs()
    for job in (*failed, failed[0], done, "never-was"):
        dead.send(reference(JobKey("default", job)), tenant="default")
    service.resources.sqs.send_message(
        QueueUrl=service.resources.dead_letters["shared"]["async"], MessageBody="not a job"
    )
    before = store.get(JobKey("default", done))

    result = laneway("dlq", "redrive", *stage)

    assert result.exit_code == 0, result.output
    told = [line.split()[-3:] for line in result.stdout.splitlines()]
    assert ["redriven", "failed", "2"] in told
    assert ["before", "failed", "1"] in told
    assert ["left", "ended", "1"] in told
    assert ["left", "unknown", "1"] in told
    assert ["left", "unreadable", "1"] in told
    assert dead.depth() == 3
    assert service.run_jobs() == 2
    retries = [job.retry_of for job in service.client.jobs(model="shout") if job.retry_of]
    assert sorted(retry for retry in retries if retry in failed) == sorted(failed)
    assert store.get(JobKey("default", done)) == before
    [begun, *letters, ended] = audited(stage[1], REGION)
    assert (begun["outcome"], ended["outcome"]) == ("begun", "ok")
    assert {line["audit"] for line in (begun, *letters, ended)} == {"redrive"}
    assert {line["job_id"] for line in letters} == set(failed)
    assert sorted(line["outcome"] for line in letters) == ["redriven"] * 2 + ["redriven before"]


def test_dead_letters_of_the_whole_stage_are_counted_shown_and_sent_again(
    laneway, service, stage, events_url
):
    job = laneway(*TEXT, "--webhook", "https://hooks.example.com/x", stdin="ab").stdout.strip()
    service.run_jobs()
    events = SqsQueue(service.resources.sqs, url=events_url)
    SqsQueue(service.resources.sqs, url=f"{events_url}-dlq").send(
        event(JobKey("default", job)),
        tenant="default",
        attributes={"reason": "WEBHOOK_EXHAUSTED: no success in 10 attempts, the last: status 500"},
    )

    counted = laneway("dlq", "list", *stage)
    shown = laneway("dlq", "show", "--class", "webhooks", *stage)
    redriven = laneway("dlq", "redrive", "--class", "webhooks", *stage)

    rows = [line.split()[:3] for line in counted.stdout.splitlines()]
    assert {("-", "webhooks", "1"), ("-", "batch-split", "0"), ("-", "batch-finish", "0")} <= {
        tuple(row) for row in rows
    }
    for word in (f"default/{job}", "undelivered", "status 500"):
        assert word in shown.stdout
    assert ["redriven", "undelivered", "1"] in [
        line.split()[-3:] for line in redriven.stdout.splitlines()
    ]
    [delivery] = events.receive(limit=10, wait_s=0)
    assert json.loads(delivery.body) == json.loads(event(JobKey("default", job)))


def test_with_delete_what_nothing_can_be_done_for_is_removed(laneway, service, stage, dead):
    waiting = laneway(*TEXT, stdin="ab").stdout.strip()
    for job in (waiting, "never-was"):
        dead.send(reference(JobKey("default", job)), tenant="default")
    for body in ("not a job", '{"schema_version": 1, "chunk": {"batch": "b", "index": 0}}'):
        dead.send(body, tenant="default")

    result = laneway("dlq", "redrive", *ASYNC, "--delete", *stage)

    assert result.exit_code == 0, result.output
    told = [line.split()[-3:] for line in result.stdout.splitlines()]
    assert ["deleted", "unknown", "1"] in told
    assert ["deleted", "unreadable", "1"] in told
    assert ["left", "open", "1"] in told
    assert ["left", "batch", "1"] in told
    assert dead.depth() == 2
    service.run_jobs()


def test_a_dropped_message_that_never_became_a_job_is_sent_back_and_becomes_one(
    laneway, service, stage, dead
):
    request = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["äb"]}]}
    body = json.dumps({"schema_version": 1, "model": "shout", "input": request})
    name = f"m-{dead.send(body, tenant='default')}"

    result = laneway("dlq", "redrive", *ASYNC, *stage)
    service.run_jobs()

    assert result.exit_code == 0, result.output
    assert dead.depth() == 0
    assert service.client.result(name)["shout"].tolist() == ["ÄB! 6"]


def test_a_stage_that_is_not_deployed_and_a_queue_that_is_not_there_are_named(laneway, stage):
    absent = laneway("dlq", "list", "--stage", "nowhere", "--region", REGION)
    unknown = laneway("dlq", "list", "--pool", "none", *stage)

    assert "make deploy STAGE=nowhere" in absent.stderr
    assert "shared/async" in unknown.stderr
    assert absent.exit_code == unknown.exit_code == 1
