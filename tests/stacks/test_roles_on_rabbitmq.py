"""The roles of a stage on RabbitMQ: what each has beyond its like on SQS is what it really calls, and no more.

What a role of a stage on SQS needs is proved by test_roles.py. Here the real entry points run over a real
broker, by way of the function `send`, and each call that they make to AWS is held against the statements.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from fnmatch import fnmatchcase

import boto3
import pytest

from gpu_workers.assembly import open_core
from gpu_workers.telemetry import WorkerTelemetry
from gpu_workers.worker import GpuWorker
from shared.catalog import load_catalog
from shared.jobs.clock import system_clock
from shared.results.dynamodb import DynamoJobStore
from shared.settings.jobs import WorkerSettings
from tests.fixtures.deployed import DeployedStage, roles_of, task_environment, watched_account
from tests.fixtures.job_rows import new_row
from tests.fixtures.permissions import Need, allows, refused
from tests.stacks.aws_words import ACCOUNT, REGION
from tests.stacks.conftest import BROKER
from tests.stacks.test_roles import ROW, Use

pytestmark = pytest.mark.rabbitmq

STAGE = "laneway-dev"
SEND = f"{STAGE}-send"
POOLS = {"shared": "iris", "hot": "text", "heavy": "heavy"}
NOT_CALLED = {
    "logs:*": "The runtime, or ECS, writes the log under the role.",
    "xray:*": "The runtime sends traces under the function's role.",
    "ec2:*": "Lambda joins the broker's network under the function's role.",
    "ecs:*TaskProtection": "The ECS agent calls with the task's role: tests/unit/gpu_workers/test_protection.py.",
}
"""By action: what is allowed here and not on SQS, and why no call of it is seen."""


@pytest.fixture(scope="module")
def recorded(rabbit, running_models, rabbitmq, tmp_path_factory):
    """What each function and worker asked AWS for while jobs went over the broker."""
    with watched_account() as recorder:
        secret = BROKER.secret_arn.rpartition(":")[2]
        boto3.client("secretsmanager", region_name=REGION).create_secret(
            Name=secret, SecretString=rabbitmq.url
        )
        stage = DeployedStage(rabbit, running_models, tmp_path_factory.mktemp("packages"), recorder)
        recorder.invoke = lambda name, event: (
            stage.function("send").call(event) if name == SEND else None
        )
        UseOnRabbitMQ(stage).everything()
        stage.modules[SEND].warm.close(5)
    return recorder.calls


class UseOnRabbitMQ(Use):
    """A job of each pool, one that nobody sent, and a look at the fleet."""

    def everything(self):
        jobs = [self.submit(model, "async", input={"inputs": [ROW]}) for model in POOLS.values()]
        self.forgotten()
        self.fleet()
        for pool in POOLS:
            self.worker(pool)
        for job in jobs:
            answer = self.call("GET", f"/v2/jobs/{job}/result")
            assert answer.status == 200, answer.body

    @property
    def store(self):
        return DynamoJobStore(
            self.stage.dynamodb, table=self.stage.table("jobs"), clock=system_clock
        )

    def forgotten(self):
        now = system_clock() - 3600
        row = new_row("default", "forgotten", pool="shared", latency_class="async", created_at=now,
                      ttl_at=now + 86_400, purge_at=now + 10**6)  # fmt: skip
        assert self.store.create(row) is None
        self.tick("sweeper")
        assert self.store.get(row.key).unsent_at is None, "the broker has it"

    def fleet(self):
        ecs = boto3.client("ecs", region_name=REGION)
        ecs.create_cluster(clusterName=STAGE)
        ecs.register_task_definition(
            family="w", containerDefinitions=[{"name": "w", "image": "w", "memory": 1}]
        )
        for pool in POOLS:
            ecs.create_service(
                cluster=STAGE,
                serviceName=f"{STAGE}-{pool}-workers",
                taskDefinition="w",
                desiredCount=0,
            )
        self.tick("fleet-scaler")
        for pool in POOLS:
            [service] = ecs.describe_services(cluster=STAGE, services=[f"{STAGE}-{pool}-workers"])[
                "services"
            ]
            assert service["desiredCount"] > 0, "its job was counted on the broker"

    def worker(self, pool):
        """The pool's worker as its task starts it, on the CPU, until its jobs have ended."""
        told = next(
            told
            for task in self.stage.synthesized.properties("AWS::ECS::TaskDefinition")
            if (told := task_environment(task))["POOL"] == pool
        )
        package = self.stage.package(pool)
        settings = dataclasses.replace(
            WorkerSettings.from_env(told),
            device="cpu",
            engine_cache="",
            models=str(package),
            platform="fargate",
        )
        with (
            self.stage.recorder.owned_by(f"{STAGE}-{pool}-workers"),
            open_core(
                settings,
                catalog=load_catalog(package / "catalog.json"),
                owner="w",
                telemetry=WorkerTelemetry(stage="dev", pool=pool, worker="w"),
            ) as core,
        ):
            core.wait_s = 0.1
            worker = GpuWorker(core)
            thread = threading.Thread(target=worker.run, daemon=True)
            thread.start()
            self.until_ended(pool)
            worker.drain(5.0)
            thread.join(20)
        assert not thread.is_alive()

    def until_ended(self, pool):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            rows = self.store.list("default", limit=100).rows
            if all(row.finished_at for row in rows if row.pool == pool):
                return
            time.sleep(0.02)
        pytest.fail(f"the jobs of pool {pool} did not end")


