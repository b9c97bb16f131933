"""`laneway erase` on the whole service (moto): everything of one tenant goes, and nothing of any other."""

from __future__ import annotations

import json
import uuid

import boto3
import pytest
from typer.testing import CliRunner

from cli.erasing.erasure import Erasure, Kept
from cli.erasing.tally import MESSAGE_S
from cli.main import app
from cli.output import CommandError
from cli.tenant_letters import owner_of
from cli.testing.lambdas import REGION
from shared.jobs.clock import system_clock
from shared.jobs.webhook_secrets import SsmSecretStore, create_secret
from shared.keys import API_KEY_HEADER, create_key
from shared.queues.protocol import Delivery
from shared.results.batches import BatchKey
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.dynamodb import DynamoJobStore
from shared.results.rows import JobKey
from shared.results.table import TTL_ATTRIBUTE
from stacks.parts.queue import RETENTION_S
from tests.fixtures.aws_calls import AwsCalls, Crash, crash_points

TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
LARGE = {"name": "x", "shape": [4000, 2], "datatype": "FP32", "data": [0.125] * 8000}
LINE = {"custom_id": "a", "method": "POST", "url": "/v2/models/scale/infer"}
SECRET = "canary-of-a-tenant"


class Tenant:
    """A caller with a name of its own, so that tests share one service."""

    def __init__(self, service, name=None):
        self.service = service
        self.name = name or f"t{uuid.uuid4().hex[:8]}"
        secret, _ = create_key(service.keys, tenant=self.name, name="erased")
        self.headers = {API_KEY_HEADER: secret}

    def call(self, method, path, **body):
        return self.service.request(method, path, body=body or b"", headers=self.headers)

    def job(self, tensor=TENSOR, **more):
        submission = {"model": "scale", "latency_class": "async", "input": {"inputs": [tensor]}}
        answer = self.call("POST", "/v2/jobs", **submission, **more)
        assert answer.status == 202, answer.body
        return json.loads(answer.body)["id"]

    def upload(self, data):
        place = json.loads(self.call("POST", "/v2/uploads", max_bytes=10**6).body)
        bucket, _, key = place["uri"].removeprefix("s3://").partition("/")
        self.service.resources.s3.put_object(Bucket=bucket, Key=key, Body=data)
        return place["uri"]

    def batch(self, lines=3):
        line = json.dumps({**LINE, "body": {"inputs": [TENSOR]}}).encode()
        uri = self.upload(b"\n".join([line] * lines))
        answer = self.call("POST", "/v2/batches", endpoint="/v2/models/scale/infer", input=uri)
        assert answer.status == 202, answer.body
        return json.loads(answer.body)["id"]

    def fill(self):
        """Jobs that ended, large ones, a batch, an upload that was overwritten, one job that waits."""
        large = self.job(LARGE, metadata={"who": SECRET})
        small = self.job(metadata={"who": SECRET})
        batch = self.batch()
        self.service.run_jobs()
        uri = self.upload(b"first")
        key = uri.partition("://")[2].partition("/")[2]
        s3, bucket = self.service.resources.s3, self.service.resources.bucket
        s3.put_object(Bucket=bucket, Key=key, Body=SECRET.encode())
        s3.delete_object(Bucket=bucket, Key=key)
        s3.create_multipart_upload(Bucket=bucket, Key=f"uploads/{self.name}/parts")
        waiting = self.job(metadata={"who": SECRET}, webhook="https://example.com/hook")
        return large, small, batch, waiting

    def kept(self, clock=system_clock, **more):
        resources = self.service.resources
        return Erasure(
            Kept(
                dynamodb=resources.dynamodb,
                s3=resources.s3,
                secrets=SsmSecretStore(boto3.client("ssm", region_name=REGION), stage="local"),
                jobs_table=resources.jobs_table,
                batches_table=resources.batches_table,
                bucket=resources.bucket,
            ),
            tenant=self.name,
            clock=clock,
            **({"sleep": fails} | more),
        )

    def left(self):
        """Everything that any store holds of it, as text."""
        resources, found = self.service.resources, []
        for table in (resources.jobs_table, resources.batches_table):
            for page in resources.dynamodb.get_paginator("scan").paginate(TableName=table):
                found += [item for item in page["Items"] if f"{self.name}/" in item["pk"]["S"]]
        for page in resources.s3.get_paginator("list_object_versions").paginate(
            Bucket=resources.bucket
        ):
            versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            found += [one for one in versions if f"/{self.name}/" in one["Key"]]
        return found


