"""Every address that ingress answers at: its methods, the call behind it, the scope it needs, the act it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from functions.ingress.batches import BatchCalls
from functions.ingress.jobs import JobCalls
from functions.ingress.protocol import ProtocolCalls
from shared.schema.scopes import ANY, NEEDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from functions.api_gateway import Response
    from shared.audit import Act

GET: Final = ("GET",)
POST: Final = ("POST",)
GET_POST: Final = ("GET", "POST")
_MODEL: Final = r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
_JOB: Final = r"/v2/jobs/(?P<job>[^/]+)"
_BATCH: Final = r"/v2/batches/(?P<batch>[^/]+)"


class Route(NamedTuple):
    """One address. `answer` is called with the service, the request and the named parts of the address."""

    pattern: re.Pattern[str]
    methods: tuple[str, ...]
    answer: Callable[..., Response]
    local_only: bool = False
    act: Act | None = None
    """What any method but GET is, in the audit; None: it changes nothing."""
    needed: Mapping[str, str] = {}
    """Which scope a caller must have, by method."""


def _route(
    pattern: str,
    methods: tuple[str, ...],
    answer: Callable[..., Response],
    *,
    local_only: bool = False,
    act: Act | None = None,
    needed: Mapping[str, str] | None = None,
) -> Route:
    return Route(re.compile(pattern), methods, answer, local_only, act, needed or {})


def _of_protocol(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.protocol, request, **parts)


def _of_jobs(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.jobs, request, **parts)


def _of_batches(method: Callable[..., Response]) -> Callable[..., Response]:
    return lambda service, request, **parts: method(service.batches, request, **parts)


ROUTES: Final = (
    _route(r"/v2", GET, _of_protocol(ProtocolCalls.server)),
    _route(r"/v2/health/live", GET, _of_protocol(ProtocolCalls.live)),
    _route(r"/v2/health/ready", GET, _of_protocol(ProtocolCalls.ready)),
    _route(r"/v2/models", GET, _of_protocol(ProtocolCalls.models), needed=NEEDED["/v2/models"]),
    _route(r"/v2/models/stats", GET, _of_protocol(ProtocolCalls.not_supported)),
    _route(_MODEL, GET, _of_protocol(ProtocolCalls.model), needed=NEEDED["/v2/models/{model}"]),
    _route(
        rf"{_MODEL}/ready",
        GET,
        _of_protocol(ProtocolCalls.model_ready),
        needed=NEEDED["/v2/models/{model}/ready"],
    ),
    _route(
        rf"{_MODEL}/config",
        GET,
        _of_protocol(ProtocolCalls.config),
        needed=NEEDED["/v2/models/{model}/config"],
    ),
    _route(
        rf"{_MODEL}/infer",
        POST,
        _of_protocol(ProtocolCalls.infer),
        act="submit",
        needed={"POST": ANY},
    ),
    _route(rf"{_MODEL}/stats", GET, _of_protocol(ProtocolCalls.not_supported)),
    _route(rf"{_MODEL}/trace/setting", GET_POST, _of_protocol(ProtocolCalls.not_supported)),
    _route(
        r"/v2/repository(?:/[^/]+)?/index",
        POST,
        _of_protocol(ProtocolCalls.index),
        needed=NEEDED["/v2/repository/index"],
    ),
    _route(
        r"/v2/repository/models/[^/]+/(?:un)?load", POST, _of_protocol(ProtocolCalls.not_supported)
    ),
    _route(r"/v2/trace/setting|/v2/logging", GET_POST, _of_protocol(ProtocolCalls.not_supported)),
    _route(
        r"/v2/(?:system|cuda)sharedmemory(?:/region/[^/]+)?/(?:status|register|unregister)",
        GET_POST,
        _of_protocol(ProtocolCalls.not_supported),
    ),
    _route(
        r"/v2/jobs",
        GET_POST,
        _of_jobs(JobCalls.collection),
        act="submit",
        needed=NEEDED["/v2/jobs"],
    ),
    _route(
        _JOB, ("GET", "PUT"), _of_jobs(JobCalls.job), act="submit", needed=NEEDED["/v2/jobs/{id}"]
    ),
    _route(
        rf"{_JOB}/cancel",
        POST,
        _of_jobs(JobCalls.cancel),
        act="cancel",
        needed=NEEDED["/v2/jobs/{id}/cancel"],
    ),
    _route(
        rf"{_JOB}/result", GET, _of_jobs(JobCalls.result), needed=NEEDED["/v2/jobs/{id}/result"]
    ),
    _route(
        r"/v2/uploads", POST, _of_jobs(JobCalls.upload), act="upload", needed=NEEDED["/v2/uploads"]
    ),
    _route(
        r"/v2/batches",
        GET_POST,
        _of_batches(BatchCalls.collection),
        act="submit",
        needed=NEEDED["/v2/batches"],
    ),
    _route(_BATCH, GET, _of_batches(BatchCalls.batch), needed=NEEDED["/v2/batches/{id}"]),
    _route(
        rf"{_BATCH}/cancel",
        POST,
        _of_batches(BatchCalls.cancel),
        act="cancel",
        needed=NEEDED["/v2/batches/{id}/cancel"],
    ),
    _route(
        rf"{_BATCH}/retry",
        POST,
        _of_batches(BatchCalls.retry),
        act="retry",
        needed=NEEDED["/v2/batches/{id}/retry"],
    ),
    _route(r"/openapi\.json", GET, _of_protocol(ProtocolCalls.openapi), local_only=True),
    _route(r"/docs", GET, _of_protocol(ProtocolCalls.docs), local_only=True),
)
"""First match wins, so `stats` as a model's name is the reserved word that the protocol made it."""
