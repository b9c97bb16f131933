"""Entry point of the webhooks' function: settings, the AWS clients, the handler.

Its role reads jobs and signing secrets and works on its own queue; nothing else, because it is the
one function that calls addresses which strangers choose. It runs outside any VPC.
"""

from __future__ import annotations

import os
from random import SystemRandom

from functions.webhooks.lines import WebhookLines
from functions.webhooks.service import make_handler
from shared.aws import make_client
from shared.egress.https import GuardedPoster
from shared.jobs.clock import system_clock
from shared.jobs.receivers import receivers
from shared.jobs.webhook_secrets import CachedSecrets, SsmSecretStore
from shared.jobs.webhooks import WebhookSender
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.settings.jobs import WebhooksSettings

_settings = WebhooksSettings.from_env(os.environ)
_sender = WebhookSender(
    store=DynamoJobStore(make_client("dynamodb"), table=_settings.jobs_table, clock=system_clock),
    secrets=CachedSecrets(
        SsmSecretStore(make_client("ssm"), stage=_settings.stage), clock=system_clock
    ),
    poster=GuardedPoster(
        rules=receivers(_settings.stage, _settings.webhook_loopback),
        ca_file=_settings.webhook_ca_file or None,
    ),
    clock=system_clock,
    random=SystemRandom().random,
    base_url=_settings.public_url,
)
handler = make_handler(
    _sender,
    queue=SqsQueue(
        make_client("sqs"),
        url=_settings.webhooks_queue,
        dead_letter_url=_settings.webhooks_dead_letters,
    ),
    lines=WebhookLines(stage=_settings.stage, log_level=_settings.log_level),
)
