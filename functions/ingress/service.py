"""What `$default` answers: an address, its method, and whose call it is.

Loads neither numpy nor onnxruntime. The addresses are in `functions.ingress.routes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from functions.ingress.protocol import SHOWN_PATH_LENGTH, ProtocolCalls
from functions.ingress.routes import GET, ROUTES
from shared.audit import AUDIT
from shared.errors import CallerError, MethodNotAllowedError, NotFoundError, NotSupportedError
from shared.schema.scopes import ANY, NONE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from functions.api_gateway import HttpRequest, Response
    from functions.ingress.batches import BatchCalls
    from functions.ingress.jobs import JobCalls
    from functions.ingress.readiness import Readiness
    from functions.ingress.routes import Route
    from shared.catalog import Catalog
    from shared.principal import Principal
    from shared.settings.jobs import IngressSettings
    from shared.telemetry import RequestFacts


class IngressService:
    """The calls of the protocol, and those about jobs and batches where the stage keeps any."""

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
        self._digests = catalog.digests()
        self.protocol = ProtocolCalls(
            catalog=catalog,
            readiness=readiness,
            package=package,
            public_url=settings.public_url,
            jobs=lambda: self.jobs,
        )

    def answer(self, request: HttpRequest, facts: RequestFacts) -> Response:
        """The answer to a call; raises a `LanewayError` for one that has none."""
        path = request.path.rstrip("/")
        for route in ROUTES:
            match = route.pattern.fullmatch(path)
            if match is not None and (not route.local_only or self._settings.stage == "local"):
                return self._recorded(route, request, match.groupdict(), facts)
        raise NotFoundError(
            f"nothing answers at {request.path[:SHOWN_PATH_LENGTH]!r}; GET /v2/models lists the "
            "models, and a request goes to POST /v2/models/{name}/infer"
        )

    def _recorded(
        self,
        route: Route,
        request: HttpRequest,
        parts: dict[str, str | None],
        facts: RequestFacts,
    ) -> Response:
        """The answer, and what the request's line says of an act: also of one that is refused.

        Names in addresses are no part of it, and make no dimension of a metric: only what was found is.
        """
        act = None if request.method == GET[0] else route.act
        if act is not None:
            facts.audit = {AUDIT: act}
        response = self._call(route, request, parts)
        if act is not None and response.about:
            facts.audit = {AUDIT: act, **response.about, **self._digest(response.about)}
        if (
            response.status >= CallerError.status
        ):  # a job's failure: an answer here, and none of ours
            facts.code = orjson.loads(response.body)["code"]
        return response

    def _digest(self, about: Mapping[str, str]) -> dict[str, str]:
        """Of the version that the act is about, where it is served still."""
        digest = self._digests.get((about.get("model", ""), about.get("version", "")))
        return {} if digest is None else {"digest": digest}

    def _call(self, route: Route, request: HttpRequest, parts: dict[str, str | None]) -> Response:
        if request.method not in route.methods:
            allow = ", ".join(route.methods)
            raise MethodNotAllowedError(
                f"{request.method[:20]} is not allowed here; use {allow}", allow=allow
            )
        _check_scope(request.principal, route.needed.get(request.method, NONE))
        return route.answer(self, request, **parts)

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


def _check_scope(principal: Principal, needed: str) -> None:
    """Refuse a caller who may not make this call for any model; what it is about is asked where it is read."""
    if needed == ANY:
        principal.require_any()
    elif needed != NONE:
        principal.require_some(needed)
