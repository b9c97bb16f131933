"""`laneway keys` against a DynamoDB table (moto): what is printed, and what is kept."""

import hashlib
import json
import uuid

import boto3
import pytest
from moto import mock_aws

from cli.commands.keys import working_keys
from tests.fixtures.audit_log import audited, make_audit_log
from tests.fixtures.one_address import one_address

# Other tests' moto may be running around this one's: a table of a name must be made once.
DEPLOYED = f"dev{uuid.uuid4().hex[:8]}"
TABLE = f"laneway-{DEPLOYED}-keys"
STAGE = ("--stage", DEPLOYED, "--region", "eu-west-1")


def make_table(name):
    client = boto3.client("dynamodb", region_name="eu-west-1")
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "key_hash", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key_hash", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def items(client, table=TABLE):
    found = client.scan(TableName=table)["Items"]
    keys = [{name: value["S"] for name, value in item.items()} for item in found]
    return [key for key in keys if "key_id" in key]


@pytest.fixture
def account(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def address(account):  # noqa: ARG001  the fixture opens the fake account
    """All services of the account at one address, as the emulator has them."""
    with one_address() as found:
        yield found


@pytest.fixture
def table(account):  # noqa: ARG001  the fixture opens the fake account
    client = make_table(TABLE)
    make_audit_log(DEPLOYED, "eu-west-1")
    yield client
    client.delete_table(TableName=TABLE)


def test_create_prints_the_key_alone_on_stdout_and_keeps_only_its_hash(laneway, table):
    result = laneway("keys", "create", "--tenant", "acme", "--name", "ci", *STAGE)

    assert result.exit_code == 0, result.output
    key = result.stdout.strip()
    (item,) = items(table)
    assert key.startswith("lw_")
    assert len(key) == 46
    assert item["key_hash"] == hashlib.sha256(key.encode()).hexdigest()
    assert (item["tenant"], item["name"]) == ("acme", "ci")
    assert key not in json.dumps(item)
    assert key not in result.stderr


def test_each_change_of_a_key_is_recorded_before_it_is_done_and_after(laneway, table):
    key_id = laneway("keys", "create", "--tenant", "acme", *STAGE).stderr.split()[1]
    mark = len(audited(DEPLOYED, "eu-west-1"))
    rotated = laneway("keys", "rotate", key_id, "--now", *STAGE).stderr.split()[1]
    laneway("keys", "revoke", rotated, *STAGE)

    [*_, begun, done] = audited(DEPLOYED, "eu-west-1")[:mark]
    after = audited(DEPLOYED, "eu-west-1")[mark:]
    assert (begun["audit"], begun["outcome"], done["outcome"]) == ("key_create", "begun", "ok")
    assert begun["request_id"] == done["request_id"]
    assert (done["tenant"], done["key_id"]) == ("acme", key_id)
    assert done["principal"].startswith("iam:arn:aws:")
    assert [(line["audit"], line["key_id"], line["outcome"]) for line in after] == [
        ("key_create", rotated, "begun"),
        ("key_create", rotated, "ok"),
        ("key_revoke", key_id, "ok"),
        ("key_revoke", rotated, "begun"),
        ("key_revoke", rotated, "ok"),
    ]
    assert items(table)
    assert "lw_" not in json.dumps(audited(DEPLOYED, "eu-west-1"))


def test_what_cannot_be_recorded_is_not_done(laneway, table):
    logs = boto3.client("logs", region_name="eu-west-1")
    logs.delete_log_group(logGroupName=f"/laneway/{DEPLOYED}/audit")

    result = laneway("keys", "create", *STAGE)

    make_audit_log(DEPLOYED, "eu-west-1")
    assert result.exit_code == 1
    assert "nothing was done" in result.stderr
    assert "logs:PutLogEvents" in result.stderr
    assert items(table) == []


@pytest.mark.parametrize("tenant", ["a/b", "", "a b", "-a", "a\nb", "x" * 129])
def test_a_tenant_that_could_not_be_part_of_a_prefix_is_refused(laneway, table, tenant):
    result = laneway("keys", "create", "--tenant", tenant, *STAGE)

    assert result.exit_code == 2
    assert items(table) == []


def test_list_shows_ids_and_tenants_and_never_a_key(laneway, table):
    first = laneway("keys", "create", "--tenant", "acme", *STAGE).stdout.strip()
    laneway("keys", "create", "--tenant", "globex", *STAGE)

    result = laneway("keys", "list", *STAGE)

    assert result.exit_code == 0, result.output
    assert "acme" in result.stdout
    assert "globex" in result.stdout
    assert all(item["key_id"] in result.stdout for item in items(table))
    assert first not in result.output
    assert hashlib.sha256(first.encode()).hexdigest() not in result.output


@pytest.mark.usefixtures("table")
def test_list_of_an_empty_table_says_how_to_make_a_key(laneway):
    result = laneway("keys", "list", *STAGE)

    assert result.exit_code == 0
    assert f"laneway keys create --stage {DEPLOYED}" in result.stderr


def test_revoke_marks_the_key_and_list_shows_it(laneway, table):
    laneway("keys", "create", *STAGE)
    key_id = items(table)[0]["key_id"]

    result = laneway("keys", "revoke", key_id, *STAGE)

    assert result.exit_code == 0, result.output
    revoked_at = items(table)[0]["revoked_at"]
    assert revoked_at in result.stderr
    assert revoked_at in laneway("keys", "list", *STAGE).stdout


def test_a_key_gets_the_scopes_that_are_asked_for(laneway, table):
    result = laneway("keys", "create", "--scope", "infer:scale,read", "--scope", "submit", *STAGE)

    assert result.exit_code == 0, result.output
    assert items(table)[0]["scopes"] == "infer:scale read submit"
    assert "infer:scale read submit" in laneway("keys", "list", *STAGE).stdout


def test_a_scope_that_there_is_not_is_refused_with_those_that_there_are(laneway, table):
    result = laneway("keys", "create", "--scope", "write", *STAGE)

    assert result.exit_code == 2
    assert "admin" in result.stderr
    assert items(table) == []


def test_keys_change_without_a_pause(laneway, table):
    """Create, rotate, revoke the old one; a third at once is refused with the commands to use."""
    old = laneway("keys", "create", "--tenant", "acme", *STAGE).stdout.strip()
    key_id = items(table)[0]["key_id"]

    rotated = laneway("keys", "rotate", key_id, *STAGE)
    third = laneway("keys", "create", "--tenant", "acme", *STAGE)
    revoked = laneway("keys", "revoke", key_id, *STAGE)

    assert rotated.exit_code == 0, rotated.output
    assert rotated.stdout.strip() not in ("", old)
    assert f"works until `laneway keys revoke {key_id}`" in rotated.stderr
    assert third.exit_code == 1
    assert "laneway keys rotate ID --now" in third.stderr
    assert revoked.exit_code == 0
    assert len(items(table)) == 2


def test_rotating_now_revokes_the_old_key_at_once(laneway, table):
    laneway("keys", "create", *STAGE)
    key_id = items(table)[0]["key_id"]

    result = laneway("keys", "rotate", key_id, "--now", *STAGE)

    assert result.exit_code == 0, result.output
    assert f"{key_id} is revoked" in result.stderr
    assert [bool(item.get("revoked_at")) for item in items(table)].count(True) == 1


@pytest.mark.usefixtures("table")
def test_revoking_an_unknown_id_points_to_the_list(laneway):
    result = laneway("keys", "revoke", "nope", *STAGE)

    assert result.exit_code == 1
    assert "laneway keys list" in result.stderr


@pytest.mark.usefixtures("account")
def test_a_stage_that_is_not_deployed_says_how_to_deploy_it(laneway):
    result = laneway("keys", "list", *STAGE)

    assert result.exit_code == 1
    assert f"make deploy STAGE={DEPLOYED}" in result.stderr
    assert "Traceback" not in result.output


def test_the_local_stage_is_that_of_make_dev_and_needs_no_aws_settings(
    laneway, tmp_path, monkeypatch, address
):
    client = make_table(f"local-{TABLE}")
    make_audit_log("local", "eu-west-1")
    (tmp_path / ".laneway").mkdir()
    aws = {
        "endpoint_url": address,
        "access_key_id": "testing",
        "secret_access_key": "testing",
        "region": "eu-west-1",
    }
    dev = {"endpoint": "http://127.0.0.1:9", "aws": aws, "tables": {"keys": f"local-{TABLE}"}}
    (tmp_path / ".laneway" / "dev.json").write_text(json.dumps(dev))

    monkeypatch.setenv("AWS_PROFILE", "a-profile-that-nobody-has")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    result = laneway("keys", "create")

    monkeypatch.undo()
    assert result.exit_code == 0, result.output
    assert len(items(client, f"local-{TABLE}")) == 1


def test_without_a_local_service_the_two_ways_out_are_told(laneway):
    result = laneway("keys", "list")

    assert result.exit_code == 1
    assert "make dev" in result.stderr
    assert "--stage" in result.stderr


def test_who_erases_a_tenant_learns_which_of_its_keys_still_work(laneway, table):
    for _ in range(2):
        laneway("keys", "create", "--tenant", "leaving", *STAGE)
    laneway("keys", "create", "--tenant", "staying", *STAGE)
    one, other = [key["key_id"] for key in items(table) if key["tenant"] == "leaving"]
    laneway("keys", "revoke", one, *STAGE)

    assert working_keys("leaving", DEPLOYED, "eu-west-1") == [other]


@pytest.mark.usefixtures("account")
def test_where_keys_cannot_be_looked_at_none_is_known():
    assert working_keys("leaving", "nowhere", "eu-west-1") == []
