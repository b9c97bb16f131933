"""The stages: every value in which `local`, `dev` and `prod` differ, typed, frozen and in one place.

A deployment's own values (topic, e-mail, origins, budget) are edited here, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from shared.schema.spec import ProvisionedWarm
from shared.schema.tenants import NO_LIMITS, TenantLimits
from stacks.auth import ApiKeys, Mode, check_auth
from stacks.errors import StageError
from stacks.fleet_lane import Broker, Fleet, RabbitMQ
from stacks.queue_lane import QueueLane
from stacks.recurring_batch import RecurringBatch  # noqa: TC001  part of a public value's type
from stacks.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.schema.spec import PoolSpec, Warm

Architecture = Literal["x86_64", "arm64"]
AuditLock = Literal["governance", "compliance"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Whom the stage's alarms and its budget notify, and when they do."""

    topic_arn: str | None = None
    """An existing topic; None: the stage owns a topic `laneway-<stage>-alarms`."""
    email: str | None = None
    """Subscribed to the stage's own topic; the recipient confirms once by a link."""
    error_rate_percent: float = 1.0
    """An alarm above this share of failed requests."""
    period_s: int = 60
    """Length of one data point; alarms look at `periods` of them."""
    periods: int = 5
    breaching: int = 3
    """So many of the last `periods` data points must be bad."""

    def __post_init__(self) -> None:
        if self.topic_arn is not None and self.email is not None:
            raise StageError(
                f"alarms name a topic and the address {self.email!r}; an existing topic has "
                "subscriptions of its own: subscribe the address there, or name no topic"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One named deployment."""

    name: str
    auth: tuple[Mode, ...]
    """How callers prove who they are; any of the modes will do. Has no default: a stage that says nothing
    is refused at synth, and so is an open endpoint."""
    keep_data: bool
    """True: tables and bucket survive `cdk destroy`; they go on billing what they hold."""
    retention: Retention = field(default_factory=Retention)
    """How long each kind of data is kept."""
    log_level: LogLevel = "INFO"
    throttle_rate_per_s: float = 100.0
    """Steady requests a second over the whole API, above which callers get 429."""
    throttle_burst: int = 200
    """Requests that may arrive at once."""
    tenant_limits: TenantLimits = NO_LIMITS
    """Of every tenant that has none of its own (`laneway tenants set`); nothing is limited by default."""
    authorizer_cache_s: int = 60
    """How long the authorizer's verdict is reused; a revoked key works on for at most this long."""
    cors_origins: tuple[str, ...] = ()
    """Web pages that may call the API from a browser; empty: none."""
    open_docs: bool = False
    """True: /openapi.json and /docs need no key."""
    warm: Mapping[str, Warm] = field(default_factory=dict)
    """By pool; wins over `warm` in pools.toml."""
    min_warm: int = 0
    """At least so many provisioned environments per pool, whatever pools.toml says."""
    emulated: bool = False
    """True: deployed to the embedded emulator, without the resource types of stacks/local.py."""
    architecture: Architecture = "x86_64"
    tracing: bool = True
    """Lambda active tracing."""
    customer_key: bool = False
    """True: tables, bucket, queues, logs, the topic and signing secrets are encrypted with a key of the stage's
    own, which its owner can disable; False: with AWS's own keys."""
    audit_lock: AuditLock | None = None
    """Whether S3 refuses to delete audit records before `retention.audit_days` are over. `governance`: until
    somebody with the right to do so takes the policy away; `compliance`: whoever asks, AWS included."""
    queue_lane: QueueLane = field(default_factory=QueueLane)
    """How jobs are delivered, and how long they wait and are kept."""
    broker: Broker = "sqs"
    """What carries jobs. With RabbitMQ a fleet runs them, those of cpu models too."""
    rabbitmq: RabbitMQ | None = None
    """The existing broker of a stage whose `broker` is "rabbitmq"."""
    fleet: Fleet = field(default_factory=Fleet)
    """The long-lived workers, where there are any."""
    recurring_batches: tuple[RecurringBatch, ...] = ()
    """Batches that begin by the clock; not for `local`, whose emulator runs no scheduler."""
    alarms: Alarms = Alarms()
    monthly_budget_usd: int | None = None
    """A budget over the whole account, notified at 80 % actual and 100 % forecast; None: no budget."""

    def __post_init__(self) -> None:
        check_auth(self.name, self.auth)
        _check_numbers(self)
        _check_broker(self)
        if self.open_docs and not self.emulated:
            raise StageError(
                f"stage {self.name!r}: open_docs would answer whoever asks; `laneway docs` serves the "
                "API's description from one's own machine"
            )
        if "*" in self.cors_origins and self.name != "local":
            raise StageError(
                f"stage {self.name!r}: cors_origins holds '*', which lets any web page call the "
                "API from its visitors' browsers; name the origins"
            )

    def warm_of(self, pool: str, spec: PoolSpec) -> Warm:
        """The pool's warm capacity here: the stage's word, else pools.toml's, raised to `min_warm`.

        SnapStart counts as warm: it excludes provisioned environments.
        """
        warm = self.warm.get(pool, spec.warm)
        if self.min_warm == 0:
            return warm
        if warm == "on-demand":
            return ProvisionedWarm(min=self.min_warm, max=max(10, self.min_warm))
        return _at_least(warm, self.min_warm) if isinstance(warm, ProvisionedWarm) else warm


def _at_least(warm: ProvisionedWarm, minimum: int) -> ProvisionedWarm:
    """The same range and schedule, nowhere below the minimum: a night's `min = 0` included."""
    schedule = tuple(
        change.model_copy(update={"min": max(change.min, minimum), "max": max(change.max, minimum)})
        for change in warm.schedule
    )
    bounds = {"min": max(warm.min, minimum), "max": max(warm.max, minimum)}
    return warm.model_copy(update={**bounds, "schedule": schedule})


def _check_broker(stage: Stage) -> None:
    if stage.broker not in get_args(Broker):
        raise StageError(
            f"stage {stage.name!r}: broker is {stage.broker!r}; write 'sqs' or 'rabbitmq'"
        )
    if stage.broker == "rabbitmq" and not stage.fleet.enabled:
        raise StageError(
            f"stage {stage.name!r}: its fleet is not enabled, and nothing else takes jobs off RabbitMQ"
        )
    if stage.broker == "rabbitmq" and stage.rabbitmq is None and not stage.emulated:
        raise StageError(
            f"stage {stage.name!r}: its broker is RabbitMQ, and nothing says which; give "
            "`rabbitmq` the secret, subnets and security group of an existing one"
        )


def _check_numbers(stage: Stage) -> None:
    if stage.throttle_rate_per_s <= 0 or stage.throttle_burst <= 0:
        raise StageError(
            f"stage {stage.name!r}: throttle_rate_per_s and throttle_burst must be above 0, or "
            "every request is answered 429"
        )


LOCAL: Final = Stage(
    name="local",
    auth=(ApiKeys(),),
    keep_data=False,
    retention=Retention(logs_days=1, audit_days=1),
    log_level="INFO",
    throttle_rate_per_s=1000,
    throttle_burst=2000,
    authorizer_cache_s=5,
    cors_origins=("*",),
    open_docs=True,
    emulated=True,
    monthly_budget_usd=10,
)

DEV: Final = Stage(
    name="dev",
    auth=(ApiKeys(),),
    keep_data=False,
    retention=Retention(logs_days=14, audit_days=90),
    throttle_rate_per_s=50,
    throttle_burst=100,
    cors_origins=("http://localhost:3000", "http://localhost:5173"),
    monthly_budget_usd=50,
    # Until a model of your own needs it: a fleet takes Docker to deploy, and 63 USD a month at rest.
    fleet=Fleet(enabled=False),
)

PROD: Final = Stage(
    name="prod",
    auth=(ApiKeys(),),
    keep_data=True,
    retention=Retention(logs_days=90, audit_days=365),
    throttle_rate_per_s=500,
    throttle_burst=1000,
    min_warm=1,
    customer_key=True,
    audit_lock="governance",
    monthly_budget_usd=500,
)

STAGES: Final[Mapping[str, Stage]] = {stage.name: stage for stage in (LOCAL, DEV, PROD)}


def stage_of(name: str) -> Stage:
    """The stage of this name; StageError names those that there are."""
    found = STAGES.get(name)
    if found is None:
        raise StageError(f"there is no stage {name!r}; stacks/stages.py has {', '.join(STAGES)}")
    return found
