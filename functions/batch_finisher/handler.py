"""Entry point of the finisher: settings and the handler. It knows no model."""

from __future__ import annotations

import os

from aws_lambda_powertools import Logger

from functions.batch_finisher.assembly import make_finisher
from functions.batch_finisher.service import make_handler
from shared.settings import BatchFinisherSettings

_settings = BatchFinisherSettings.from_env(os.environ)
_finisher = make_finisher(_settings)
handler = make_handler(
    _finisher.worker,
    _finisher.sweep,
    logger=Logger(service="laneway-batch-finisher", level=_settings.log_level),
    margin_s=_settings.deadline_margin_ms / 1000,
    rows_per_pass=_settings.rows_per_pass,
)
