"""Entry point of the sweeper: settings, the store and the queues, one pass a call."""

from __future__ import annotations

import os
from typing import Any

from functions.sweeper.service import make_handler
from shared.aws import make_client
from shared.settings.jobs import SweeperSettings
from shared.telemetry import Telemetry

_settings = SweeperSettings.from_env(os.environ)
handler: Any = make_handler(
    _settings,
    dynamodb=make_client("dynamodb"),
    sqs=make_client("sqs"),
    logger=Telemetry(
        service="laneway-sweeper",
        stage=_settings.stage,
        pool="sweeper",
        log_level=_settings.log_level,
    ).logger,
)
