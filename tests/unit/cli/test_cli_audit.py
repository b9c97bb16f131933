"""`laneway audit` over log groups and an archive (moto): what is found, merged, filtered and shown."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws

from cli.record_sources import messages
from cli.records import Record, read_record, settled

REGION = "eu-west-1"
DAY_MS = 24 * 3600 * 1000
CANARY = "canary-of-a-payload"
REQUEST = {
    "message": "request",
    "audit": "infer",
    "principal": "key:k1",
    "tenant": "acme",
    "model": "iris",
    "version": "1",
    "digest": "ab" * 32,
    "request_id": "r-1",
    "status": 200,
    "code": "ok",
    "latency_ms": 1.5,
}
JOB = {**REQUEST, "message": "job", "job_id": "j-1", "outcome": "failed", "code": "invalid_request"}
del JOB["request_id"]
REFUSED = {
    "request_id": "r-2",
    "status": "401",
    "integration_status": "-",
    "route": "$default",
    "ip": "192.0.2.1",
    "tenant": "-",
    "path": f"/{CANARY}",
}


@pytest.fixture
def stage(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield Stage(f"dev{uuid.uuid4().hex[:8]}")


class Stage:
    """A stage's log groups, and its archive where one is made."""

    def __init__(self, name):
        self.name = name
        self.options = ("--stage", name, "--region", REGION)
        self.logs = boto3.client("logs", region_name=REGION)
        self.function = f"/aws/lambda/laneway-{name}-shared-realtime"
        self.access = f"/laneway/{name}/access"
        for group in (self.function, self.access, f"/laneway/{name}/audit"):
            self.logs.create_log_group(logGroupName=group)
            self.logs.create_log_stream(logGroupName=group, logStreamName="s")
            self.logs.put_retention_policy(logGroupName=group, retentionInDays=7)

    def write(self, group, line, *, ago_ms=1000):
        event = {"timestamp": int(time.time() * 1000) - ago_ms, "message": json.dumps(line)}
        self.logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])

    def archive(self, lines, *, at):
        """Keep lines as Firehose does: messages in gzip members, one after the other."""
        s3 = boto3.client("s3", region_name=REGION)
        bucket = f"archive-{self.name}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        events = [
            {"id": str(n), "timestamp": int(at.timestamp() * 1000) + n, "message": json.dumps(line)}
            for n, line in enumerate(lines)
        ]
        members = [
            {"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "test"}]},
            *({"messageType": "DATA_MESSAGE", "logEvents": [event]} for event in events),
        ]
        body = b"".join(gzip.compress(json.dumps(member).encode()) for member in members)
        s3.put_object(Bucket=bucket, Key=f"records/{at:%Y/%m/%d/%H}/laneway-1.gz", Body=body)
        template = {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {"ArchiveBucket": {"Value": bucket}},
        }
        boto3.client("cloudformation", region_name=REGION).create_stack(
            StackName=f"laneway-{self.name}-audit", TemplateBody=json.dumps(template)
        )


def found(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_records_of_all_log_groups_come_in_one_order_and_other_lines_do_not(laneway, stage):
    stage.write(stage.function, REQUEST, ago_ms=3000)
    stage.write(stage.function, {"message": "request", "status": 200, "request_id": "r-0"})
    stage.write(f"/laneway/{stage.name}/audit", {"audit": "key_create", "key_id": "k2"})
    stage.write(stage.access, REFUSED, ago_ms=2000)
    stage.write(stage.access, {**REFUSED, "status": "200"})
    stage.write(stage.access, {**REFUSED, "integration_status": "200", "status": "403"})

    records = found(laneway("audit", "--json", *stage.options))

    assert [record["act"] for record in records] == ["infer", "denied", "key_create"]
    infer, denied, _ = records
    assert infer == {
        "time": infer["time"],
        "act": "infer",
        "outcome": "ok",
        "status": "200",
        "principal": "key:k1",
        "tenant": "acme",
        "model": "iris",
        "version": "1",
        "digest": "ab" * 32,
        "request_id": "r-1",
    }
    assert denied["outcome"] == "unauthorized"
    assert (denied["route"], denied["ip"]) == ("$default", "192.0.2.1")
    assert CANARY not in json.dumps(records)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--tenant", "acme"), ["r-1", "j-1"]),
        (("--tenant", "other"), []),
        (("--model", "iris", "--act", "infer"), ["r-1", "j-1"]),
        (("--act", "submit", "--act", "denied"), ["r-2"]),
        (("--principal", "key:*"), ["r-1", "j-1"]),
        (("--principal", "key:k2"), []),
        (("--request-id", "j-1"), ["j-1"]),
        (("--since", "2s"), ["j-1"]),
        (("--until", "2s"), ["r-1", "r-2"]),
    ],
)
def test_filters_narrow_what_is_shown(laneway, stage, options, expected):
    stage.write(stage.function, REQUEST, ago_ms=4000)
    stage.write(stage.access, REFUSED, ago_ms=3500)
    stage.write(stage.function, JOB, ago_ms=1000)

    records = found(laneway("audit", "--json", *options, *stage.options))

    assert [record.get("job_id", record.get("request_id")) for record in records] == expected


