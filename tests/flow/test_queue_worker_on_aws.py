"""The queue worker and the sweeper as they are deployed, on moto's DynamoDB, S3 and SQS."""

from __future__ import annotations

import json
from types import SimpleNamespace
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from cli.testing.event_source import EventSource
from cli.testing.lambdas import LocalFunction
from functions.queue_worker.assembly import make_chunk_runner, make_worker, queue_names
from functions.queue_worker.service import make_handler
from functions.sweeper.service import make_handler as make_sweeper
from shared.catalog import parse_catalog
from shared.job_telemetry import JobTelemetry
from shared.jobs.batches.messages import chunk_message
from shared.jobs.submission import Submission
from shared.queues.sqs import SqsQueue
from shared.repository import compile_catalog, read_repository
from shared.results.batches import BatchKey
from shared.results.batches_table import table_definition as batches_definition
from shared.results.store import JobKey
from shared.results.table import table_definition
from shared.schema.compile import export_validators
from shared.settings.jobs import QueueWorkerSettings, SweeperSettings
from shared.telemetry import Telemetry
from tests.fixtures.job_desk import tensor_body
from tests.fixtures.job_rows import ManualClock

BODY = tensor_body([[1.0, 2.0]])
LARGE = tensor_body([[float(n), 0.1234567] for n in range(2000)])


class Stage:
    """Pool `shared` of one stage: its resources by name, its worker and its sweeper."""

    def __init__(self, models, package):
        name = f"laneway-dev-{uuid4().hex[:8]}"
        sqs, s3 = boto3.client("sqs"), boto3.client("s3")
        boto3.client("dynamodb").create_table(**table_definition(f"{name}-jobs"))
        s3.create_bucket(Bucket=name)
        self.urls = {
            kind: sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"]
            for kind in ("async", "batch", "chunks", "dlq", "webhooks", "finish")
        }
        boto3.client("dynamodb").create_table(**batches_definition(f"{name}-batches"))
        shared = {kind: self.urls[kind] for kind in ("async", "batch", "chunks")}
        common = {
            "stage": "dev",
            "jobs_table": f"{name}-jobs",
            "bucket": name,
            "queues": {"shared": shared},
            "webhooks_queue": self.urls["webhooks"],
            "batches_table": f"{name}-batches",
            "finish_queue": self.urls["finish"],
        }
        self.settings = QueueWorkerSettings.from_env(
            QueueWorkerSettings(
                pool="shared",
                dead_letters=dict.fromkeys(shared, self.urls["dlq"]),
                threads=1,  # moto checks a condition and writes in two steps
                **common,
            ).to_env()
        )
        self.clock = ManualClock()
        compiled = compile_catalog(read_repository(models), pool="shared")
        catalog = parse_catalog({**compiled, "validators": export_validators()})
        telemetry = JobTelemetry(service="laneway-queue-worker", stage="dev", pool="shared")
        self.worker = make_worker(
            self.settings,
            catalog=catalog,
            package=package,
            memory_mib=1769,
            reporter=telemetry,
            clock=self.clock,
        )
        handler = make_handler(
            self.worker,
            consumed=queue_names(self.settings),
            telemetry=telemetry,
            margin_s=1.0,
            chunks=make_chunk_runner(self.settings, self.worker),
        )
        self.function = LocalFunction("worker", handler, timeout_s=60)
        self.queue = SqsQueue(sqs, url=self.urls["async"])
        self.source = EventSource(
            self.queue,
            self.function,
            name=self.urls["async"].rpartition("/")[2],
        )
        sweep = SweeperSettings.from_env(SweeperSettings(**common).to_env())
        self.sweep = make_sweeper(
            sweep,
            dynamodb=boto3.client("dynamodb"),
            sqs=sqs,
            logger=Telemetry(service="laneway-sweeper", stage="dev", pool="sweeper").logger,
            clock=self.clock,
        )

    def submit(self, body=BODY, **options):
        submission = Submission(model="scale", body=body, **options)
        return self.worker.jobs.submit(submission, tenant="default").row.key

    def row(self, key):
        return self.worker.store.get(key)

    def messages(self, kind):
        return SqsQueue(boto3.client("sqs"), url=self.urls[kind]).receive(limit=10, wait_s=0)


@pytest.fixture
def stage(small_models, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    (tmp_path / "models").symlink_to(small_models, target_is_directory=True)
    with mock_aws():
        yield Stage(small_models, tmp_path)


def lines(capsys, message):
    read = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]
    return [line for line in read if line["message"] == message]


