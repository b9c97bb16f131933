"""Entry point of the fleet scaler: settings and the handler. It knows no model."""

from __future__ import annotations

import os

from aws_lambda_powertools import Logger

from functions.fleet_scaler.assembly import make_scaler
from functions.fleet_scaler.service import make_handler
from shared.settings.jobs import FleetScalerSettings

_settings = FleetScalerSettings.from_env(os.environ)
handler = make_handler(
    make_scaler(_settings),
    stage=_settings.stage,
    services=_settings.services,
    logger=Logger(service="laneway-fleet-scaler", level=_settings.log_level),
)
