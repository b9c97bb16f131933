"""The answers of the Open Inference Protocol, all but inference, and the pages that describe the API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import orjson

from functions.api_gateway import HttpRequest, Response, json_response
from functions.ingress import descriptions
from functions.ingress.index import list_index, read_only_ready, why_not_realtime
from shared.errors import (
    ModelUnavailableError,
    NotFoundError,
    NotSupportedError,
    UnsupportedClassError,
)
from shared.principal import SUBMIT
from shared.schema.docs_page import docs_headers, docs_html
from shared.schema.prefer import read_prefer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from functions.ingress.jobs import JobCalls
    from functions.ingress.readiness import Health, Readiness
    from shared.catalog import Catalog

PROBES_AT_ONCE: Final = 8
SHOWN_PATH_LENGTH: Final = 200


class ProtocolCalls:
    """Answers calls from the catalog of all models and what is known of their pools."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        readiness: Readiness,
        package: Path,
        public_url: str,
        jobs: Callable[[], JobCalls],
    ) -> None:
        """`jobs`: gives the calls about jobs, for an inference that may be answered later."""
        self._catalog = catalog
        self._readiness = readiness
        self._package = package
        self._public_url = public_url
        self._jobs = jobs

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
        only_ready = read_only_ready(request)
        return json_response(list_index(self._catalog, self._pool_healths(), only_ready=only_ready))

    def infer(self, request: HttpRequest, model: str, version: str | None) -> Response:
        """Inference on the spot has its own routes: here is what prefers otherwise, or has none."""
        preference = read_prefer(request.headers.get("prefer"))
        if preference is not None:
            request.principal.require(SUBMIT, model)
            return self._jobs().infer(request, preference, model=model, version=version)
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
            f"{request.path[:SHOWN_PATH_LENGTH]} is not offered: statistics are CloudWatch metrics "
            "(namespace Laneway), models are loaded by a deployment, and functions share no memory "
            "with callers"
        )

    def openapi(self, _: HttpRequest) -> Response:
        """The API's description, with this deployment as its server."""
        document = orjson.loads((self._package / "openapi.json").read_bytes())
        if self._public_url:
            document["servers"] = [{"url": self._public_url}]
        return json_response(document)

    def docs(self, _: HttpRequest) -> Response:
        """The page to try the API."""
        return Response(200, docs_headers(server_url=self._public_url), docs_html())

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
