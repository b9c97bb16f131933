"""The whole service in one process, over a folder of models: what `laneway_service` gives to a test."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

import orjson
from aws_lambda_powertools import Logger
from moto import mock_aws

from cli.client import Laneway
from cli.testing.batches import make_batch_sources
from cli.testing.gateway import Gateway, GatewayAnswer
from cli.testing.lambdas import LocalFunction, LocalLambda
from cli.testing.objects import serve_objects
from cli.testing.resources import Resources, make_resources
from cli.testing.server import listen
from cli.testing.workers import drain, make_sources, working
from shared.catalog import infer_routes, parse_catalog
from shared.keys import API_KEY_HEADER, create_key
from shared.limiting.tenants import limits_of
from shared.repository import compile_catalog, read_repository
from shared.routing.lane import GPU
from shared.schema.compile import export_validators
from shared.schema.examples import golden_requests
from shared.schema.openapi import build_openapi
from shared.schema.tenants import NO_LIMITS
from shared.settings import PoolAlias, RealtimeSettings
from shared.settings.jobs import IngressSettings
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from cli.testing.event_source import EventSource
    from shared.catalog import Catalog
    from shared.keys_dynamodb import DynamoKeyStore
    from shared.limiting.gate import Gate
    from shared.repository import Repository

STAGE: Final = "local"
_INGRESS: Final = f"laneway-{STAGE}-ingress"
_INGRESS_TIMEOUT_S: Final = 29
_OPEN_ROUTES: Final = ("GET /openapi.json", "GET /docs")


@dataclass(frozen=True)
class LocalService:
    """A running service."""

    address: str
    """`host:port`, as tritonclient wants it."""
    api_key: str = field(repr=False)
    client: Laneway
    """Our Python client, with the key."""
    gateway: Gateway
    lambdas: LocalLambda
    """The functions by name: remove a pool's to see the service without it."""
    resources: Resources
    """Tables, bucket and queues, with boto3's clients to them."""
    sources: tuple[EventSource, ...] = field(repr=False)
    """The queues with the workers behind them."""

    def run_jobs(self) -> int:
        """Work off what is queued; gives how many messages were delivered."""
        return drain(self.sources)

    def working(self) -> AbstractContextManager[None]:
        """`with service.working():` jobs are worked off as they come, on another thread."""
        return working(self.sources)

    @property
    def keys(self) -> DynamoKeyStore:
        """The store of API keys, to make more of them."""
        return self.resources.keys

    @property
    def url(self) -> str:
        """Base of all addresses."""
        return f"http://{self.address}"

    @property
    def headers(self) -> dict[str, str]:
        """What another client has to send to be let in."""
        return {API_KEY_HEADER: self.api_key}

    def headers_of(self, tenant: str, *scopes: str) -> dict[str, str]:
        """What a caller of another tenant has to send; without `scopes` all but `admin`.

        Each tenant of a test is one of its own, as `acme-1f0c9a62`: tests that share a service do not
        see each other's jobs, nor take each other's places for keys.
        """
        own = f"{tenant}-{token_hex(4)}"
        secret, _ = create_key(self.keys, tenant=own, name="cli.testing", scopes=scopes)
        return {API_KEY_HEADER: secret}

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | object = b"",
        headers: Mapping[str, str] | None = None,
    ) -> GatewayAnswer:
        """One call without a socket; a body that is not bytes is sent as JSON."""
        sent = {**self.headers, **(headers or {})}
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        return self.gateway.handle(method, path, sent, body)


@contextmanager
def start_service(models: Path) -> Iterator[LocalService]:
    """Serve the model repository `models` until the block ends.

    Raises `RepositoryError` for a repository that could not be deployed either.
    """
    repository = read_repository(models)
    with (
        mock_aws(),
        tempfile.TemporaryDirectory(prefix="laneway-testing-") as folder,
        serve_objects() as s3_endpoint,
    ):
        package = Path(folder)
        (package / "models").symlink_to(models.absolute(), target_is_directory=True)
        (package / "openapi.json").write_bytes(_openapi(repository))
        pools = [pool for pool in repository.pools if repository.models_of(pool)]
        on_gpu = {item.spec.pool for item in repository.models.values() if item.spec.compute == GPU}
        resources = make_resources(STAGE, pools, on_gpu=on_gpu, s3_endpoint=s3_endpoint)
        secret, _ = create_key(resources.keys, name="cli.testing")
        lambdas = LocalLambda()
        gateway = _deploy(repository, package=package, resources=resources, lambdas=lambdas)
        sources = _workers(repository, package=package, resources=resources)
        with (
            listen(gateway) as address,
            Laneway(f"http://{address}", api_key=secret) as client,
        ):
            yield LocalService(address, secret, client, gateway, lambdas, resources, tuple(sources))


def _openapi(repository: Repository) -> bytes:
    examples = golden_requests(repository.folder)
    return orjson.dumps(build_openapi(_catalog(repository, pool=None), examples=examples))


