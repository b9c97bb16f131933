"""Entry point of the ingress function: settings, the catalog of all models, the handler."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config

from functions.api_gateway import serve
from functions.ingress.readiness import LambdaReadiness
from functions.ingress.service import IngressService
from shared.catalog import load_catalog
from shared.settings import IngressSettings
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PACKAGE: Final = Path(__file__).parents[2]
# A probe may start a pool cold, with all its sessions; one that takes longer is not ready.
_TIMEOUTS: Final = Config(connect_timeout=1, read_timeout=20, retries={"total_max_attempts": 1})

_settings = IngressSettings.from_env(os.environ)
_service = IngressService(
    _settings,
    catalog=load_catalog(PACKAGE / "catalog.json"),
    readiness=LambdaReadiness(
        boto3.client("lambda", config=_TIMEOUTS),
        aliases=_settings.pool_aliases,
        cache_s=_settings.ready_cache_s,
    ),
    package=PACKAGE,
)
handler: Callable[[dict[str, Any], Any], dict[str, Any]] = partial(
    serve,
    answer=_service.answer,
    telemetry=Telemetry(
        service="laneway-ingress",
        stage=_settings.stage,
        pool="ingress",
        log_level=_settings.log_level,
    ),
)
