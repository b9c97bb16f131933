"""Each role against what its function really does: every call that the real entry points make, and nothing beside."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from fnmatch import fnmatchcase

import boto3
import orjson
import pytest

from cli.testing.event_source import EventSource
from cli.testing.gateway import Gateway
from gpu_workers.assembly import open_core
from gpu_workers.telemetry import WorkerTelemetry
from gpu_workers.worker import GpuWorker
from shared.catalog import infer_routes, load_catalog
from shared.jobs.clock import system_clock
from shared.keys import API_KEY_HEADER, create_key
from shared.keys_dynamodb import DynamoKeyStore
from shared.limiting.tenants import DynamoTenantStore, TenantRow
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.settings.jobs import WorkerSettings
from tests.fixtures.deployed import DeployedStage, roles_of, task_environment, watched_account
from tests.fixtures.job_rows import new_row
from tests.fixtures.permissions import Need, Statement, allows, read_statements, refused
from tests.stacks.aws_words import ACCOUNT, REGION

WORKERS = "laneway-prod-heavy-workers"
ROW = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
LARGE = {"name": "x", "shape": [4000, 2], "datatype": "FP32", "data": [0.125] * 8000}
SHARED = "laneway-prod-shared"

NOT_CALLED = (
    ("*", "*", "logs:*", "*", "The runtime, or ECS, writes the log under the function's role."),
    ("*", "*", "xray:*", "*", "The runtime sends traces under the function's role."),
    ("*", "UseStagesKey", "kms:*", "*", "Services use the key for callers: test_encryption.py."),
    ("*", "Consume*", "sqs:*", "*", "Lambda polls the queue under the function's role."),
    (
        "*",
        "*",
        "s3:AbortMultipartUpload",
        "*",
        "Of a file past 5 MiB that was begun: tests/contract/batches/test_object_stores.py.",
    ),
    (
        "*batch-finisher",
        "JoinFiles",
        "s3:ListMultipartUploadParts",
        "*",
        "Of a file past 10 MiB, by the next finisher: tests/flow/test_batch_crash_points.py.",
    ),
    (
        "*batch-finisher",
        "TellMissing",
        "s3:ListBucket",
        "*",
        "Whether a joined file is there, after a crash: tests/flow/test_batch_crash_points.py.",
    ),
    (
        "*-ingress",
        "AskPoolsWhetherTheyAreReady",
        "lambda:InvokeFunction",
        "*",
        "Of a warm pool, and moto knows no warm capacity: tests/contract/test_readiness.py.",
    ),
    (
        "*-workers",
        "ProtectItself",
        "ecs:*",
        "*",
        "The ECS agent calls with the task's role: tests/unit/gpu_workers/test_protection.py.",
    ),
    (
        "*-workers",
        "EndDrain",
        "autoscaling:CompleteLifecycleAction",
        "*",
        "On an instance that its group ends: tests/unit/gpu_workers/test_watcher.py.",
    ),
    (
        "*-workers",
        "ReceiveMessages",
        "sqs:ChangeMessageVisibility",
        "*",
        "While a job outlasts a third of its lease: tests/unit/gpu_workers/test_worker.py.",
    ),
    (
        "*-workers",
        "ReceiveMessages",
        "sqs:GetQueueAttributes",
        "*",
        "Part of what every consumer of SQS may; a worker asks for no depth today.",
    ),
    (
        "*",
        "Send*",
        "sqs:SendMessage",
        "*-chunks",
        "What is left of a chunk that outlasts an invocation: tests/flow/test_batches.py.",
    ),
    (
        "*batch-splitter",
        "SendOn",
        "sqs:SendMessage",
        "*-batch-split",
        "What is left of an input that outlasts an invocation: tests/flow/test_batches.py.",
    ),
)
"""Role, statement, action, resource (patterns), and why no call of it is seen here."""


@pytest.fixture(scope="module")
def recorded(gpu_prod, running_models, tmp_path_factory):
    """What each function and worker asked AWS for while a stage was used in every way that it has."""
    with watched_account() as recorder:
        stage = DeployedStage(
            gpu_prod, running_models, tmp_path_factory.mktemp("packages"), recorder
        )
        Use(stage).everything()
    return recorder.calls


class Use:
    """A caller, its jobs, and the clock."""

    def __init__(self, stage):
        self.stage = stage
        keys = DynamoKeyStore(stage.dynamodb, table=stage.table("keys"))
        secret, _ = create_key(keys, tenant="default", name="roles")
        tenants = DynamoTenantStore(stage.dynamodb, table=stage.table("tenants"))
        limits = {"requests_per_s": 1, "burst": 100_000, "concurrent_jobs": 1000}
        tenants.put(TenantRow(tenant="default", limits=limits))
        self.headers = {API_KEY_HEADER: secret}
        realtime = {"iris": "shared-realtime", "text": "hot-realtime"}
        routes = {
            key: stage.function(short)
            for model, short in realtime.items()
            for key in infer_routes(model)
        }
        self.gateway = Gateway(
            authorizer=stage.function("authorizer"),
            routes={**routes, "$default": stage.function("ingress")},
        )

    def everything(self):
        self.realtime()
        jobs = self.jobs()
        self.batches()
        self.work()
        for job in jobs:
            self.call("GET", f"/v2/jobs/{job}/result")
        self.call("GET", "/v2/batches")
        self.dead_letters_and_forwarding()
        self.forgotten()
        self.work()
        self.fleet()
        self.paid()

    def paid(self):
        """Calls of limited tenants are paid for on a thread, after their answer."""
        short = ("ingress", "shared-realtime", "hot-realtime")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not all(
            any(
                need.resource.endswith("-usage")
                for need in self.stage.recorder.calls[f"laneway-prod-{name}"]
            )
            for name in short
        ):
            time.sleep(0.02)

    def call(self, method, path, **body):
        headers = {**self.headers, "content-type": "application/json", **body.pop("headers", {})}
        data = orjson.dumps(body) if body else b""
        deadline = time.monotonic() + 10
        while True:
            answer = self.gateway.handle(method, path, headers, data)
            if answer.status != 429 or time.monotonic() > deadline:
                return answer
            time.sleep(0.02)  # until the environment has paid for the calls before

    def realtime(self):
        for model in ("iris", "text"):
            sys.modules.pop("functions.realtime.handoff", None)  # it keeps its function's client
            for _ in range(10):  # past what an environment lets through before it pays
                answer = self.call("POST", f"/v2/models/{model}/infer", inputs=[ROW])
                assert answer.status == 200, answer.body
            self.call(
                "POST",
                f"/v2/models/{model}/infer",
                inputs=[ROW],
                headers={"prefer": "respond-async"},
            )
        self.call("GET", "/v2/models/iris/ready")
        self.call("GET", "/v2/models/text/ready")

    def jobs(self):
        made = []
        for model, latency_class in (("iris", "async"), ("text", "async"), ("heavy", "async")):
            made += [
                self.submit(model, latency_class, input={"inputs": [tensor]})
                for tensor in (ROW, LARGE)
            ]
            self.submit(
                model, latency_class, input_uri=self.upload(orjson.dumps({"inputs": [ROW]}))
            )
            self.submit(model, latency_class, input_uri=self.uploads_uri("nothing-here"))
        for latency_class in ("async", "batch"):
            self.submit("heavy", latency_class, input={"inputs": [ROW]}, priority="high")
        self.submit("nightly", "batch", input={"inputs": [ROW]})
        self.submit("heavy", "batch", input={"inputs": [ROW]})
        self.submit("iris", "batch", input={"inputs": [ROW]})
        for model in ("iris", "text", "heavy"):  # the tenant has no secret, so nobody is called
            self.submit(model, "async", input={"inputs": [ROW]}, webhook="https://example.com/")
        self.call("GET", "/v2/jobs")
        canceled = self.submit("iris", "async", input={"inputs": [ROW]})
        assert self.call("POST", f"/v2/jobs/{canceled}/cancel").status == 200
        return made

    def submit(self, model, latency_class, **more):
        answer = self.call("POST", "/v2/jobs", model=model, latency_class=latency_class, **more)
        assert answer.status == 202, answer.body
        return answer.json()["id"]

    def uploads_uri(self, name):
        return f"s3://{self.stage.bucket}/uploads/default/{name}"

    def upload(self, data):
        """By the form, whose signer's permission S3 asks for."""
        answer = self.call("POST", "/v2/uploads", max_bytes=10**6)
        assert answer.status == 201, answer.body
        place = answer.json()
        key = place["uri"].partition(f"{self.stage.bucket}/")[2]
        self.stage.recorder.calls["laneway-prod-ingress"].add(
            Need("s3:PutObject", f"arn:aws:s3:::{self.stage.bucket}/{key}")
        )
        self.stage.s3.put_object(Bucket=self.stage.bucket, Key=key, Body=data)
        return place["uri"]

    def batches(self):
        self.made = []
        for model in ("iris", "text", "heavy"):
            line = {"custom_id": "a", "method": "POST", "url": f"/v2/models/{model}/infer"}
            row = orjson.dumps({**line, "body": {"inputs": [ROW]}})
            bad = orjson.dumps({**line, "body": {"inputs": []}})
            answer = self.call(
                "POST",
                "/v2/batches",
                endpoint=line["url"],
                input=self.upload(b"\n".join([row, bad])),
            )
            assert answer.status == 202, answer.body
            self.made.append(answer.json()["id"])
        self.stand_still()
        for uri in (self.uploads_uri("missing"), self.upload(b"{}")):
            self.call("POST", "/v2/batches", endpoint=line["url"], input=uri)
        self.lost_inputs()

    def lost_inputs(self):
        """Batches that run when their input is removed, or when they are canceled."""
        for model in ("iris", "text", "heavy"):
            for _ in range(2):
                uri = self.upload(b"{}")
                url = f"/v2/models/{model}/infer"
                made = self.call("POST", "/v2/batches", endpoint=url, input=uri).json()["id"]
                self.deliver("batch-splitter", "batch-split")
                key = uri.partition(f"{self.stage.bucket}/")[2]
                self.stage.s3.delete_object(Bucket=self.stage.bucket, Key=key)
            self.stand_still()
            self.call("POST", f"/v2/batches/{made}/cancel")
        self.stand_still()

    def stand_still(self):
        """Every batch is due to be looked at by the finisher, which sets it going again."""
        table = self.stage.table("batches")
        for item in self.stage.dynamodb.scan(TableName=table)["Items"]:
            if "due_at" in item:
                self.stage.dynamodb.update_item(
                    TableName=table,
                    Key={name: item[name] for name in ("pk", "sk")},
                    UpdateExpression="SET due_at = :long_ago, progressed_at = :long_ago",
                    ExpressionAttributeValues={":long_ago": {"N": "1.0"}},
                )
        self.tick("batch-finisher")

    def work(self):
        """Everything that is on queues, until nothing is: functions by their mappings, workers by themselves."""
        for _ in range(2):
            for short, queue in self.sources():
                self.deliver(short, queue)
        self.gpu_worker()
        for short, queue in self.sources():
            self.deliver(short, queue)
        self.tick("batch-finisher")
        self.deliver("batch-finisher", "batch-finish")
        for batch in self.made:
            self.call("GET", f"/v2/batches/{batch}")
            self.call("POST", f"/v2/batches/{batch}/retry")

    def sources(self):
        for pool in ("shared", "hot"):
            for kind in ("async", "batch"):
                yield f"{pool}-queue-worker", f"{pool}-{kind}"
            yield f"{pool}-chunk-worker", f"{pool}-chunks"
        yield "batch-splitter", "batch-split"
        yield "batch-finisher", "batch-finish"
        yield "webhooks", "webhooks"

    def deliver(self, short, queue):
        EventSource(
            queue=SqsQueue(self.stage.sqs, url=self.stage.queue_url(queue)),
            function=self.stage.function(short),
            name=f"laneway-prod-{queue}",
            batch_size=1 if queue.endswith(("chunks", "split", "finish")) else 10,
        ).drain()

    def gpu_worker(self):
        """The long-lived worker as its task starts it, on the CPU, until its queues are quiet."""
        (task,) = self.stage.synthesized.properties("AWS::ECS::TaskDefinition")
        package = self.stage.package("heavy")
        settings = dataclasses.replace(
            WorkerSettings.from_env(task_environment(task)),
            device="cpu",
            engine_cache="",
            models=str(package),
            platform="fargate",
        )
        telemetry = WorkerTelemetry(stage="prod", pool="heavy", worker="w")
        with (
            self.stage.recorder.owned_by(WORKERS),
            open_core(
                settings,
                catalog=load_catalog(package / "catalog.json"),
                owner="w",
                telemetry=telemetry,
            ) as core,
        ):
            core.wait_s = 0.1
            worker = GpuWorker(core)
            thread = threading.Thread(target=worker.run, daemon=True)
            thread.start()
            self.until_quiet("heavy-async", "heavy-async-high", "heavy-batch", "heavy-batch-high")
            worker.drain(5.0)
            thread.join(20)
        assert not thread.is_alive()

    def until_quiet(self, *queues):
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible")]
        deadline = time.monotonic() + 30  # of a busy machine; they are quiet within seconds
        for queue in (*queues, "heavy-chunks"):
            url = self.stage.queue_url(queue)
            while time.monotonic() < deadline:
                found = self.stage.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
                if not any(int(count) for count in found["Attributes"].values()):
                    break
                time.sleep(0.02)

    def dead_letters_and_forwarding(self):
        """What users drop: unreadable, of another pool's model, and for the splitter and the finisher."""
        homes = {"iris": "shared", "text": "hot", "heavy": "heavy"}
        for model, home in homes.items():
            for tensor in (ROW, LARGE):
                dropped = {"schema_version": 1, "model": model, "input": {"inputs": [tensor]}}
                for pool in homes.values():
                    for kind in ("async", "batch"):
                        if pool != home or tensor is LARGE:
                            self.send(f"{pool}-{kind}", json.dumps(dropped))
        for pool in ("shared", "hot", "heavy"):
            for kind in ("async", "batch", "chunks"):
                self.send(f"{pool}-{kind}", "unreadable")
        for queue in ("heavy-async-high", "heavy-batch-high"):
            self.send(queue, "unreadable")
        for queue in ("batch-split", "batch-finish", "webhooks"):
            self.send(queue, "unreadable")

    def send(self, queue, body):
        self.stage.sqs.send_message(
            QueueUrl=self.stage.queue_url(queue), MessageBody=body, MessageGroupId="default"
        )

    def forgotten(self):
        """Rows whose message was never sent, or whose event was not, found by the sweeper."""
        store = DynamoJobStore(
            self.stage.dynamodb, table=self.stage.table("jobs"), clock=system_clock
        )
        now = system_clock() - 3600
        kinds = {
            "shared": ("async", "batch"),
            "hot": ("async", "batch"),
            "heavy": ("async", "batch"),
        }
        for pool, classes in kinds.items():
            for latency_class in classes:
                for priority in ("normal", "high") if pool == "heavy" else ("normal",):
                    row = new_row(
                        "default",
                        f"{pool}-{latency_class}-{priority}",
                        pool=pool,
                        latency_class=latency_class,
                        priority=priority,
                        created_at=now,
                        ttl_at=now + 86_400,
                        purge_at=now + 10**6,
                    )
                    assert store.create(row) is None
        ended = new_row("default", "ended", webhook="https://example.com/", created_at=now,
                        ttl_at=now + 86_400, purge_at=now + 10**6)  # fmt: skip
        assert store.create(ended) is None
        assert store.cancel(ended.key, now=now) is not None
        self.tick("sweeper")

    def fleet(self):
        ecs = boto3.client("ecs", region_name=REGION)
        ecs.create_cluster(clusterName="laneway-prod")
        ecs.register_task_definition(
            family="w", containerDefinitions=[{"name": "w", "image": "w", "memory": 1}]
        )
        ecs.create_service(
            cluster="laneway-prod", serviceName=WORKERS, taskDefinition="w", desiredCount=0
        )
        self.send("heavy-async", "something to do")
        self.tick("fleet-scaler")
        # Also what the jobs before have left in flight: a pool with a message is not asked for its leases.
        for url in self.stage.sqs.list_queues(QueueNamePrefix="laneway-prod-heavy-")["QueueUrls"]:
            self.stage.sqs.purge_queue(QueueUrl=url)
        self.tick("fleet-scaler")

    def tick(self, short):
        self.stage.function(short).call({"source": "aws.events"})


