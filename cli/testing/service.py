"""The whole service in one process, over a folder of models: what `laneway_service` gives to a test."""

from __future__ import annotations

import json
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import orjson
from aws_lambda_powertools import Logger
from moto import mock_aws

from cli.client import Laneway
from cli.testing.gateway import Gateway, GatewayAnswer
from cli.testing.lambdas import REGION, LocalFunction, LocalLambda
from cli.testing.server import listen
from shared.catalog import infer_routes, parse_catalog
from shared.keys import API_KEY_HEADER, DynamoKeyStore, create_key
from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.schema.examples import golden_requests
from shared.schema.openapi import build_openapi
from shared.settings import IngressSettings, PoolAlias, RealtimeSettings
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from shared.catalog import Catalog
    from shared.repository import Repository

STAGE: Final = "local"
_INGRESS: Final = f"laneway-{STAGE}-ingress"
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
    keys: DynamoKeyStore

    @property
    def url(self) -> str:
        """Base of all addresses."""
        return f"http://{self.address}"

    @property
    def headers(self) -> dict[str, str]:
        """What another client has to send to be let in."""
        return {API_KEY_HEADER: self.api_key}

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
    with mock_aws(), tempfile.TemporaryDirectory(prefix="laneway-testing-") as folder:
        package = Path(folder)
        (package / "models").symlink_to(models.absolute(), target_is_directory=True)
        (package / "openapi.json").write_bytes(_openapi(repository))
        keys = _make_keys()
        secret, _ = create_key(keys, name="cli.testing")
        lambdas = LocalLambda()
        gateway = _deploy(repository, package=package, keys=keys, lambdas=lambdas)
        with (
            listen(gateway) as address,
            Laneway(f"http://{address}", api_key=secret) as client,
        ):
            yield LocalService(address, secret, client, gateway, lambdas, keys)


def _openapi(repository: Repository) -> bytes:
    examples = golden_requests(repository.folder)
    return orjson.dumps(build_openapi(_catalog(repository, pool=None), examples=examples))


def _make_keys() -> DynamoKeyStore:
    """A table of its own: several services may run at once, and moto has one account for all."""
    table = f"laneway-{STAGE}-keys-{uuid.uuid4().hex[:8]}"
    client: DynamoDBClient = boto3.client("dynamodb", region_name=REGION)
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "key_hash", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key_hash", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return DynamoKeyStore(client, table=table)


def _deploy(
    repository: Repository, *, package: Path, keys: DynamoKeyStore, lambdas: LocalLambda
) -> Gateway:
    routes: dict[str, LocalFunction] = {}
    pools = [pool for pool in repository.pools if repository.models_of(pool)]
    for pool in pools:
        catalog = _catalog(repository, pool=pool)
        function = lambdas.add(_realtime(repository, pool, catalog=catalog, package=package))
        routes |= dict.fromkeys(_realtime_routes(catalog), function)
    ingress = lambdas.add(_ingress(repository, pools, package=package, lambdas=lambdas))
    routes |= dict.fromkeys(("$default", *_OPEN_ROUTES), ingress)
    return Gateway(
        authorizer=lambdas.add(_authorizer(keys)),
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
    repository: Repository, pool: str, *, catalog: Catalog, package: Path
) -> LocalFunction:
    spec = repository.pools[pool]
    make_handler = _function("realtime.service").make_handler
    handler = make_handler(
        RealtimeSettings(stage=STAGE, pool=pool), catalog=catalog, package=package
    )
    return LocalFunction(
        f"laneway-{STAGE}-{pool}-realtime",
        handler,
        timeout_s=spec.timeout_s,
        memory_mib=spec.memory_mib,
    )


def _ingress(
    repository: Repository, pools: list[str], *, package: Path, lambdas: LocalLambda
) -> LocalFunction:
    aliases = {pool: PoolAlias(function=f"laneway-{STAGE}-{pool}-realtime") for pool in pools}
    settings = IngressSettings(stage=STAGE, pool_aliases=aliases, ready_cache_s=0)
    readiness = _function("ingress.readiness").LambdaReadiness(
        lambdas, aliases=aliases, cache_s=settings.ready_cache_s
    )
    service = _function("ingress.service").IngressService(
        settings, catalog=_catalog(repository, pool=None), readiness=readiness, package=package
    )
    telemetry = Telemetry(service="laneway-ingress", stage=STAGE, pool="ingress")
    serve = partial(_function("api_gateway").serve, answer=service.answer, telemetry=telemetry)
    return LocalFunction(_INGRESS, serve)


def _authorizer(keys: DynamoKeyStore) -> LocalFunction:
    make_handler = _function("authorizer.authorize").make_handler
    handler = make_handler(keys, logger=Logger(service="laneway-authorizer"))
    return LocalFunction(f"laneway-{STAGE}-authorizer", handler)


def _function(module: str) -> Any:
    """A module of the functions, by name as Lambda loads it: this package imports none of them."""
    return import_module(f"functions.{module}")
