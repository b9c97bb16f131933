"""Entry point of the splitter: settings, the catalog of all models, the handler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from functions.batch_splitter.assembly import make_splitter
from functions.batch_splitter.service import make_handler
from shared.batch_telemetry import BatchTelemetry
from shared.catalog import load_catalog
from shared.settings.jobs import BatchSplitterSettings

PACKAGE: Final = Path(__file__).parents[2]

_settings = BatchSplitterSettings.from_env(os.environ)
_telemetry = BatchTelemetry(
    service="laneway-batch-splitter", stage=_settings.stage, log_level=_settings.log_level
)
_catalog = load_catalog(PACKAGE / "catalog.json")
_splitter = make_splitter(_settings, catalog=_catalog, told=_telemetry.batch)
handler = make_handler(
    _splitter.worker,
    _splitter.batches,
    logger=_telemetry.logger,
    margin_s=_settings.deadline_margin_ms / 1000,
    digests=_catalog.digests(),
)
