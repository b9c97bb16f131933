"""Clients for the emulator that neither read nor need any AWS configuration of the caller."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_apigatewayv2 import ApiGatewayV2Client
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from cli.dev.state import AwsAccess


@dataclass(frozen=True, slots=True)
class Clients:
    """The services of the emulator that the local service itself talks to."""

    functions: LambdaClient
    logs: CloudWatchLogsClient
    tables: DynamoDBClient
    apis: ApiGatewayV2Client
    secrets: SecretsManagerClient


def connect(access: AwsAccess) -> Clients:
    """Clients that send to the emulator alone."""
    import boto3

    forget_aws_settings()
    session = boto3.Session(
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        region_name=access.region,
    )
    url = access.endpoint_url
    return Clients(
        functions=session.client("lambda", endpoint_url=url),
        logs=session.client("logs", endpoint_url=url),
        tables=session.client("dynamodb", endpoint_url=url),
        apis=session.client("apigatewayv2", endpoint_url=url),
        secrets=session.client("secretsmanager", endpoint_url=url),
    )


def forget_aws_settings() -> None:
    """Drop every AWS setting of this process: a profile of the caller's would be looked up and fail."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.devnull
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
