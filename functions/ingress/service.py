"""What `$default` answers: the Open Inference Protocol except inference, and the way out of mistakes.

Loads neither numpy nor onnxruntime. The table of addresses is at the end, as it names the answers.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from functions.api_gateway import HttpRequest, Response, json_response
from functions.ingress import descriptions
from functions.ingress.batches import BatchCalls
from functions.ingress.index import list_index, read_only_ready, why_not_realtime
from functions.ingress.jobs import JobCalls
from shared.errors import (
    MethodNotAllowedError,
    ModelUnavailableError,
    NotFoundError,
    NotSupportedError,
    UnsupportedClassError,
)
from shared.schema.docs_page import docs_headers, docs_html
from shared.schema.prefer import read_prefer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from functions.ingress.readiness import Health, Readiness
    from shared.catalog import Catalog
    from shared.settings import IngressSettings
    from shared.telemetry import RequestFacts

PROBES_AT_ONCE: Final = 8
_SHOWN_PATH_LENGTH: Final = 200


class IngressService:
    """Answers calls from the catalog of all models and what is known of their pools."""

    def __init__(
        self,
        settings: IngressSettings,
        *,
        catalog: Catalog,
        readiness: Readiness,
        package: Path,
        jobs: JobCalls | None = None,
        batches: BatchCalls | None = None,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._batches = batches
        self._catalog = catalog
        self._readiness = readiness
        self._package = package

    def answer(self, request: HttpRequest, facts: RequestFacts) -> Response:
        """The answer to a call; raises a `LanewayError` for one that has none."""
        del facts  # no model runs here, and no dimension is made of names in addresses
        path = request.path.rstrip("/")
        for route in _ROUTES:
            match = route.pattern.fullmatch(path)
            if match is not None and (not route.local_only or self._settings.stage == "local"):
                return self._call(route, request, match.groupdict())
        raise NotFoundError(
            f"nothing answers at {request.path[:_SHOWN_PATH_LENGTH]!r}; GET /v2/models lists the "
            "models, and a request goes to POST /v2/models/{name}/infer"
        )

    def _call(self, route: _Route, request: HttpRequest, parts: dict[str, str | None]) -> Response:
        if request.method not in route.methods:
            allow = ", ".join(route.methods)
            raise MethodNotAllowedError(
                f"{request.method[:20]} is not allowed here; use {allow}", allow=allow
            )
        return route.answer(self, request, **parts)

    def server(self, _: HttpRequest) -> Response:
        """The server's metadata."""
        return json_response(descriptions.server_metadata())

    def live(self, _: HttpRequest) -> Response:
        """This function runs, so the server lives."""
        return json_response({"live": True})

    def ready(self, _: HttpRequest) -> Response:
        """200 when every pool with realtime models would answer."""
        healths = self._pool_healths()
        errors = [health.error for health in healths.values() if health.error is not None]
        if errors:
            raise ModelUnavailableError(f"not ready: {'; '.join(errors)}")
        return json_response({"live": True, "ready": True})

    def models(self, _: HttpRequest) -> Response:
        """Names of the models."""
        return json_response({"models": list(self._catalog.models)})

    def model(self, _: HttpRequest, model: str, version: str | None) -> Response:
        """A model's metadata."""
        return json_response(descriptions.model_metadata(*self._catalog.find(model, version)))

    def config(self, _: HttpRequest, model: str, version: str | None) -> Response:
        """A model's configuration."""
        return json_response(descriptions.model_config(*self._catalog.find(model, version)))

    def model_ready(self, _: HttpRequest, model: str, version: str | None) -> Response:
        """200 when the model's pool has its session, or makes it now."""
        found, served = self._catalog.find(model, version)
        reason = why_not_realtime(found)
        if reason is None:
            health = self._readiness.check(found.pool, model=model, version=served.version)
            reason = health.error
        if reason is not None:
            raise ModelUnavailableError(f"model {model!r} is not ready: {reason}")
        return json_response({"name": model, "ready": True})

    def index(self, request: HttpRequest, **_: str | None) -> Response:
        """Every served version with its state."""
        only_ready = read_only_ready(request.body)
        return json_response(list_index(self._catalog, self._pool_healths(), only_ready=only_ready))

    def infer(self, request: HttpRequest, model: str, version: str | None) -> Response:
        """Inference on the spot has its own routes: here is what prefers otherwise, or has none."""
        preference = read_prefer(request.headers.get("prefer"))
        if preference is not None:
            return self.jobs.infer(request, preference, model=model, version=version)
        found, _served = self._catalog.find(model, version)
        reason = why_not_realtime(found)
        if reason is not None:
            raise UnsupportedClassError(
                f"model {model!r} cannot answer on the spot: {reason}; send Prefer: respond-async, "
                "or POST /v2/jobs"
            )
        raise NotFoundError(
            f"model {model!r} answers at POST /v2/models/{model}/infer and "
            f"/v2/models/{model}/versions/{{version}}/infer, written exactly so"
        )

    def not_supported(self, request: HttpRequest, **_: str | None) -> Response:
        """Calls of the protocol that a service without a lasting process cannot keep."""
        raise NotSupportedError(
            f"{request.path[:_SHOWN_PATH_LENGTH]} is not offered: statistics are CloudWatch metrics "
            "(namespace Laneway), models are loaded by a deployment, and functions share no memory "
            "with callers"
        )

    def openapi(self, _: HttpRequest) -> Response:
        """The API's description, with this deployment as its server."""
        document = orjson.loads((self._package / "openapi.json").read_bytes())
        if self._settings.public_url:
            document["servers"] = [{"url": self._settings.public_url}]
        return json_response(document)

    def docs(self, _: HttpRequest) -> Response:
        """The page to try the API."""
        return Response(200, docs_headers(server_url=self._settings.public_url), docs_html())

    @property
    def jobs(self) -> JobCalls:
        """The calls about jobs; raises `NotSupportedError` in a stage that keeps none."""
        if self._jobs is None:
            raise NotSupportedError("this stage keeps no jobs: it was deployed without their table")
        return self._jobs

    @property
    def batches(self) -> BatchCalls:
        """The calls about batches; raises `NotSupportedError` in a stage that keeps none."""
        if self._batches is None:
            raise NotSupportedError("this stage keeps no batches: it was deployed without a table")
        return self._batches

    def _pool_healths(self) -> dict[str, Health]:
        """The health of each pool that has realtime models, asked at the same time."""
        pools = list(
            dict.fromkeys(
                model.pool
                for model in self._catalog.models.values()
                if why_not_realtime(model) is None
            )
        )
        if not pools:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(pools), PROBES_AT_ONCE)) as threads:
            return dict(zip(pools, threads.map(self._readiness.check, pools), strict=True))