def _deploy(
    repository: Repository, *, package: Path, resources: Resources, lambdas: LocalLambda
) -> Gateway:
    routes: dict[str, LocalFunction] = {}
    for pool in resources.queues:
        catalog = _catalog(repository, pool=pool)
        handler = _realtime(
            pool, catalog=catalog, package=package, lambdas=lambdas, gate=resources.gate()
        )
        spec = repository.pools[pool]
        function = LocalFunction(
            f"laneway-{STAGE}-{pool}-realtime",
            handler,
            timeout_s=spec.timeout_s,
            memory_mib=spec.memory_mib,
        )
        lambdas.add(function)
        routes |= dict.fromkeys(_realtime_routes(catalog), function)
    ingress = _ingress(repository, package=package, resources=resources, lambdas=lambdas)
    lambdas.add(ingress)
    routes |= dict.fromkeys(("$default", *_OPEN_ROUTES), ingress)
    return Gateway(
        authorizer=lambdas.add(_authorizer(resources)),
        routes=routes,
        open_routes=frozenset(_OPEN_ROUTES),
    )


def _catalog(repository: Repository, *, pool: str | None) -> Catalog:
    """As a package holds it: through JSON, with the validators made ahead."""
    compiled = {**compile_catalog(repository, pool=pool), "validators": export_validators()}
    return parse_catalog(orjson.loads(orjson.dumps(compiled)))


def _realtime_routes(catalog: Catalog) -> list[str]:
    return [
        route
        for model in catalog.models.values()
        if "realtime" in model.latency_classes
        for route in infer_routes(model.name)
    ]


def _realtime(
    pool: str, *, catalog: Catalog, package: Path, lambdas: LocalLambda, gate: Gate
) -> Any:
    return _function("realtime.service").make_handler(
        RealtimeSettings(stage=STAGE, pool=pool, ingress_function=_INGRESS),
        catalog=catalog,
        package=package,
        lambda_client=lambdas,
        gate=gate,
    )


def _workers(
    repository: Repository, *, package: Path, resources: Resources
) -> Iterator[EventSource]:
    settings = ingress_settings(resources)
    yield from make_batch_sources(
        _catalog(repository, pool=None), settings=settings, resources=resources
    )
    for pool in resources.queues:
        catalog = _catalog(repository, pool=pool)
        yield from make_sources(
            catalog, pool=pool, package=package, settings=settings, resources=resources
        )


def _ingress(
    repository: Repository, *, package: Path, resources: Resources, lambdas: LocalLambda
) -> LocalFunction:
    settings = ingress_settings(resources)
    catalog = _catalog(repository, pool=None)
    readiness = _function("ingress.readiness").LambdaReadiness(
        lambdas, aliases=settings.pool_aliases, cache_s=settings.ready_cache_s
    )
    assembly = _function("ingress.assembly")
    clients = assembly.Clients(resources.dynamodb, resources.s3, resources.sqs)
    gate = resources.gate()
    service = _function("ingress.service").IngressService(
        settings,
        catalog=catalog,
        readiness=readiness,
        package=package,
        jobs=assembly.make_jobs(settings, catalog=catalog, connect=lambda: clients, gate=gate),
        batches=assembly.make_batches(
            settings, catalog=catalog, connect=lambda: clients, gate=gate
        ),
    )
    telemetry = Telemetry(service="laneway-ingress", stage=STAGE, pool="ingress")
    handler = assembly.make_handler(service, telemetry=telemetry, gate=gate)
    return LocalFunction(_INGRESS, handler, timeout_s=_INGRESS_TIMEOUT_S, environments=64)


def ingress_settings(resources: Resources) -> IngressSettings:
    """What the ingress function of a service is told."""
    return IngressSettings(
        stage=STAGE,
        pool_aliases={
            pool: PoolAlias(function=f"laneway-{STAGE}-{pool}-realtime")
            for pool in resources.queues
        },
        ready_cache_s=0,
        jobs_table=resources.jobs_table,
        batches_table=resources.batches_table,
        split_queue=resources.split_queue,
        finish_queue=resources.finish_queue,
        bucket=resources.bucket,
        queues=resources.queues,
        input_places={"default": [f"s3://{resources.bucket}-lake/inputs/"]},
        result_aliases={"lake": f"s3://{resources.bucket}-lake/results/"},
    )


def _authorizer(resources: Resources) -> LocalFunction:
    handler = _function("authorizer.authorize").make_handler(
        keys=resources.keys,
        limits_of=partial(limits_of, resources.tenants, defaults=NO_LIMITS),
        logger=Logger(service="laneway-authorizer"),
    )
    return LocalFunction(f"laneway-{STAGE}-authorizer", handler)


def _function(module: str) -> Any:
    """A module of the functions, by name as Lambda loads it: this package imports none of them."""
    return import_module(f"functions.{module}")
