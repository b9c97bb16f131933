"""Entry point of the finisher: settings and the handler. It knows no model."""

from __future__ import annotations

import os

from functions.batch_finisher.assembly import make_finisher
from functions.batch_finisher.service import make_handler
from shared.batch_telemetry import BatchTelemetry
from shared.settings.jobs import BatchFinisherSettings

_settings = BatchFinisherSettings.from_env(os.environ)
_telemetry = BatchTelemetry(
    service="laneway-batch-finisher", stage=_settings.stage, log_level=_settings.log_level
)
_finisher = make_finisher(_settings, told=_telemetry.batch)
handler = make_handler(
    _finisher.worker,
    _finisher.sweep,
    logger=_telemetry.logger,
    margin_s=_settings.deadline_margin_ms / 1000,
    rows_per_pass=_settings.rows_per_pass,
)
