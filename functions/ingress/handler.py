"""Entry point of the ingress function: settings, the catalog of all models, the handler."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

import boto3
from botocore.config import Config

from functions.ingress.assembly import connect, make_batches, make_handler, make_jobs
from functions.ingress.readiness import LambdaReadiness
from functions.ingress.service import IngressService
from shared.catalog import load_catalog
from shared.limiting.opened import open_gate
from shared.principal import Signers
from shared.settings.jobs import IngressSettings
from shared.telemetry import Telemetry

PACKAGE: Final = Path(__file__).parents[2]
# A probe may start a pool cold, with all its sessions; one that takes longer is not ready.
_TIMEOUTS: Final = Config(connect_timeout=1, read_timeout=20, retries={"total_max_attempts": 1})

_settings = IngressSettings.from_env(os.environ)
_connect = cache(connect)
_gate = open_gate(
    usage_table=_settings.usage_table,
    tenant_limits=_settings.tenant_limits,
    tenants_table=_settings.tenants_table,
)
_catalog = load_catalog(PACKAGE / "catalog.json")
handler = make_handler(
    IngressService(
        _settings,
        catalog=_catalog,
        readiness=LambdaReadiness(
            boto3.client("lambda", config=_TIMEOUTS),
            aliases=_settings.pool_aliases,
            cache_s=_settings.ready_cache_s,
        ),
        package=PACKAGE,
        jobs=make_jobs(_settings, catalog=_catalog, connect=_connect, gate=_gate),
        batches=make_batches(_settings, catalog=_catalog, connect=_connect, gate=_gate),
    ),
    telemetry=Telemetry(
        service="laneway-ingress",
        stage=_settings.stage,
        pool="ingress",
        log_level=_settings.log_level,
    ),
    gate=_gate,
    signers=Signers(_settings.iam_grants),
)
