"""Would a model really answer? Asks the pool that serves it, and remembers the answer for seconds.

Behind the `Readiness` protocol are the one that invokes pools' aliases and one that is told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.settings import PoolAlias

NO_REASON: Final = "the pool gave no reason"


@dataclass(frozen=True, slots=True)
class Health:
    """A pool's answer. `failed` has the reason of each model that cannot be loaded, by `name/version`."""

    error: str | None = None
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether what was asked about would answer a request now."""
        return self.error is None


class Readiness(Protocol):
    """Knows whether pools and their models would answer."""

    def check(self, pool: str, *, model: str | None = None, version: str | None = None) -> Health:
        """The health of one model's version, or of the whole pool with all its default versions."""


class MemoryReadiness:
    """Says what it was told, by pool and by (pool, model, version): for tests."""

    def __init__(self, healths: Mapping[tuple[str, str | None, str | None], Health]) -> None:
        self._healths = healths

    def check(self, pool: str, *, model: str | None = None, version: str | None = None) -> Health:
        """What was told of it; nothing told means that the pool is not deployed."""
        return self._healths.get((pool, model, version), _not_deployed(pool))


class LambdaCalls(Protocol):
    """The two calls of the Lambda API that are used, as boto3's client has them."""

    @property
    def invoke(self) -> Callable[..., Any]:
        """Run a function."""

    @property
    def get_provisioned_concurrency_config(self) -> Callable[..., Any]:
        """Tell the state of an alias's warm environments."""


class LambdaReadiness:
    """Invokes the pool's alias with a probe; where it is provisioned, asks for that state too."""

    def __init__(
        self,
        client: LambdaCalls,
        *,
        aliases: Mapping[str, PoolAlias],
        cache_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._aliases = aliases
        self._cache_s = cache_s
        self._clock = clock
        self._known: dict[tuple[str, str | None, str | None], tuple[float, Health]] = {}

    def check(self, pool: str, *, model: str | None = None, version: str | None = None) -> Health:
        """The pool's own answer, at most `cache_s` old."""
        key = (pool, model, version)
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        health = self._ask(*key)
        self._known[key] = (self._clock() + self._cache_s, health)
        return health

    def _ask(self, pool: str, model: str | None, version: str | None) -> Health:
        alias = self._aliases.get(pool)
        if alias is None:
            return _not_deployed(pool)
        try:
            cold = self._why_not_warm(pool, alias) if alias.provisioned else None
            return cold or self._probe(pool, alias, {"model": model, "version": version})
        except (ClientError, BotoCoreError) as error:
            return Health(f"pool {pool!r} does not answer: {_fact(error)}")

    def _why_not_warm(self, pool: str, alias: PoolAlias) -> Health | None:
        """None once an environment is warm: the state is IN_PROGRESS too whenever more are made."""
        state = self._client.get_provisioned_concurrency_config(
            FunctionName=alias.function, Qualifier=alias.alias
        )
        if state.get("AvailableProvisionedConcurrentExecutions", 0) > 0:
            return None
        return Health(
            f"pool {pool!r} has no warm environment yet: {state.get('Status', 'unknown')}"
        )

    def _probe(self, pool: str, alias: PoolAlias, question: Mapping[str, str | None]) -> Health:
        answer = self._client.invoke(
            FunctionName=alias.function,
            Qualifier=alias.alias,
            InvocationType="RequestResponse",
            Payload=orjson.dumps({"laneway_probe": question}),
        )
        if answer.get("FunctionError"):
            return Health(f"pool {pool!r} failed while it was asked: {answer['FunctionError']}")
        health = orjson.loads(answer["Payload"].read())
        error = None if health["ready"] else health.get("error", NO_REASON)
        return Health(error, health.get("failed", {}))


def _not_deployed(pool: str) -> Health:
    return Health(f"pool {pool!r} is not deployed")


def _fact(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
