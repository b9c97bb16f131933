"""Entry point of the queue worker: settings, the pool's catalog, the worker, the handler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from functions.queue_worker.assembly import make_chunk_runner, make_worker, queue_names
from functions.queue_worker.service import make_handler
from shared.artifacts.opened import open_files
from shared.catalog import load_catalog
from shared.inference.memory import hold_below
from shared.job_telemetry import JobTelemetry
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU, MIB
from shared.settings.jobs import QueueWorkerSettings

PACKAGE: Final = Path(__file__).parents[2]
# Set by Lambda; absent wherever else the package is tried out.
MEMORY_MIB: Final = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")

_settings = QueueWorkerSettings.from_env(os.environ)
if MEMORY_MIB:
    hold_below(int(MEMORY_MIB) * MIB, threads=_settings.threads)
_catalog = load_catalog(PACKAGE / "catalog.json")
_telemetry = JobTelemetry(
    service="laneway-queue-worker",
    stage=_settings.stage,
    pool=_settings.pool,
    log_level=_settings.log_level,
    digests=_catalog.digests(),
)
_worker = make_worker(
    _settings,
    catalog=_catalog,
    package=PACKAGE,
    memory_mib=int(MEMORY_MIB or LAMBDA_MEMORY_MIB_PER_VCPU),
    reporter=_telemetry,
    files=open_files(PACKAGE, _catalog, bucket=_settings.models_bucket, env=os.environ),
)
handler = make_handler(
    _worker,
    consumed=queue_names(_settings),
    telemetry=_telemetry,
    margin_s=_settings.deadline_margin_ms / 1000,
    chunks=make_chunk_runner(_settings, _worker, told=_telemetry.chunk),
)
