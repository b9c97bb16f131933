"""Entry point of the authorizer: settings, the tables, what the stage accepts, the handler."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config

from functions.authorizer.authorize import make_handler
from shared.keys_dynamodb import DynamoKeyStore
from shared.limiting.tenants import DynamoTenantStore, limits_of
from shared.schema.tenants import read_limits
from shared.settings import AuthorizerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from functions.authorizer.authorize import Tokens

# A gateway waits 10 s for its authorizer and a caller waits with it: fail early and try once more.
_TIMEOUTS: Final = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})


def _tokens(settings: AuthorizerSettings) -> Tokens | None:
    """None in a stage without issuers, whose package does not hold what reads tokens."""
    if not settings.issuers:
        return None
    from functions.authorizer.tokens import open_tokens  # noqa: PLC0415 - it loads PyJWT

    return open_tokens(settings.issuers)


def _limits_of(settings: AuthorizerSettings) -> Callable[[str], str]:
    """Limits by tenant; a stage without a table of tenants has none but its own."""
    if not settings.tenants_table:
        return lambda _tenant: ""
    tenants = DynamoTenantStore(_dynamodb, table=settings.tenants_table)
    return partial(limits_of, tenants, defaults=read_limits(settings.tenant_limits))


_settings = AuthorizerSettings.from_env(os.environ)
_dynamodb = boto3.client("dynamodb", config=_TIMEOUTS)
handler = make_handler(
    keys=DynamoKeyStore(_dynamodb, table=_settings.keys_table) if _settings.keys_table else None,
    tokens=_tokens(_settings),
    limits_of=_limits_of(_settings),
    logger=Logger(service="laneway-authorizer", level=_settings.log_level),
)
