"""Which models a realtime function loads before its first request. Imports neither numpy nor onnxruntime."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.catalog import Catalog, ModelVersion

REALTIME: Final = "realtime"


def loaded_first(catalog: Catalog, *, budget_bytes: int) -> list[ModelVersion]:
    """Default versions of realtime models, in the catalog's order, as far as the budget goes."""
    versions = [
        model.version(None)
        for model in catalog.models.values()
        if REALTIME in model.latency_classes
    ]
    sums = accumulate(version.size_bytes for version in versions)
    return [
        version
        for version, total_bytes in zip(versions, sums, strict=True)
        if total_bytes <= budget_bytes
    ]