def fails(_seconds):
    raise AssertionError("nobody has to be waited for")


@pytest.fixture(scope="module")
def service(laneway_service):
    laneway_service.resources.s3.put_bucket_versioning(
        Bucket=laneway_service.resources.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    return laneway_service


@pytest.fixture
def tenant(service):
    service.run_jobs()  # what others left
    return Tenant(service)


def test_everything_of_a_tenant_goes_in_all_its_versions_but_the_id_of_a_job_that_waits(
    tenant,
) -> None:
    *ended, waiting = tenant.fill()
    assert len(tenant.left()) > 10

    removed = tenant.kept().run()

    assert removed["jobs"] == 3
    assert removed["canceled jobs"] == 1
    assert removed["batches"] == removed["chunks"] == removed["unfinished uploads"] == 1
    assert removed["object versions"] >= 8
    stubs = tenant.left()
    assert {item["pk"]["S"] for item in stubs} == {
        f"{tenant.name}/{waiting}",
        f"{tenant.name}/{ended[-1]}",
    }
    assert SECRET not in str(stubs)
    assert "example.com" not in str(stubs)
    for item in stubs:
        assert (
            set(item) & {"listed_at", "tenant", "input_bytes", "hook", "unsent_at", "due_at"}
            == set()
        )
        assert TTL_ATTRIBUTE in item
    assert json.loads(tenant.call("GET", "/v2/jobs").body)["jobs"] == []
    assert json.loads(tenant.call("GET", "/v2/batches").body)["batches"] == []
    assert tenant.call("GET", f"/v2/jobs/{ended[0]}").status == 404


def test_what_is_on_queues_of_an_erased_job_or_batch_ends_quietly(tenant, service) -> None:
    resources = service.resources
    job, batch = tenant.job(), tenant.batch()
    for source in service.sources:  # the batch runs, and the messages of its chunks wait
        if source.name.endswith("batch-split"):
            source.drain()

    tenant.kept().run()
    service.run_jobs()

    store = DynamoJobStore(resources.dynamodb, table=resources.jobs_table, clock=system_clock)
    batches = DynamoBatchStore(resources.dynamodb, table=resources.batches_table)
    assert store.get(JobKey(tenant.name, job)).status == "canceled"
    assert batches.get(BatchKey(tenant.name, batch)).status == "canceled"
    assert not any(poll.failed for source in service.sources for poll in source.polls)
    for url in [u for urls in resources.dead_letters.values() for u in urls.values()]:
        found = resources.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        bodies = resources.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0).get(
            "Messages", ()
        )
        assert tenant.name not in str(bodies), found


def test_other_tenants_keep_everything_also_those_whose_names_begin_alike(tenant, service) -> None:
    neighbour = Tenant(service, f"{tenant.name}-2")
    for one in (tenant, neighbour):
        one.fill()
    before = neighbour.left()

    tenant.kept().run()

    assert neighbour.left() == before


def test_to_erase_again_finds_nothing(tenant) -> None:
    tenant.fill()
    tenant.kept().run()

    assert tenant.kept().run().total() == 0


