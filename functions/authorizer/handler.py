"""Entry point of the authorizer: settings, the keys table, the handler."""

from __future__ import annotations

import os
from typing import Final

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config

from functions.authorizer.authorize import make_handler
from shared.keys_dynamodb import DynamoKeyStore
from shared.settings import AuthorizerSettings

# A gateway waits 10 s for its authorizer and a caller waits with it: fail early and try once more.
_TIMEOUTS: Final = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})

_settings = AuthorizerSettings.from_env(os.environ)
handler = make_handler(
    DynamoKeyStore(boto3.client("dynamodb", config=_TIMEOUTS), table=_settings.keys_table),
    logger=Logger(service="laneway-authorizer", level=_settings.log_level),
)