@pytest.fixture(scope="module")
def roles(rabbit):
    return roles_of(rabbit)


@pytest.fixture(scope="module")
def beyond(roles, gpu_prod):
    """What each role allows that its like in a stage on SQS does not, by its name."""
    on_sqs = roles_of(gpu_prod)
    found = {}
    for name, statements in roles.items():
        like = name.replace(STAGE, "laneway-prod")
        if like.endswith("-workers") and like not in on_sqs:
            like = like.replace("-workers", "-queue-worker")
        known = {
            (action, resource.replace("laneway-prod", STAGE).replace("/prod/", "/dev/"))
            for action, resource in _allowed(on_sqs.get(like, []))
        }
        found[name] = _allowed(statements) - known
    return found


def test_every_call_that_is_made_is_allowed(recorded, roles) -> None:
    assert {SEND, f"{STAGE}-sweeper", f"{STAGE}-fleet-scaler", f"{STAGE}-ingress"} < set(recorded)
    assert {f"{STAGE}-{pool}-workers" for pool in POOLS} < set(recorded)
    assert refused(recorded, roles) == []


def test_what_a_role_has_beyond_its_like_on_sqs_is_called(recorded, beyond) -> None:
    unused = [
        (name, action, resource)
        for name, added in beyond.items()
        for action, resource in sorted(added)
        if not any(need.action == action and need.resource == resource for need in recorded[name])
        and not any(fnmatchcase(action, pattern) for pattern in NOT_CALLED)
    ]
    assert unused == []


def test_the_broker_is_reached_by_its_secret_and_by_send_alone(beyond) -> None:
    added = {
        name: {action for action, _ in found if not action.startswith(("logs:", "xray:"))}
        for name, found in beyond.items()
    }
    reading = "secretsmanager:GetSecretValue"
    readers = {SEND, *(f"{STAGE}-{pool}-workers" for pool in POOLS)}
    assert {name for name, actions in added.items() if reading in actions} == readers
    calling = {f"{STAGE}-ingress", f"{STAGE}-sweeper", f"{STAGE}-fleet-scaler"}
    assert {name for name, found in beyond.items() if _calls_send(found)} == calling
    assert {action.partition(":")[0] for action in added[SEND]} == {"secretsmanager", "ec2"}


def test_no_role_keeps_a_right_on_a_queue_that_sqs_does_not_have(roles, rabbit) -> None:
    there = {queue["QueueName"] for queue in rabbit.properties("AWS::SQS::Queue")}
    kept = [
        (name, resource)
        for name, statements in roles.items()
        for action, resource in _allowed(statements)
        if action.startswith("sqs:") and resource.rpartition(":")[2] not in there
    ]
    assert kept == []


def test_the_code_of_send_may_not_touch_the_network_that_lambda_joined_for_it(roles) -> None:
    joins = Need("ec2:CreateNetworkInterface", "*")
    of_the_code = {"lambda:SourceFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{SEND}"}

    assert allows(roles[SEND], joins)
    assert not allows(roles[SEND], joins, of_the_code)
    assert [name for name, found in roles.items() if allows(found, joins)] == [SEND]


def _allowed(statements):
    return {
        (action, resource)
        for statement in statements
        if statement.effect == "Allow"
        for action in statement.actions
        for resource in statement.resources
    }


def _calls_send(added):
    return any(action == "lambda:InvokeFunction" and arn.endswith(SEND) for action, arn in added)
