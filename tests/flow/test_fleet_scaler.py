"""The scaler as it is deployed, on moto: queues of SQS, the jobs table, a service of ECS."""

from __future__ import annotations

import json
import uuid

import boto3
import pytest
from moto import mock_aws

from cli.testing.lambdas import REGION, LambdaContext
from cli.testing.resources import make_resources
from functions.fleet_scaler import assembly
from functions.fleet_scaler.service import CRASHES, METRICS, make_handler
from shared.errors import UnavailableError
from shared.results.dynamodb import DynamoJobStore
from shared.results.table import table_definition
from shared.settings.jobs import FleetScalerSettings
from tests.fixtures.job_rows import START, ManualClock, new_row

POOL = "heavy"
MINUTE_S = 60


class Lines:
    """A logger that keeps its lines."""

    def __init__(self):
        self.lines = []

    def info(self, message, extra):
        self.lines.append({"message": message, **extra})

    error = info

    def last(self, message):
        return [line for line in self.lines if line["message"] == message][-1]


class Stage:
    """The scaler with what it looks at."""

    def __init__(self):
        self.clock = ManualClock()
        name = f"fleet-{uuid.uuid4().hex}"  # another module's mock may still be open
        self.cluster = name
        self.resources = make_resources("dev", [POOL])
        self.ecs = boto3.client("ecs", region_name=REGION)
        self.ecs.create_cluster(clusterName=name)
        self.ecs.register_task_definition(
            family="worker",
            containerDefinitions=[{"name": "worker", "image": "worker", "memory": 1}],
        )
        self.ecs.create_service(
            cluster=name, serviceName="heavy", taskDefinition="worker", desiredCount=0
        )
        self.resources.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pool", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pool", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.settings = FleetScalerSettings(
            stage="dev",
            cluster=name,
            services={POOL: "heavy"},
            queues=self.resources.queues,
            jobs_table=self.resources.jobs_table,
            fleet_table=name,
            job_s={POOL: 1.0},
            async_wait_s=10,
            max_workers=4,
        )
        self.log = Lines()
        self.handler = make_handler(
            assembly.make_scaler(self.settings, clock=self.clock),
            stage="dev",
            services=self.settings.services,
            logger=self.log,
        )

    def call(self, event=None):
        context = LambdaContext("fleet-scaler", memory_mib=256, timeout_s=30)
        return self.handler(event or {"source": "aws.events"}, context)

    def minute(self):
        self.clock.advance(MINUTE_S)
        return self.call()

    @property
    def workers(self):
        (service,) = self.ecs.describe_services(cluster=self.cluster, services=["heavy"])[
            "services"
        ]
        return service["desiredCount"]

    def send(self, count, kind="async"):
        for number in range(count):
            self.resources.sqs.send_message(
                QueueUrl=self.resources.queues[POOL][kind], MessageBody=f"job {number}"
            )

    def take(self, kind="async"):
        answer = self.resources.sqs.receive_message(QueueUrl=self.resources.queues[POOL][kind])
        return answer["Messages"][0]["ReceiptHandle"]

    def finish(self, receipt, kind="async"):
        queue = self.resources.queues[POOL][kind]
        self.resources.sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield Stage()


def test_the_clock_starts_as_many_workers_as_the_backlog_needs(stage):
    stage.send(25)

    stage.minute()

    assert stage.workers == 3
    line = stage.log.last("look")
    assert (line["fleet_desired"], line["fleet_backlog"], line["fleet_missing"]) == (3, 25, 3)
    assert line["fleet_wait_s"] == 25


def test_a_submit_starts_the_first_worker_before_the_queue_counts_its_job(stage):
    stage.call({"wake": POOL})

    assert stage.workers == 1


def test_it_stays_while_a_message_is_in_flight_and_leaves_when_the_quiet_has_lasted(stage):
    stage.send(40)
    stage.minute()
    receipts = [stage.take() for _ in range(40)]
    for receipt in receipts[1:]:
        stage.finish(receipt)
    for _ in range(20):
        stage.minute()
    assert stage.workers == 4

    stage.finish(receipts[0])
    course = []
    for _ in range(12):
        stage.minute()
        course.append(stage.workers)

    assert course == [4, 4, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0]


