"""Answers inference on the spot: route to model, body to request, `infer`, answer to body.

Imports neither boto3 nor pydantic. What it knows of models is in its package: the catalog, the
validators made ahead, the files.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from functions.api_gateway import HttpRequest, Response, serve
from functions.gateway_bodies import JSON_HEADERS
from shared.audit import AUDIT, INFER
from shared.catalog import infer_routes
from shared.errors import LanewayError, ModelNotFoundError, without_memory
from shared.inference.encoder import encode
from shared.inference.loading import open_sessions
from shared.inference.memory import recover
from shared.inference.pipeline import infer
from shared.inference.warm_set import loaded_first
from shared.limiting.opened import open_gate
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU, MIB
from shared.principal import INFER as INFERENCE
from shared.principal import Signers
from shared.schema.compiled import load_validators
from shared.schema.prefer import read_prefer
from shared.schema.wire import HEADER_LENGTH, join_answer, open_body, parse_json
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from shared.catalog import Catalog, Model, ModelVersion
    from shared.inference.pipeline import ServedModel
    from shared.inference.verifying import ModelFiles
    from shared.limiting.gate import Gate
    from shared.schema.request import InferenceRequest
    from shared.settings import RealtimeSettings
    from shared.telemetry import RequestFacts

PROBE: Final = "laneway_probe"
"""Member of the event by which ingress asks whether a model, or the whole pool, would answer."""
NO_TAIL: Final = memoryview(b"")


def make_handler(
    settings: RealtimeSettings,
    *,
    catalog: Catalog,
    package: Path,
    memory_mib: int = LAMBDA_MEMORY_MIB_PER_VCPU,
    telemetry: Telemetry | None = None,
    lambda_client: Any = None,
    gate: Gate | None = None,
    files: ModelFiles | None = None,
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler over the models of `package`; loads their default versions now.

    `memory_mib`: the function's memory, which decides how many threads a run may use.
    `lambda_client`: by which ingress is invoked; None: made when it is first needed. `gate`: who
    counts; None: as the settings say. `files`: where the models'
    are; None: in the package.
    """
    telemetry = telemetry or Telemetry(
        service="laneway-realtime",
        stage=settings.stage,
        pool=settings.pool,
        log_level=settings.log_level,
        act=INFER,
    )
    service = RealtimeService(
        settings, catalog=catalog, package=package, memory_mib=memory_mib, files=files
    )
    for name, reason in service.check_defaults().items():
        telemetry.logger.error("model not loaded", extra={"model": name, "reason": reason})

    ingress, signers = settings.ingress_function, Signers(settings.iam_grants)
    gate = gate or open_gate(
        usage_table=settings.usage_table,
        tenant_limits=settings.tenant_limits,
        tenants_table=settings.tenants_table,
    )

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        question = event.get(PROBE)
        if question is not None:
            return service.probe(question)
        if ingress and "prefer" in (event.get("headers") or ()):
            handed_over = _hand_over(event, context, ingress, lambda_client, telemetry)
            if handed_over is not None:
                return handed_over
        return serve(
            event,
            context,
            answer=service.answer,
            telemetry=telemetry,
            gate=gate,
            signers=signers,
        )

    return handler


def _hand_over(
    event: Mapping[str, Any], context: Any, ingress: str, client: Any, telemetry: Telemetry
) -> dict[str, Any] | None:
    """The answer of ingress, which logs it; None where no asynchronous answer is preferred."""
    if read_prefer(event["headers"]["prefer"]) is None:
        return None
    from functions.realtime.handoff import hand_over  # noqa: PLC0415 - it loads boto3

    try:
        return hand_over(
            event,
            function=ingress,
            remaining_ms=context.get_remaining_time_in_millis(),
            client=client,
        )
    except LanewayError as error:
        return serve(event, context, answer=partial(_refuse, error), telemetry=telemetry)


def _refuse(error: LanewayError, _request: HttpRequest, _facts: RequestFacts) -> Response:
    raise error