def test_what_is_older_than_the_log_groups_comes_from_the_archive(laneway, stage):
    long_ago = datetime.now(UTC) - timedelta(days=20)
    stage.archive([REQUEST, {**REQUEST, "tenant": "other"}, REFUSED], at=long_ago)
    stage.write(stage.function, JOB)

    records = found(
        laneway("audit", "--json", "--since", "30d", "--tenant", "acme", *stage.options)
    )
    recent = found(laneway("audit", "--json", *stage.options))

    assert [record["act"] for record in records] == ["infer", "infer"]
    assert records[0]["time"] < (datetime.now(UTC) - timedelta(days=19)).isoformat()
    assert [record.get("job_id") for record in recent] == ["j-1"]


def test_the_newest_are_shown_as_a_table_that_says_that_there_are_more(laneway, stage):
    for number in range(3):
        stage.write(stage.function, {**REQUEST, "request_id": f"r-{number}"}, ago_ms=9000 - number)

    result = laneway("audit", "--limit", "2", *stage.options)

    assert result.exit_code == 0, result.output
    assert "r-0" not in result.stdout
    assert "r-1" in result.stdout
    assert "r-2" in result.stdout
    assert "there are more" in result.stderr


def test_a_stage_that_is_not_there_is_said_to_be_so(laneway, stage):
    missing = laneway("audit", "--stage", "nobody", "--region", REGION)
    unheard = laneway("audit", "--act", "dance", *stage.options)
    untimely = laneway("audit", "--since", "yesterday", *stage.options)

    assert (missing.exit_code, unheard.exit_code, untimely.exit_code) == (1, 2, 2)
    assert "stage nobody has no log group" in missing.stderr
    assert "7d" in untimely.stderr


def test_lines_of_a_stage_whose_name_begins_alike_are_not_taken_for_this_ones():
    line = json.dumps({**REQUEST, "stage": "dev-2"})

    assert read_record(line, 0, stage="dev") is None
    assert read_record(line, 0, stage="dev-2") is not None


def record(second, act="denied", outcome="forbidden", request_id="r", **members):
    time = f"2026-11-22T06:{second // 60:02}:{second % 60:02}.000Z"
    return Record(time=time, act=act, outcome=outcome, request_id=request_id, **members)


def test_the_authorizers_refusal_and_the_gateways_are_one_record_with_what_both_know():
    [one] = settled([record(0, outcome="unknown_key"), record(1, route="$default", status="403")])

    assert (one.outcome, one.route, one.status) == ("unknown_key", "$default", "403")


def test_a_signed_call_that_iam_refuses_is_recorded_with_who_signed_it():
    session = "arn:aws:sts::111122223333:assumed-role/reader/session-1"
    refused = {**REFUSED, "status": "403", "iam_caller": session}

    told = read_record(json.dumps(refused), 0, stage="dev")

    assert (told.act, told.outcome) == ("denied", "forbidden")
    assert told.principal == "iam:arn:aws:sts::111122223333:assumed-role/reader"
    assert told.tenant == "iam.111122223333.role.reader"
    unsigned = read_record(json.dumps({**refused, "iam_caller": "-"}), 0, stage="dev")
    assert (unsigned.principal, unsigned.tenant) == ("", "")


def test_an_act_that_ended_is_one_record_and_one_that_took_long_is_two():
    begun = record(0, act="erase", outcome="begun")

    assert [r.outcome for r in settled([begun, record(5, act="erase", outcome="ok")])] == ["ok"]
    assert [r.outcome for r in settled([begun])] == ["begun"]
    late = settled(
        [begun, record(200, act="infer", request_id="x"), record(300, act="erase", outcome="ok")]
    )
    assert [r.outcome for r in late] == ["begun", "forbidden", "ok"]


def test_two_calls_with_one_id_of_different_acts_stay_two():
    both = [record(0, act="infer", outcome="ok"), record(0, act="infer", outcome="ok")]

    assert len(list(settled(both))) == 2


def test_an_object_of_the_archive_may_have_blank_lines_between_messages():
    body = gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"b": 2}')

    assert list(messages(body)) == [{"a": 1}, {"b": 2}]
