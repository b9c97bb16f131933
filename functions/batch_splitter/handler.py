"""Entry point of the splitter: settings, the catalog of all models, the handler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from aws_lambda_powertools import Logger

from functions.batch_splitter.assembly import make_splitter
from functions.batch_splitter.service import make_handler
from shared.catalog import load_catalog
from shared.settings import BatchSplitterSettings

PACKAGE: Final = Path(__file__).parents[2]

_settings = BatchSplitterSettings.from_env(os.environ)
_splitter = make_splitter(_settings, catalog=load_catalog(PACKAGE / "catalog.json"))
handler = make_handler(
    _splitter.worker,
    _splitter.batches,
    logger=Logger(service="laneway-batch-splitter", level=_settings.log_level),
    margin_s=_settings.deadline_margin_ms / 1000,
)