def test_submitted_and_dropped_jobs_run_and_leave_no_message(stage):
    small, large = stage.submit(), stage.submit(LARGE)
    request = {"schema_version": 1, "id": "mine", "model": "scale", "input": json.loads(BODY)}
    boto3.client("sqs").send_message(QueueUrl=stage.urls["async"], MessageBody=json.dumps(request))

    [poll] = stage.source.drain()

    assert (len(poll.delivered), poll.failed) == (3, ())
    rows = [stage.row(key) for key in (small, large, JobKey("default", "mine"))]
    assert [row.status for row in rows] == ["succeeded"] * 3
    assert rows[0].result.payload.inline == rows[2].result.payload.inline
    place = rows[1].result.payload.s3_key
    assert len(stage.worker.payloads.get(place, max_bytes=1 << 20)) > 16 * 1024
    assert stage.queue.depth() == 0


def test_each_job_is_one_log_line_with_the_metrics_of_its_class(stage, capsys):
    keys = [stage.submit() for _ in range(2)]

    stage.source.drain()

    told = lines(capsys, "job")
    assert {line["job_id"] for line in told} == {key.id for key in keys}
    for line in told:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Laneway"
        assert directive["Dimensions"] == [["stage", "pool", "latency_class"]]
        for metric in directive["Metrics"]:
            assert isinstance(line[metric["Name"]], (int, float))
        assert (line["stage"], line["pool"], line["latency_class"]) == ("dev", "shared", "async")
        assert (line["outcome"], line["status"], line["attempts"]) == ("succeeded", 200, 1)
        assert line["rows_stacked"] == 2


def test_a_duplicate_is_counted(stage, capsys):
    key = stage.submit()
    stage.source.drain()
    stage.queue.send(
        json.dumps({"schema_version": 1, "job": {"tenant": key.tenant, "id": key.id}}),
        tenant="default",
    )
    capsys.readouterr()

    stage.source.drain()

    [line] = lines(capsys, "job")
    assert (line["outcome"], line["duplicates"]) == ("duplicate", 1)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert [metric["Name"] for metric in directive["Metrics"]] == ["duplicates"]


def test_poison_is_moved_to_the_dead_letter_queue_with_its_reason(stage):
    key = stage.submit()
    boto3.client("sqs").send_message(QueueUrl=stage.urls["async"], MessageBody="no json")

    [poll] = stage.source.drain()

    assert poll.failed == ()
    [dead] = stage.messages("dlq")
    assert dead.body == "no json"
    assert "not JSON" in dead.attributes["reason"]
    assert stage.row(key).status == "succeeded"


def test_a_busy_job_s_message_stays_invisible_for_the_rest_of_the_lease(stage):
    key = stage.submit()
    now = stage.clock()
    stage.worker.store.claim(key, owner="other", lease_until=now + 600, now=now)

    [poll] = stage.source.drain()

    assert poll.failed == poll.delivered
    assert stage.messages("async") == []
    assert stage.queue.depth() == 1
    assert stage.row(key).lease_owner == "other"


def test_a_job_whose_table_is_gone_stays_on_the_queue_and_the_worker_raises(stage):
    key = stage.submit()
    boto3.client("dynamodb").delete_table(TableName=stage.settings.jobs_table)

    [poll] = stage.source.drain()

    assert type(poll.error).__name__ == "StoreUnavailableError"
    assert stage.queue.depth() == 1
    assert key


def test_the_sweeper_sends_what_was_lost_and_says_how_much(stage, capsys):
    key = stage.submit(webhook="https://example.org/hook")
    for delivery in stage.messages("async"):
        stage.queue.acknowledge(delivery)
    stage.clock.advance(120)

    counts = stage.sweep({}, SimpleNamespace(aws_request_id="i"))
    stage.source.drain()

    assert counts["sent"] == 1
    [line] = lines(capsys, "sweep")
    assert line["swept_sent"] == 1
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert {"Name": "swept_sent", "Unit": "Count"} in directive["Metrics"]
    assert {metric["Name"] for metric in directive["Metrics"]} == {
        f"swept_{name}" for name, count in counts.items() if count
    }
    assert stage.row(key).status == "succeeded"
    assert len(stage.messages("webhooks")) == 1


def test_a_pass_that_finds_nothing_writes_no_metric(stage, capsys):
    counts = stage.sweep({}, SimpleNamespace(aws_request_id="i"))

    [line] = lines(capsys, "sweep")
    assert set(counts.values()) == {0}
    assert "_aws" not in line


def test_what_comes_from_the_queue_of_chunks_is_a_chunk(stage):
    queue = SqsQueue(boto3.client("sqs"), url=stage.urls["chunks"])
    queue.send(chunk_message(BatchKey("default", "gone"), 3), tenant="default")
    source = EventSource(queue, stage.function, name=stage.urls["chunks"].rpartition("/")[2])

    [poll] = source.drain()

    assert (poll.error, poll.failed) == (None, ())
    [dead] = stage.messages("dlq")
    assert dead.attributes["reason"].startswith("no batch default/gone is known")