@pytest.fixture(scope="module")
def roles(gpu_prod):
    return roles_of(gpu_prod)


def test_everything_that_runs_was_seen_running(recorded, roles) -> None:
    silent = {name for name, found in roles.items() if _only_writes_a_log(found)}
    assert set(roles) - silent == set(recorded)


def test_every_call_that_is_made_is_allowed(recorded, roles) -> None:
    assert refused(recorded, roles) == []


def test_every_action_that_is_allowed_is_made_or_its_reason_is_written(recorded, roles) -> None:
    unused = [
        (name, statement.sid, action)
        for name, statements in roles.items()
        for statement in statements
        for action in statement.actions
        if not _is_made(statement, action, recorded[name])
        and not _reason(name, statement.sid, action)
    ]
    assert unused == []


def test_every_resource_that_is_named_is_reached_or_its_reason_is_written(recorded, roles) -> None:
    unused = [
        (name, statement.sid, resource)
        for name, statements in roles.items()
        for statement in statements
        for resource in statement.resources
        if not any(_reason(name, statement.sid, action, resource) for action in statement.actions)
        and not any(
            _is_made(dataclasses.replace(statement, resources=(resource,)), action, recorded[name])
            for action in statement.actions
        )
    ]
    assert unused == []


def test_nobody_may_do_what_only_others_do(recorded, roles) -> None:
    """Each call of anybody, tried under each role: allowed only to those that make calls of its kind."""
    taken = [
        (name, need)
        for name, statements in roles.items()
        for needs in recorded.values()
        for need in needs - recorded[name]
        if allows(statements, need)
        and not _makes_such_calls(name, statements, need, recorded[name])
    ]
    assert taken == []


