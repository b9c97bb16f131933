"""The names of what is deployed: fixed, so that stacks find each other's resources without exports.

Exports would tie the stacks together: a pool could not be removed while ingress still imports it.
"""

from __future__ import annotations

from typing import Final, Literal

ALIAS: Final = "live"
"""The alias that callers reach; a deploy moves it to the new version."""
METRICS_NAMESPACE: Final = "Laneway"

NOTIFIERS: Final = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")
"""The services that notify the topic of alarms."""

Concern = Literal[
    "key", "storage", "queues", "pools", "ingress", "jobs", "fleet", "observability", "audit"
]


def stack(stage: str, concern: Concern) -> str:
    """The id and name of a stack."""
    return f"laneway-{stage}-{concern}"


def realtime_function(stage: str, pool: str) -> str:
    """The function that answers a pool's realtime requests."""
    return f"laneway-{stage}-{pool}-realtime"


def queue_worker_function(stage: str, pool: str) -> str:
    """The function that runs a pool's jobs."""
    return f"laneway-{stage}-{pool}-queue-worker"


def chunk_worker_function(stage: str, pool: str) -> str:
    """The function that runs chunks of a pool's batches."""
    return f"laneway-{stage}-{pool}-chunk-worker"


def batch_splitter_function(stage: str) -> str:
    """The function that splits batches into chunks."""
    return f"laneway-{stage}-batch-splitter"


def batch_finisher_function(stage: str) -> str:
    """The function that joins what became of a batch's chunks."""
    return f"laneway-{stage}-batch-finisher"


def sweeper_function(stage: str) -> str:
    """The function that looks after forgotten jobs."""
    return f"laneway-{stage}-sweeper"


def webhooks_function(stage: str) -> str:
    """The function that tells callers' URLs of ended jobs."""
    return f"laneway-{stage}-webhooks"


def broker_secret(stage: str) -> str:
    """The secret of stage `local`'s own broker; others name theirs."""
    return f"laneway-{stage}-broker"


def send_function(stage: str) -> str:
    """The function that sends to RabbitMQ, from within its network."""
    return f"laneway-{stage}-send"


def fleet_scaler_function(stage: str) -> str:
    """The function that decides how many long-lived workers there are."""
    return f"laneway-{stage}-fleet-scaler"


def fleet_table(stage: str) -> str:
    """The table in which the fleet scaler remembers a pool from one look to the next."""
    return f"laneway-{stage}-fleet"


def fleet_cluster(stage: str) -> str:
    """The ECS cluster of long-lived workers."""
    return f"laneway-{stage}"


def workers_service(stage: str, pool: str) -> str:
    """The ECS service of a pool's long-lived workers."""
    return f"laneway-{stage}-{pool}-workers"


def workers_log_group(stage: str, pool: str) -> str:
    """The log group of a pool's long-lived workers."""
    return f"/laneway/{stage}/{pool}/workers"


def terminating_hook(stage: str, pool: str) -> str:
    """The lifecycle hook that keeps a terminating instance until its worker has drained."""
    return f"laneway-{stage}-{pool}-terminating"


def workers_group(stage: str, pool: str) -> str:
    """The Auto Scaling group of a gpu pool's instances."""
    return f"laneway-{stage}-{pool}-workers"


def ingress_function(stage: str) -> str:
    """The function behind `$default`."""
    return f"laneway-{stage}-ingress"


def authorizer_function(stage: str) -> str:
    """The function that checks API keys."""
    return f"laneway-{stage}-authorizer"


def keys_table(stage: str) -> str:
    """The table of API keys, by their hash."""
    return f"laneway-{stage}-keys"


def tenants_table(stage: str) -> str:
    """The table of tenants that have limits of their own."""
    return f"laneway-{stage}-tenants"


def usage_table(stage: str) -> str:
    """The table of what tenants with limits have used."""
    return f"laneway-{stage}-usage"


def jobs_table(stage: str) -> str:
    """The table of jobs."""
    return f"laneway-{stage}-jobs"


def batches_table(stage: str) -> str:
    """The table of batches and their chunks."""
    return f"laneway-{stage}-batches"


def bucket(stage: str, *, account: str, region: str) -> str:
    """The bucket of inputs, results and uploads; bucket names are taken once in the whole world."""
    return f"laneway-{stage}-{account}-{region}"


def pool_queue(stage: str, pool: str, kind: str) -> str:
    """The queue of a pool's jobs of one latency class, or of its `chunks`."""
    return f"laneway-{stage}-{pool}-{kind}"


def split_queue(stage: str) -> str:
    """The queue of batches to split, and of what begins one."""
    return f"laneway-{stage}-batch-split"


def finish_queue(stage: str) -> str:
    """The queue of batches whose chunks are done."""
    return f"laneway-{stage}-batch-finish"


def webhooks_queue(stage: str) -> str:
    """The queue of events for callers' URLs."""
    return f"laneway-{stage}-webhooks"


def dead_letters(queue: str) -> str:
    """The dead-letter queue of a queue."""
    return f"{queue}-dlq"


def webhook_secrets(stage: str) -> str:
    """The path of the parameters that hold webhooks' signing secrets."""
    return f"laneway/{stage}/webhooks"


def http_api(stage: str) -> str:
    """The HTTP API."""
    return f"laneway-{stage}"


def access_log_group(stage: str) -> str:
    """The log group of the HTTP API's access log."""
    return f"/laneway/{stage}/access"


def audit_log_group(stage: str) -> str:
    """The log group of what is done to a stage from outside it, by commands."""
    return f"/laneway/{stage}/audit"


def audit_stream(stage: str) -> str:
    """The Firehose stream from log groups to the archive of the audit."""
    return f"laneway-{stage}-audit"


def archive_log_group(stage: str) -> str:
    """The log group of what Firehose could not deliver."""
    return f"/laneway/{stage}/audit-archive"


def deployments_function(stage: str) -> str:
    """The function that records which versions of models are served."""
    return f"laneway-{stage}-deployments"


def key_alias(stage: str) -> str:
    """The name by which the stage's own key is found, where it has one."""
    return f"alias/laneway-{stage}"


def alarms_topic(stage: str) -> str:
    """The topic that alarms notify when the stage names none."""
    return f"laneway-{stage}-alarms"


def dashboard(stage: str) -> str:
    """The stage's dashboard."""
    return f"laneway-{stage}"
