"""What the scaler asks AWS: the services on ECS, depths of queues, and its own table of one row a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.fleet_scaler.service import Counted, Workers
from shared.aws import translated
from shared.errors import QueueUnavailableError, StoreUnavailableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from shared.queues.invoked import SendFunction
    from shared.queues.protocol import Queue


class EcsFleet:
    """Implements `Fleet` on a cluster; `services`: names by pool. `client`: boto3's of `ecs`."""

    def __init__(self, client: Any, *, cluster: str, services: Mapping[str, str]) -> None:
        self._client = client
        self._cluster = cluster
        self._services = services

    def workers(self, pool: str) -> Workers:
        """How many there are to be, and are."""
        with translated(UnavailableError, "the fleet"):
            answer = self._client.describe_services(
                cluster=self._cluster, services=[self._services[pool]]
            )
        if not answer["services"]:
            raise UnavailableError(f"service {self._services[pool]} is not there")
        (service,) = answer["services"]
        return Workers(desired=service["desiredCount"], running=service["runningCount"])

    def resize(self, pool: str, workers: int) -> None:
        """Have so many from now on."""
        with translated(UnavailableError, "the fleet"):
            self._client.update_service(
                cluster=self._cluster, service=self._services[pool], desiredCount=workers
            )


class DynamoMemory:
    """Implements `Memory` on a table with the key `pool`."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client = client
        self._table = table

    def idle_since(self, pool: str) -> float | None:
        """Since when nothing was to do."""
        with translated(StoreUnavailableError, "the fleet's table"):
            answer = self._client.get_item(
                TableName=self._table, Key={"pool": {"S": pool}}, ConsistentRead=True
            )
        item = answer.get("Item", {})
        return float(item["idle_since"]["N"]) if "idle_since" in item else None

    def remember(self, pool: str, idle_since: float | None) -> None:
        """Keep that for the next look."""
        item: dict[str, Any] = {"pool": {"S": pool}}
        if idle_since is not None:
            item["idle_since"] = {"N": repr(float(idle_since))}
        with translated(StoreUnavailableError, "the fleet's table"):
            self._client.put_item(TableName=self._table, Item=item)


class QueueDepths:
    """Implements `Depths` on queues that count themselves; SQS counts what is in flight too."""

    def __init__(self, queues: Mapping[str, Mapping[str, Queue]]) -> None:
        self._queues = queues

    def of(self, pool: str) -> Counted:
        """Messages of the pool."""
        return Counted({kind: queue.depth() for kind, queue in self._queues[pool].items()})


class SentDepths:
    """Implements `Depths` for RabbitMQ, which the function `send` asks from within its network.

    Chunks stay on SQS. What is in flight is not counted: the table's leases say whether anything is.
    """

    def __init__(
        self,
        function: SendFunction,
        *,
        queues: Mapping[str, tuple[str, ...]],
        chunks: QueueDepths,
    ) -> None:
        self._function = function
        self._queues = queues
        self._chunks = chunks

    def of(self, pool: str) -> Counted:
        """Messages of the pool."""
        places = {kind: f"{pool}/{kind}" for kind in self._queues[pool]}
        told = self._function.ask({"depths": list(places.values())})["depths"]
        unknown = [place for place in places.values() if told[place] is None]
        if unknown:
            raise QueueUnavailableError(f"the broker does not say what waits in {unknown[0]}")
        counts = {
            kind: told[place]["ready"] + told[place]["delayed"] for kind, place in places.items()
        }
        dead = sum(told[place]["dead"] for place in places.values())
        return Counted({**counts, **self._chunks.of(pool).depths}, dead)
