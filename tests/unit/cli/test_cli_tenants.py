"""`laneway tenants` against a DynamoDB table (moto): what is printed, and what then holds."""

import uuid

import boto3
import pytest
from moto import mock_aws

from shared.limiting.tenants import DynamoTenantStore, limits_of, table_definition
from shared.schema.tenants import TenantLimits
from tests.fixtures.audit_log import audited, drop_audit_log, make_audit_log

DEPLOYED = f"dev{uuid.uuid4().hex[:8]}"
TABLE = f"laneway-{DEPLOYED}-tenants"
STAGE = ("--stage", DEPLOYED, "--region", "eu-west-1")
DEFAULTS = TenantLimits(requests_per_s=5, burst=9, concurrent_jobs=50)


@pytest.fixture
def store(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1")
        client.create_table(**table_definition(TABLE))
        make_audit_log(DEPLOYED, "eu-west-1")
        yield DynamoTenantStore(client, table=TABLE)
        # moto keeps its state as long as any test of this process is inside it
        client.delete_table(TableName=TABLE)
        drop_audit_log(DEPLOYED, "eu-west-1")


def test_what_is_set_is_what_an_authorizer_hands_down(laneway, store):
    result = laneway("tenants", "set", "acme", "--requests-per-s", "2.5", "--burst", "10", *STAGE)
    laneway("tenants", "set", "acme", "--concurrent-jobs", "none", *STAGE)

    assert result.exit_code == 0, result.output
    text = limits_of(store, "acme", defaults=DEFAULTS)
    assert text == '{"requests_per_s":2.5,"burst":10}'
    assert [(line["audit"], line["tenant"]) for line in audited(DEPLOYED, "eu-west-1")] == [
        ("limits_change", "acme")
    ] * 4


def test_a_limit_goes_back_to_what_the_stage_gives(laneway, store):
    laneway("tenants", "set", "acme", "--bytes-per-day", "1000", *STAGE)

    laneway("tenants", "set", "acme", "--bytes-per-day", "stage", *STAGE)

    assert store.all() == []


def test_list_and_show_tell_numbers_and_whose_the_others_are(laneway, store):  # noqa: ARG001  the fixture makes the table
    laneway("tenants", "set", "acme", "--requests-per-s", "3", "--bytes-per-day", "none", *STAGE)

    listed = laneway("tenants", "list", *STAGE).stdout
    shown = laneway("tenants", "show", "acme", *STAGE).stdout

    [line] = [line for line in listed.splitlines() if "acme" in line]
    assert line.split() == ["acme", "3", "stage", "stage", "none"]
    assert shown.split() == [
        *("requests_per_s", "3", "burst", "stage"),
        *("concurrent_jobs", "stage", "bytes_per_day", "none"),
    ]


def test_without_rows_list_says_that_all_have_what_the_stage_gives(laneway, store):  # noqa: ARG001  as above
    assert "what the stage gives" in laneway("tenants", "list", *STAGE).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing to set"),
        (("--burst", "many"), "--burst should be a number"),
        (("--concurrent-jobs", "0"), "concurrent_jobs should be a whole number above 0"),
        (("--bytes-per-day", "1.5"), "bytes_per_day should be a whole number above 0"),
        (("--requests-per-s", "-1"), "requests_per_s should be a number above 0"),
    ],
)
def test_what_is_no_limit_is_refused_and_nothing_is_kept(laneway, store, options, said):
    result = laneway("tenants", "set", "acme", *options, *STAGE)

    assert result.exit_code == 1
    assert said in result.stderr
    assert store.all() == []


def test_a_name_that_no_tenant_has_is_refused(laneway, store):  # noqa: ARG001  as above
    assert laneway("tenants", "show", "a/b", *STAGE).exit_code == 2
