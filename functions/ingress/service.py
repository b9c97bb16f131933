"""What `$default` answers: an address, its method, and whose call it is.

Loads neither numpy nor onnxruntime. The table of addresses is at the end, as it names the answers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from functions.ingress.batches import BatchCalls
from functions.ingress.jobs import JobCalls
from functions.ingress.protocol import SHOWN_PATH_LENGTH, ProtocolCalls
from shared.audit import AUDIT
from shared.errors import CallerError, MethodNotAllowedError, NotFoundError, NotSupportedError
from shared.schema.scopes import ANY, NEEDED, NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from functions.api_gateway import HttpRequest, Response
    from functions.ingress.readiness import Readiness
    from shared.audit import Act
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
        for route in _ROUTES:
            match = route.pattern.fullmatch(path)
            if match is not None and (not route.local_only or self._settings.stage == "local"):
                return self._recorded(route, request, match.groupdict(), facts)
        raise NotFoundError(
            f"nothing answers at {request.path[:SHOWN_PATH_LENGTH]!r}; GET /v2/models lists the "
            "models, and a request goes to POST /v2/models/{name}/infer"
        )

    def _recorded(
        self,
        route: _Route,
        request: HttpRequest,
        parts: dict[str, str | None],
        facts: RequestFacts,
    ) -> Response:
        """The answer, and what the request's line says of an act: also of one that is refused.

        Names in addresses are no part of it, and make no dimension of a metric: only what was found is.
        """
        act = None if request.method == _GET[0] else route.act
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

    def _call(self, route: _Route, request: HttpRequest, parts: dict[str, str | None]) -> Response:
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


class _Route(NamedTuple):
    pattern: re.Pattern[str]
    methods: tuple[str, ...]
    answer: Callable[..., Response]
    local_only: bool = False
    act: Act | None = None
    """What any method but GET is, in the audit; None: it changes nothing."""
    needed: Mapping[str, str] = {}
    """Which scope a caller must have, by method."""


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
    act: Act | None = None,
    needed: Mapping[str, str] | None = None,
) -> _Route:
    return _Route(re.compile(pattern), methods, answer, local_only, act, needed or {})


def _of_protocol(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.protocol, request, **parts)


def _of_jobs(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.jobs, request, **parts)


def _of_batches(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.batches, request, **parts)


_JOB: Final = r"/v2/jobs/(?P<job>[^/]+)"
_BATCH: Final = r"/v2/batches/(?P<batch>[^/]+)"

_ROUTES: Final = (
    _route(r"/v2", _GET, _of_protocol(ProtocolCalls.server)),
    _route(r"/v2/health/live", _GET, _of_protocol(ProtocolCalls.live)),
    _route(r"/v2/health/ready", _GET, _of_protocol(ProtocolCalls.ready)),
    _route(r"/v2/models", _GET, _of_protocol(ProtocolCalls.models), needed=NEEDED["/v2/models"]),
    _route(r"/v2/models/stats", _GET, _of_protocol(ProtocolCalls.not_supported)),
    _route(_MODEL, _GET, _of_protocol(ProtocolCalls.model), needed=NEEDED["/v2/models/{model}"]),
    _route(
        rf"{_MODEL}/ready",
        _GET,
        _of_protocol(ProtocolCalls.model_ready),
        needed=NEEDED["/v2/models/{model}/ready"],
    ),
    _route(
        rf"{_MODEL}/config",
        _GET,
        _of_protocol(ProtocolCalls.config),
        needed=NEEDED["/v2/models/{model}/config"],
    ),
    _route(
        rf"{_MODEL}/infer",
        _POST,
        _of_protocol(ProtocolCalls.infer),
        act="submit",
        needed={"POST": ANY},
    ),
    _route(rf"{_MODEL}/stats", _GET, _of_protocol(ProtocolCalls.not_supported)),
    _route(rf"{_MODEL}/trace/setting", _GET_POST, _of_protocol(ProtocolCalls.not_supported)),
    _route(
        r"/v2/repository(?:/[^/]+)?/index",
        _POST,
        _of_protocol(ProtocolCalls.index),
        needed=NEEDED["/v2/repository/index"],
    ),
    _route(
        r"/v2/repository/models/[^/]+/(?:un)?load", _POST, _of_protocol(ProtocolCalls.not_supported)
    ),
    _route(r"/v2/trace/setting|/v2/logging", _GET_POST, _of_protocol(ProtocolCalls.not_supported)),
    _route(
        r"/v2/(?:system|cuda)sharedmemory(?:/region/[^/]+)?/(?:status|register|unregister)",
        _GET_POST,
        _of_protocol(ProtocolCalls.not_supported),
    ),
    _route(
        r"/v2/jobs",
        _GET_POST,
        _of_jobs(JobCalls.collection),
        act="submit",
        needed=NEEDED["/v2/jobs"],
    ),
    _route(
        _JOB, ("GET", "PUT"), _of_jobs(JobCalls.job), act="submit", needed=NEEDED["/v2/jobs/{id}"]
    ),
    _route(
        rf"{_JOB}/cancel",
        _POST,
        _of_jobs(JobCalls.cancel),
        act="cancel",
        needed=NEEDED["/v2/jobs/{id}/cancel"],
    ),
    _route(
        rf"{_JOB}/result", _GET, _of_jobs(JobCalls.result), needed=NEEDED["/v2/jobs/{id}/result"]
    ),
    _route(
        r"/v2/uploads", _POST, _of_jobs(JobCalls.upload), act="upload", needed=NEEDED["/v2/uploads"]
    ),
    _route(
        r"/v2/batches",
        _GET_POST,
        _of_batches(BatchCalls.collection),
        act="submit",
        needed=NEEDED["/v2/batches"],
    ),
    _route(_BATCH, _GET, _of_batches(BatchCalls.batch), needed=NEEDED["/v2/batches/{id}"]),
    _route(
        rf"{_BATCH}/cancel",
        _POST,
        _of_batches(BatchCalls.cancel),
        act="cancel",
        needed=NEEDED["/v2/batches/{id}/cancel"],
    ),
    _route(
        rf"{_BATCH}/retry",
        _POST,
        _of_batches(BatchCalls.retry),
        act="retry",
        needed=NEEDED["/v2/batches/{id}/retry"],
    ),
    _route(r"/openapi\.json", _GET, _of_protocol(ProtocolCalls.openapi), local_only=True),
    _route(r"/docs", _GET, _of_protocol(ProtocolCalls.docs), local_only=True),
)
"""First match wins, so `stats` as a model's name is the reserved word that the protocol made it."""