def test_it_may_be_cut_off_at_any_call_and_begun_again(tenant, service) -> None:
    calls = AwsCalls()
    calls.watch(service.resources.dynamodb, service.resources.s3)
    tenant.fill()
    calls.forget()
    tenant.kept().run()
    made = len(calls.made)
    points = [point for point in crash_points(made) if point[1] % 10 == 0]
    assert len(points) > 4

    for when, nth in points:
        again = Tenant(service)
        again.job(LARGE)
        again.batch(1)
        service.run_jobs()
        again.job()
        calls.forget()
        calls.crash(when, nth)
        try:
            again.kept().run()
        except Crash:
            again.kept().run()
        calls.forget()
        assert not [item for item in again.left() if "pk" not in item or "listed_at" in item]
        assert not [item for item in again.left() if item.get("sk", {}).get("S", "row") != "row"]


def test_a_run_that_was_stopped_is_waited_for_and_what_it_still_wrote_goes_too(
    tenant, service
) -> None:
    job = tenant.job()
    resources, now = service.resources, [system_clock()]
    store = DynamoJobStore(resources.dynamodb, table=resources.jobs_table, clock=system_clock)
    key = JobKey(tenant.name, job)
    fence = store.claim(key, owner="w", lease_until=now[0] + 12, now=now[0]).row.fence

    def while_waiting(seconds):
        assert seconds <= 5
        late = f"results/{tenant.name}/{job}/{fence}"
        resources.s3.put_object(Bucket=resources.bucket, Key=late, Body=b"late")
        now[0] += seconds

    removed = tenant.kept(clock=lambda: now[0], sleep=while_waiting).run()

    assert now[0] > system_clock() + 10
    assert removed["canceled jobs"] == 1
    assert not store.extend(key, fence=fence, lease_until=now[0] + 60)
    assert [item for item in tenant.left() if "Key" in item] == []


def test_a_tenant_that_goes_on_submitting_is_told_to_be_shut_out_first(tenant, monkeypatch) -> None:
    monkeypatch.setattr("cli.erasing.erasure.PASSES_MAX", 3)
    erasure = tenant.kept(told=lambda kind, _: kind == "jobs" and tenant.job())
    tenant.job()

    with pytest.raises(CommandError, match="revoke its keys"):
        erasure.run()


def test_signing_secrets_go_and_those_of_others_stay(tenant) -> None:
    secrets = SsmSecretStore(boto3.client("ssm", region_name=REGION), stage="local")
    for name in (tenant.name, f"{tenant.name}-2"):
        create_secret(secrets, name)

    assert tenant.kept().run()["secrets"] == 1

    assert secrets.get(tenant.name) == ()
    assert secrets.get(f"{tenant.name}-2")


def test_an_id_is_kept_for_as_long_as_its_message_may_lie_on_a_queue() -> None:
    assert MESSAGE_S == RETENTION_S


def letter(body, tenant=None):
    text = body if isinstance(body, str) else json.dumps(body)
    return Delivery(message_id="m", receipt="r", body=text, receive_count=1, tenant=tenant)


@pytest.mark.parametrize(
    ("body", "owner"),
    [
        ({"schema_version": 1, "job": {"tenant": "acme", "id": "1"}}, "acme"),
        ({"schema_version": 1, "event": {"tenant": "acme", "id": "1"}}, "acme"),
        ({"schema_version": 1, "chunk": {"tenant": "acme", "id": "1", "index": 3}}, "acme"),
        ({"schema_version": 1, "recurring": {"tenant": "acme", "id": "1"}}, "acme"),
        ({"Records": [{"s3": {"object": {"key": "uploads/acme/a%2Fb"}}}]}, "acme"),
        ({"schema_version": 1, "model": "scale", "tenant": "acme"}, "default"),
        ("no JSON", "default"),
        ("[]", "default"),
    ],
)
def test_a_dead_letter_belongs_to_whom_it_names_or_to_the_queue(body, owner) -> None:
    assert owner_of(letter(body), dropped="default") == owner


@pytest.mark.parametrize("name", ["", "a/b", "..", "*", "-a", "a b"])
def test_a_name_that_is_no_tenants_is_refused_before_anything_is_asked(name) -> None:
    done = CliRunner().invoke(app, ["erase", "--tenant", name, "--yes"])

    assert done.exit_code == 2
    assert "no tenant's name" in done.output
