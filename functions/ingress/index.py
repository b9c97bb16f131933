"""The repository index: every served version with its state, as far as the pools' health tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from functions.ingress import asked, descriptions
from shared.errors import InvalidRequestError
from shared.schema.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from functions.api_gateway import HttpRequest
    from functions.ingress.readiness import Health
    from shared.catalog import Catalog, Model

REALTIME: Final = "realtime"


def read_only_ready(request: HttpRequest) -> bool:
    """The `ready` member of an index request; an empty body asks for all."""
    if not request.body:
        return False
    filters = parse_json(asked.control_body(request))
    ready = filters.get("ready", False) if isinstance(filters, dict) else None
    if not isinstance(ready, bool):
        raise InvalidRequestError("expected an object with ready: true or false", field="ready")
    return ready


def list_index(
    catalog: Catalog, healths: Mapping[str, Health], *, only_ready: bool
) -> list[dict[str, str]]:
    """The index; `healths` has each pool of a model with class realtime."""
    entries = [
        descriptions.index_entry(model.name, version, reason=_why_not(model, version, healths))
        for model in catalog.models.values()
        for version in model.versions
    ]
    if not only_ready:
        return entries
    return [entry for entry in entries if entry["state"] == descriptions.READY]


def why_not_realtime(model: Model) -> str | None:
    """None for a model that answers on the spot."""
    if REALTIME in model.latency_classes:
        return None
    return f"its latency classes are {descriptions.classes(model.latency_classes)}, not 'realtime'"


def _why_not(model: Model, version: str, healths: Mapping[str, Health]) -> str | None:
    reason = why_not_realtime(model)
    if reason is not None:
        return reason
    health = healths[model.pool]
    if health.failed:
        return health.failed.get(f"{model.name}/{version}")
    return health.error
