"""What the functions and workers behind jobs are told: ingress, workers, sweeper, batches, webhooks, the fleet.

A module of their own: each class costs a cold start a millisecond, and the realtime function needs none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.settings import PoolAlias, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings(Settings):
    """What every function that deals with jobs is told; an empty `jobs_table`: no jobs here."""

    jobs_table: str = ""
    bucket: str = ""
    """The stage's bucket of inputs, results and uploads."""
    queues: dict[str, dict[str, str]] = field(default_factory=dict)
    """The queues by pool, then by name: URLs on SQS, names in RabbitMQ; `chunks` are those of batches."""
    broker: str = "sqs"
    """What carries the jobs' queues: `sqs` or `rabbitmq`."""
    send_function: str = ""
    """Sends to RabbitMQ, from within its network; named where that is the broker."""
    input_places: dict[str, list[str]] = field(default_factory=dict)
    """By tenant: `s3://bucket/prefix/` from where it may name inputs, beside its own uploads."""
    result_aliases: dict[str, str] = field(default_factory=dict)
    """Places for copies of results, by the names that callers use."""
    async_target_s: int = 60
    """An async job should have begun to run by then."""
    batch_target_s: int = 6 * 3600
    start_s: dict[str, float] = field(default_factory=dict)
    """By pool: what long-lived workers may take to start; a pool of functions is not named."""
    async_ttl_s: int = 6 * 3600
    """How long an async job waits for its first run unless it says otherwise."""
    batch_ttl_s: int = 24 * 3600
    job_timeout_s: int = 300
    """How long one run of a job may take unless it says otherwise."""
    job_retention_s: int = 7 * 24 * 3600
    """How long an ended job can be asked for, counted from the end of its ttl."""
    webhook_loopback: str = ""
    """As in `WebhooksSettings`: what may be called there may be named here."""
    batches_table: str = ""
    """Empty: no batches here."""
    split_queue: str = ""
    """URL of the queue of batches that are to be split."""
    finish_queue: str = ""
    """URL of the queue of batches whose chunks are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressSettings(JobSettings):
    """The function behind `$default`."""

    public_url: str = ""
    """Base of links and OpenAPI servers; empty means the address that the caller used."""
    pool_aliases: dict[str, PoolAlias] = field(default_factory=dict)
    ready_cache_s: float = 5.0
    wakes: dict[str, str] = field(default_factory=dict)
    """Functions to tell of a job, by the pools whose workers may have to be started for it."""
    usage_table: str = ""
    """As in `RealtimeSettings`."""
    tenant_limits: str = ""
    """As in `RealtimeSettings`."""
    tenants_table: str = ""
    """As in `RealtimeSettings`."""
    iam_grants: dict[str, str] = field(default_factory=dict)
    """As in `RealtimeSettings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWorkerSettings(JobSettings):
    """Whoever works on one pool's queues."""

    pool: str
    threads: int = 10
    """Calls to the store, S3 and the queue that are made at the same time."""
    tenant: str = "default"
    """Whose the messages are that users drop on the pool's queues."""
    dead_letters: dict[str, str] = field(default_factory=dict)
    """The pool's dead-letter queues, by queue: URLs on SQS, names in RabbitMQ."""
    webhooks_queue: str = ""
    models_elsewhere: dict[str, list[str]] = field(default_factory=dict)
    """Models of other pools, by pool, to send a message for one on to where it belongs."""
    tenant_share: float = 1.0
    """Of what is in hand of one queue, so much may be one tenant's; 1: all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueWorkerSettings(PoolWorkerSettings):
    """The function that works on one pool's queues."""

    session_budget_mib: int = 512
    models_bucket: str = ""
    """As in `RealtimeSettings`."""
    capacity: dict[str, float] = field(default_factory=dict)
    """By queue: jobs, or chunks, that all workers of the pool together can have in hand."""
    usage_table: str = ""
    """Counts what they have in hand; empty: nobody does."""
    deadline_margin_ms: int = 3000
    """Kept of the invocation's time to publish results and to hand back the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(PoolWorkerSettings):
    """The long-lived worker of one device: `python -m gpu_workers`."""

    threads: int = 24
    models: str = "."
    """The pool's package: the folder that holds `catalog.json` and `models/`."""
    device: str = "cpu"
    """`cpu`, `cuda:N` or `tensorrt:N`; a device that is not there is an error, not a slower run."""
    device_memory_mib: int = 2048
    """Bytes of loaded models that are kept on the device; leave room for what runs need."""
    engine_cache: str = ""
    """Folder of TensorRT's engines, which take minutes to build; empty: they are built each time."""
    run_threads: int = 0
    """Intra-op threads of a run on the CPU; 0: one for each that this process may use."""
    platform: str = "local"
    """`ec2` (the instance's metadata is watched), `fargate` or `local`."""
    lease_s: float = 60.0
    """How long a job belongs to a worker that is not heard of; a third of it passes between heartbeats."""
    drain_s: float = 100.0
    """What is left after SIGTERM."""
    chunk_s: float = 300.0
    """A run of a batch's chunk ends by then, and sooner where jobs wait; the rest has another turn."""
    health_port: int = 8081
    """On the loopback; 0: a free one."""
    amqp_url: str = ""
    amqp_secret: str = ""
    """ARN of the secret that holds the broker's URL or its user and password."""
    amqp_ca_file: str = ""
    metadata_url: str = "http://169.254.169.254"
    metadata_poll_s: float = 5.0
    autoscaling_group: str = ""
    lifecycle_hook: str = ""
    """Completed when a drain that the group asked for has ended; empty: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweeperSettings(JobSettings):
    """The function that looks after every job that somebody may have forgotten."""

    webhooks_queue: str = ""
    unsent_after_s: float = 10.0
    """Age of a message that no broker has confirmed, from which it is sent again."""
    rows_per_pass: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetScalerSettings(JobSettings):
    """The function that decides how many long-lived workers there are; `queues` are their pools'."""

    cluster: str
    services: dict[str, str]
    """ECS services by pool."""
    fleet_table: str
    """What is remembered of each pool between two looks."""
    job_s: dict[str, float]
    """By pool: what a worker is reckoned to need for a job."""
    chunk_s: float = 60.0
    async_wait_s: float = 300.0
    """Backlog of class async is to be worked off in so long."""
    batch_wait_s: float = 3600.0
    idle_s: float = 600.0
    """After so long without anything to do the last worker goes."""
    min_workers: int = 0
    max_workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings(Settings):
    """The function that sends to RabbitMQ for those outside its network."""

    queues: dict[str, dict[str, str]]
    """Names of the queues in RabbitMQ by pool, then by queue; it sends to no other."""
    amqp_secret: str = ""
    """ARN of the secret with the broker's credentials; empty: `amqp_url` has them (stage local)."""
    amqp_url: str = ""
    """The broker's address, where the secret does not say it."""
    amqp_ca_file: str = ""
    """Certificates to trust instead of the system's."""
    confirm_timeout_s: float = 3.0
    """How long a send waits for a connection and the broker's confirm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSplitterSettings(JobSettings):
    """The function that splits the inputs of batches into chunks."""

    deadline_margin_ms: int = 10_000
    """Kept of the invocation's time to leave the rest to the next one."""
    split_dead_letters: str = ""
    """URL of the dead-letter queue of its own queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFinisherSettings(JobSettings):
    """The function that joins the files of batches, and looks after those somebody has forgotten."""

    deadline_margin_ms: int = 20_000
    threads: int = 8
    """Copies within S3 at once."""
    rows_per_pass: int = 200
    finish_dead_letters: str = ""
    """URL of the dead-letter queue of its own queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksSettings(Settings):
    """The function that tells callers' URLs of ended jobs."""

    jobs_table: str
    webhooks_queue: str
    """URL of the queue whose messages are worked on."""
    webhooks_dead_letters: str
    """URL of its dead-letter queue."""
    public_url: str = ""
    """Base of the links in events; empty: they are relative."""
    webhook_loopback: str = ""
    """Stage local alone: receivers on this machine, `host:port` or `host:*`, with commas between."""
    webhook_ca_file: str = ""
    """Certificates to trust instead of the system's: of receivers on one's own machine."""
