"""Entry point of the sending function: settings, the broker's secret, a connection kept between calls."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any

from functions.send.broker import WarmBroker
from functions.send.service import make_handler
from shared.aws import make_client
from shared.settings.jobs import SendSettings
from shared.telemetry import Telemetry

logging.getLogger("pika").setLevel(
    logging.CRITICAL
)  # each lost connection would be told five times
_settings = SendSettings.from_env(os.environ)
warm = WarmBroker(_settings, connect_secrets=partial(make_client, "secretsmanager"))
handler: Any = make_handler(
    _settings,
    broker=warm,
    logger=Telemetry(
        service="laneway-send",
        stage=_settings.stage,
        pool="send",
        log_level=_settings.log_level,
    ).logger,
)
