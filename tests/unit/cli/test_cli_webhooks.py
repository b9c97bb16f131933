"""`laneway webhooks secret` against SSM (moto): what is printed, and what is kept."""

import uuid

import boto3
import pytest
from moto import mock_aws

from shared.jobs.webhook_secrets import SsmSecretStore
from tests.fixtures.audit_log import audited, make_audit_log


@pytest.fixture
def stage(monkeypatch):
    """Options that name a stage of its own in a fake account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        name = f"dev{uuid.uuid4().hex[:8]}"
        make_audit_log(name, "eu-west-1")
        yield ("--stage", name, "--region", "eu-west-1")


def kept(stage, tenant="default"):
    client = boto3.client("ssm", region_name="eu-west-1")
    return [item.value for item in SsmSecretStore(client, stage=stage[1]).get(tenant)]


def test_create_prints_the_secret_alone_on_stdout(laneway, stage):
    result = laneway("webhooks", "secret", "create", "--tenant", "acme", *stage)
    assert result.exit_code == 0, result.output
    assert [result.stdout.strip()] == kept(stage, "acme")
    assert result.stdout.startswith("whsec_")
    assert "whsec_" not in result.stderr


def test_a_second_create_says_how_to_rotate(laneway, stage):
    laneway("webhooks", "secret", "create", *stage)
    result = laneway("webhooks", "secret", "create", *stage)
    assert result.exit_code == 1
    assert "secret rotate" in result.stderr
    assert len(kept(stage)) == 1


def test_rotate_keeps_the_secret_before_and_retire_removes_it(laneway, stage):
    old = laneway("webhooks", "secret", "create", *stage).stdout.strip()
    rotated = laneway("webhooks", "secret", "rotate", *stage)
    new = rotated.stdout.strip()
    assert kept(stage) == [new, old]
    assert "secret retire" in rotated.stderr
    assert laneway("webhooks", "secret", "retire", *stage).exit_code == 0
    assert kept(stage) == [new]
    lines = audited(stage[1], "eu-west-1")
    assert [line["audit"] for line in lines] == ["secret_change"] * 6
    assert old not in str(lines)
    assert new not in str(lines)


def test_show_lists_the_active_secrets_newest_first(laneway, stage):
    old = laneway("webhooks", "secret", "create", *stage).stdout.strip()
    new = laneway("webhooks", "secret", "rotate", *stage).stdout.strip()
    shown = laneway("webhooks", "secret", "show", *stage)
    assert shown.exit_code == 0
    assert 0 < shown.stdout.index(new) < shown.stdout.index(old)


def test_show_without_a_secret_says_how_to_make_one(laneway, stage):
    result = laneway("webhooks", "secret", "show", "--tenant", "acme", *stage)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "laneway webhooks secret create --tenant acme" in result.stderr


@pytest.mark.parametrize("command", ["rotate", "retire"])
def test_a_tenant_without_a_secret_is_told_how_to_make_one(laneway, stage, command):
    result = laneway("webhooks", "secret", command, *stage)
    assert result.exit_code == 1
    assert "secret create" in result.stderr


@pytest.mark.parametrize("tenant", ["", "a/b", "ä", "x" * 129])
def test_a_tenant_that_cannot_be_one_is_refused(laneway, stage, tenant):
    result = laneway("webhooks", "secret", "create", "--tenant", tenant, *stage)
    assert result.exit_code == 2
    assert kept(stage) == []


def test_without_a_local_service_the_command_says_what_to_start(laneway):
    result = laneway("webhooks", "secret", "show")
    assert result.exit_code == 1
    assert "make dev" in result.stderr