class RealtimeService:
    """The models of one pool."""

    def __init__(
        self,
        settings: RealtimeSettings,
        *,
        catalog: Catalog,
        package: Path,
        memory_mib: int,
        files: ModelFiles | None = None,
    ) -> None:
        self._catalog = catalog
        self._margin_ms = settings.deadline_margin_ms
        self._run_ms = settings.timeout_s * 1000
        self._budget_bytes = settings.session_budget_mib * MIB
        self._validate = load_validators(catalog.validators).inference_request
        self._sessions = open_sessions(
            package,
            catalog,
            budget_bytes=self._budget_bytes,
            threads=max(1, memory_mib // LAMBDA_MEMORY_MIB_PER_VCPU),
            files=files,
        )
        self._targets = _targets(catalog)
        self._records = {
            version.folder: _record(version)
            for model in catalog.models.values()
            for version in model.versions.values()
        }
        self._defaults = loaded_first(catalog, budget_bytes=self._budget_bytes)

    def answer(self, request: HttpRequest, facts: RequestFacts) -> Response:
        """The answer to one inference call; raises a `LanewayError` for one that has none."""
        # On the monotonic clock: when a run must end so that the answer still gets out.
        left_ms = min(request.remaining_ms - self._margin_ms, self._run_ms)
        deadline_s = time.monotonic() + left_ms / 1000
        target = self._targets.get(request.route_key)
        if target is None:
            raise ModelNotFoundError(f"this pool has no model for {request.route_key!r}")
        model, version = target
        if INFERENCE not in request.principal.scopes:
            request.principal.require(INFERENCE, model.name)
        facts.model = model.name
        if version is None:
            version = model.version(request.path_parameters.get("version"))
        facts.version = version.version
        facts.audit = self._records[version.folder]
        served = self._sessions.get(model.name, version.version)
        try:
            header, tails, facts.model_ms = self._infer(served, request, deadline_s)
        except (LanewayError, MemoryError) as error:
            if not self._sessions.spent and not isinstance(error, MemoryError):
                raise
            refusal = without_memory(error, served.name)
            self._sessions.drop(served.name, served.version)
        else:
            accepted = request.headers.get("accept-encoding")
            if not tails and accepted is None:
                return Response(200, JSON_HEADERS, header)
            sent = join_answer(header, tails, accept_encoding=accepted)
            return Response(200, sent.headers, sent.body)
        del served
        recover(self._sessions)
        raise refusal

    def _infer(
        self, served: ServedModel, request: HttpRequest, deadline_s: float
    ) -> tuple[bytes, Sequence[bytes], float]:
        """The answer's JSON part, its binary tensors, and the milliseconds that the model ran."""
        encoding = request.headers.get("content-encoding")
        header_length = request.headers.get(HEADER_LENGTH)
        asked: InferenceRequest | None
        if encoding is None and header_length is None:
            body, tail = parse_json(request.body), NO_TAIL
            plain = served.plain.answer(body, deadline_s) if served.plain else None
            if plain is not None:
                return plain[0], (), plain[1]
            asked = self._validate(body)
        else:
            frame = open_body(request.body, content_encoding=encoding, header_length=header_length)
            asked, tail = None if frame.raw else self._validate(parse_json(frame.json)), frame.tail
        answer = infer(served, asked, tail, deadline_s=deadline_s)
        return *encode(answer), answer.model_ms

    def probe(self, question: Mapping[str, str | None]) -> dict[str, Any]:
        """Whether the model of the question has a session now; no model: whether all defaults have.

        Gives `ready`, and where it is false `error` and `failed`, reasons by `name/version`.
        """
        name = question.get("model")
        try:
            failed = (
                self.check_defaults()
                if name is None
                else self._check([self._catalog.find(name, question.get("version"))[1]])
            )
        except LanewayError as error:
            return {"ready": False, "error": error.message}
        if not failed:
            return {"ready": True}
        reasons = "; ".join(f"{key}: {reason}" for key, reason in failed.items())
        return {"ready": False, "error": reasons, "failed": failed}

    def check_defaults(self) -> dict[str, str]:
        """Load the default versions that fit the budget; gives reasons by `name/version`."""
        return self._check(self._defaults)

    def _check(self, versions: list[ModelVersion]) -> dict[str, str]:
        reasons = {
            f"{version.model}/{version.version}": self._why_not(version) for version in versions
        }
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def _why_not(self, version: ModelVersion) -> str | None:
        """None for a version with a session, made now where there is none."""
        try:
            with self._sessions.use(version.model, version.version):
                return None
        except LanewayError as error:
            return error.message
        except Exception as error:  # noqa: BLE001 - one model that cannot be loaded must not take the others with it
            return f"loading it raised {type(error).__name__}"


def _targets(catalog: Catalog) -> dict[str, tuple[Model, ModelVersion | None]]:
    """What each route asks for; no version: the request names it."""
    found: dict[str, tuple[Model, ModelVersion | None]] = {}
    for model in catalog.models.values():
        of_default, of_any = infer_routes(model.name)
        found[of_default] = model, model.versions.get(model.default_version)
        found[of_any] = model, None
    return found


def _record(version: ModelVersion) -> dict[str, str]:
    """What the line of a request says of its version: made once, as each request's line takes it whole."""
    return {
        AUDIT: INFER,
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
    }
