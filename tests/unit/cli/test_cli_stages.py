"""How the command line finds a deployed stage: the output of its ingress stack (moto)."""

import json
import os
import uuid

import boto3
import pytest
from moto import mock_aws

from cli.output import CommandError
from cli.stages import endpoint

REGION = "eu-west-1"
URL = "https://abc123.execute-api.eu-west-1.amazonaws.com"


@pytest.fixture
def deploy(monkeypatch):
    """Creates a stage's ingress stack with these outputs; gives the stage's name."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def create(outputs):
        stage = f"dev{uuid.uuid4().hex[:8]}"
        template = {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        boto3.client("cloudformation", region_name=REGION).create_stack(
            StackName=f"laneway-{stage}-ingress", TemplateBody=json.dumps(template)
        )
        return stage

    with mock_aws():
        yield create


def test_the_endpoint_is_what_the_ingress_stack_says(deploy):
    assert endpoint(deploy({"Endpoint": URL}), REGION) == URL


def test_a_stack_without_the_output_is_told(deploy):
    with pytest.raises(CommandError, match="no output Endpoint"):
        endpoint(deploy({"Other": "x"}), REGION)


def test_a_machine_that_says_no_region_is_told_how_to_name_one(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)

    with pytest.raises(CommandError, match="--region or AWS_REGION"):
        endpoint("nowhere", None)


@pytest.mark.usefixtures("deploy")
def test_a_stage_that_is_not_deployed_says_how_to_deploy_it():
    with pytest.raises(CommandError, match="make deploy STAGE=nowhere"):
        endpoint("nowhere", REGION)