class _Route(NamedTuple):
    pattern: re.Pattern[str]
    methods: tuple[str, ...]
    answer: Callable[..., Response]
    local_only: bool = False


_MODEL: Final = r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
_GET: Final = ("GET",)
_POST: Final = ("POST",)
_GET_POST: Final = ("GET", "POST")


def _route(
    pattern: str,
    methods: tuple[str, ...],
    answer: Callable[..., Response],
    *,
    local_only: bool = False,
) -> _Route:
    return _Route(re.compile(pattern), methods, answer, local_only)


def _of_jobs(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.jobs, request, **parts)


def _of_batches(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.batches, request, **parts)


_JOB: Final = r"/v2/jobs/(?P<job>[^/]+)"
_BATCH: Final = r"/v2/batches/(?P<batch>[^/]+)"

_ROUTES: Final = (
    _route(r"/v2", _GET, IngressService.server),
    _route(r"/v2/health/live", _GET, IngressService.live),
    _route(r"/v2/health/ready", _GET, IngressService.ready),
    _route(r"/v2/models", _GET, IngressService.models),
    _route(r"/v2/models/stats", _GET, IngressService.not_supported),
    _route(_MODEL, _GET, IngressService.model),
    _route(rf"{_MODEL}/ready", _GET, IngressService.model_ready),
    _route(rf"{_MODEL}/config", _GET, IngressService.config),
    _route(rf"{_MODEL}/infer", _POST, IngressService.infer),
    _route(rf"{_MODEL}/stats", _GET, IngressService.not_supported),
    _route(rf"{_MODEL}/trace/setting", _GET_POST, IngressService.not_supported),
    _route(r"/v2/repository(?:/[^/]+)?/index", _POST, IngressService.index),
    _route(r"/v2/repository/models/[^/]+/(?:un)?load", _POST, IngressService.not_supported),
    _route(r"/v2/trace/setting|/v2/logging", _GET_POST, IngressService.not_supported),
    _route(
        r"/v2/(?:system|cuda)sharedmemory(?:/region/[^/]+)?/(?:status|register|unregister)",
        _GET_POST,
        IngressService.not_supported,
    ),
    _route(r"/v2/jobs", _GET_POST, _of_jobs(JobCalls.collection)),
    _route(_JOB, ("GET", "PUT"), _of_jobs(JobCalls.job)),
    _route(rf"{_JOB}/cancel", _POST, _of_jobs(JobCalls.cancel)),
    _route(rf"{_JOB}/result", _GET, _of_jobs(JobCalls.result)),
    _route(r"/v2/uploads", _POST, _of_jobs(JobCalls.upload)),
    _route(r"/v2/batches", _GET_POST, _of_batches(BatchCalls.collection)),
    _route(_BATCH, _GET, _of_batches(BatchCalls.batch)),
    _route(rf"{_BATCH}/cancel", _POST, _of_batches(BatchCalls.cancel)),
    _route(rf"{_BATCH}/retry", _POST, _of_batches(BatchCalls.retry)),
    _route(r"/openapi\.json", _GET, IngressService.openapi, local_only=True),
    _route(r"/docs", _GET, IngressService.docs, local_only=True),
)
"""First match wins, so `stats` as a model's name is the reserved word that the protocol made it."""
