"""The sweeper's entry point where RabbitMQ carries jobs: the function that sends is in its process."""

from __future__ import annotations

import os

from cli.testing.lambdas import LocalFunction, LocalLambda
from functions.send.broker import WarmBroker
from functions.send.service import make_handler as make_send
from functions.sweeper.service import make_handler
from shared.aws import make_client
from shared.settings.jobs import SendSettings, SweeperSettings
from shared.telemetry import Telemetry

settings = SweeperSettings.from_env(os.environ)
logger = Telemetry(service="sweeper", stage="local", pool="sweeper", log_level="INFO").logger
told = SendSettings(
    stage="local",
    queues=settings.queues,
    amqp_url=os.environ["AMQP_URL"],
    confirm_timeout_s=1.0,
)
functions = LocalLambda()
functions.add(
    LocalFunction(
        settings.send_function,
        make_send(told, broker=WarmBroker(told, connect_secrets=dict), logger=logger),
    )
)
handler = make_handler(
    settings,
    dynamodb=make_client("dynamodb"),
    sqs=make_client("sqs"),
    logger=logger,
    connect_lambda=lambda: functions,
)