def test_it_stays_while_the_table_says_that_a_worker_holds_a_job(stage):
    store = DynamoJobStore(
        stage.resources.dynamodb, table=stage.resources.jobs_table, clock=stage.clock
    )
    row = new_row("acme", "long", pool=POOL)
    store.create(row)
    store.claim(row.key, owner="w", lease_until=START + 100 * MINUTE_S, now=START)
    stage.call({"wake": POOL})

    for _ in range(30):
        stage.minute()

    assert stage.workers == 1
    assert stage.log.last("look")["fleet_backlog"] == 1


def test_work_that_comes_in_the_quiet_starts_it_anew(stage):
    stage.call({"wake": POOL})
    for _ in range(8):
        stage.minute()
    stage.send(1)
    stage.minute()
    stage.finish(stage.take())

    course = []
    for _ in range(12):
        stage.minute()
        course.append(stage.workers)

    assert course[:10] == [1] * 10
    assert course[10:] == [0, 0]


def test_each_queue_counts_by_the_wait_of_its_class(stage):
    stage.send(100, "batch")
    stage.minute()
    assert stage.workers == 1

    stage.send(11, "async")
    stage.minute()
    assert stage.workers == 2


def test_a_queue_that_cannot_be_asked_changes_nothing_and_is_an_error_of_the_function(stage):
    stage.send(5)
    stage.minute()
    assert stage.workers == 1
    stage.resources.sqs.delete_queue(QueueUrl=stage.resources.queues[POOL]["batch"])

    with pytest.raises(UnavailableError):
        stage.minute()

    assert stage.workers == 1
    assert stage.log.last("look_failed")["pool"] == POOL


def test_the_quiet_begins_anew_after_a_queue_that_could_not_be_asked(stage):
    stage.send(1)
    stage.minute()
    stage.finish(stage.take())
    assert stage.minute() == {"workers": {POOL: 1}}
    sqs, url = stage.resources.sqs, stage.resources.queues[POOL]["batch"]
    sqs.delete_queue(QueueUrl=url)
    for _ in range(20):
        with pytest.raises(UnavailableError):
            stage.minute()
    assert sqs.create_queue(QueueName=url.rpartition("/")[2])["QueueUrl"] == url

    stage.minute()

    assert stage.workers == 1
    for _ in range(10):
        stage.minute()
    assert stage.workers == 0


def test_the_quiet_begins_anew_after_a_table_that_could_not_be_asked(stage):
    stage.call({"wake": POOL})
    stage.minute()
    dynamodb, table = stage.resources.dynamodb, stage.resources.jobs_table
    dynamodb.delete_table(TableName=table)
    for _ in range(11):
        with pytest.raises(UnavailableError):
            stage.minute()
    dynamodb.create_table(**table_definition(table))

    stage.minute()

    assert stage.workers == 1
    for _ in range(10):
        stage.minute()
    assert stage.workers == 0


@pytest.mark.parametrize(
    ("task", "crashes"),
    [
        ({"stopCode": "EssentialContainerExited", "containers": [{"exitCode": 139}]}, 1),
        ({"stopCode": "EssentialContainerExited", "containers": [{"reason": "OutOfMemory"}]}, 1),
        ({"stopCode": "EssentialContainerExited", "containers": [{"exitCode": 0}]}, 0),
        ({"stopCode": "ServiceSchedulerInitiated", "containers": [{"exitCode": 137}]}, 0),
        ({"stopCode": "SpotInterruption", "containers": [{"exitCode": 137}]}, 0),
    ],
)
def test_a_worker_that_ended_by_itself_and_not_well_is_counted(stage, task, crashes):
    detail = {"lastStatus": "STOPPED", "group": "service:heavy", **task}

    answer = stage.call({"detail-type": "ECS Task State Change", "detail": detail})

    assert answer == {"crashes": crashes}
    assert [line["worker_crashes"] for line in stage.log.lines] == [1] * crashes


def test_a_look_and_a_crash_are_metrics_of_the_pool(stage):
    stage.minute()
    detail = {
        "lastStatus": "STOPPED",
        "group": "service:heavy",
        "stopCode": "EssentialContainerExited",
        "containers": [{"exitCode": 1}],
    }
    stage.call({"detail-type": "ECS Task State Change", "detail": detail})

    for message, metrics in (("look", METRICS), ("crash", CRASHES)):
        line = stage.log.last(message)
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Dimensions"] == [["stage", "pool"]]
        assert [item["Name"] for item in directive["Metrics"]] == [name for name, _ in metrics]
        assert {name for name, _ in metrics} <= set(line)
        assert json.dumps(line)