def test_no_reason_is_given_for_what_is_made_or_not_allowed(recorded, roles) -> None:
    stale = [
        (owner, sid, action)
        for owner, sid, action, where, reason in NOT_CALLED
        if len(reason.split()) < 5
        or not any(
            fnmatchcase(name, owner)
            and fnmatchcase(statement.sid, sid)
            and fnmatchcase(one, action)
            and fnmatchcase(resource, where)
            and not _is_made(
                dataclasses.replace(statement, resources=(resource,)), one, recorded[name]
            )
            for name, statements in roles.items()
            for statement in statements
            for one in statement.actions
            for resource in statement.resources
        )
    ]
    assert stale == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("dynamodb:Scan", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/laneway-prod-keys"),
        ("dynamodb:DeleteTable", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/laneway-prod-jobs"),
        ("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/laneway-dev-jobs"),
        ("s3:GetObject", f"arn:aws:s3:::laneway-dev-{ACCOUNT}-{REGION}/inputs/default/a"),
        ("s3:GetObject", f"arn:aws:s3:::laneway-prod-{ACCOUNT}-{REGION}/other/default/a"),
        ("s3:DeleteObject", f"arn:aws:s3:::laneway-prod-{ACCOUNT}-{REGION}/inputs/default/a"),
        ("s3:DeleteObjectVersion", f"arn:aws:s3:::laneway-prod-{ACCOUNT}-{REGION}/inputs/a"),
        ("s3:PutBucketPolicy", f"arn:aws:s3:::laneway-prod-{ACCOUNT}-{REGION}"),
        ("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any"),
        (
            "lambda:UpdateFunctionCode",
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{SHARED}-realtime",
        ),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/any"),
        ("ssm:PutParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/laneway/prod/webhooks/a"),
        ("sqs:PurgeQueue", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{SHARED}-async"),
    ],
)
def test_nobody_may_do_what_nothing_here_does(roles, action, resource) -> None:
    assert [name for name, found in roles.items() if allows(found, Need(action, resource))] == []


def _only_writes_a_log(statements: list[Statement]) -> bool:
    return all(a.startswith(("logs:", "xray:")) for found in statements for a in found.actions)


def _is_made(statement: Statement, action: str, needs: set[Need]) -> bool:
    return any(
        statement.covers(need, {}) for need in needs if need.action.lower() == action.lower()
    )


def _makes_such_calls(name: str, statements: list[Statement], need: Need, needs: set[Need]) -> bool:
    """Whether a statement that allows it is one by which the same action is taken on its own accord."""
    return any(
        statement.covers(need, {})
        and (
            _is_made(statement, need.action, needs)
            or _reason(name, statement.sid, need.action, need.resource)
        )
        for statement in statements
    )


def _reason(name: str, sid: str, action: str, resource: str = "*") -> str:
    asked = (name, sid, action, resource)
    return next(
        (
            reason
            for *patterns, reason in NOT_CALLED
            if all(fnmatchcase(got, want) for got, want in zip(asked, patterns, strict=True))
        ),
        "",
    )


@pytest.mark.parametrize(
    ("statement", "need", "allowed"),
    [
        ({"Action": "s3:Get*", "Resource": "arn:a/*"}, ("s3:GetObject", "arn:a/b/c"), True),
        ({"Action": "S3:getobject", "Resource": "*"}, ("s3:GetObject", "arn:a"), True),
        ({"Action": "s3:GetObject", "Resource": "arn:a/?"}, ("s3:GetObject", "arn:a/bc"), False),
        ({"Action": "s3:GetObject", "Resource": "arn:a.c"}, ("s3:GetObject", "arn:abc"), False),
        ({"Action": "s3:GetObject", "Resource": "arn:a"}, ("s3:GetObjectAcl", "arn:a"), False),
        (
            {"Action": "a:B", "Resource": "*", "Condition": {"StringEquals": {"k": ["v", "w"]}}},
            ("a:B", "x"),
            False,
        ),
    ],
)
def test_the_evaluator_reads_patterns_as_iam_does(statement, need, allowed) -> None:
    found = read_statements([{"Statement": [{"Effect": "Allow", **statement}]}])
    assert allows(found, Need(*need)) is allowed


def test_the_evaluator_lets_a_deny_win_and_holds_conditions() -> None:
    every = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    when = {"ArnLike": {"k": "arn:*:x"}, "StringEquals": {"l": "v"}}
    deny = {"Effect": "Deny", "Action": "a:B", "Resource": "*", "Condition": when}
    found = read_statements([{"Statement": [every, deny]}])

    assert allows(found, Need("a:B", "r"))
    assert allows(found, Need("a:B", "r"), {"k": "arn:y:x", "l": "w"})
    assert not allows(found, Need("a:B", "r"), {"k": "arn:y:x", "l": "v"})
    with pytest.raises(ValueError, match="NotAction"):
        read_statements([{"Statement": [{"Effect": "Allow", "NotAction": "a:B", "Resource": "*"}]}])
    unknown = [{"Statement": [{**deny, "Condition": {"Bool": {"k": "true"}}}]}]
    with pytest.raises(KeyError):
        allows(read_statements(unknown), Need("a:B", "r"))
