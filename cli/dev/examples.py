"""A request for each model: from its golden file, else zeros in the shape that it declares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cli.dev.failures import DevError
from shared.schema.examples import example_request, golden_requests

if TYPE_CHECKING:
    from shared.repository import ModelEntry, Repository

_REALTIME: Final = "realtime"


@dataclass(frozen=True, slots=True)
class Example:
    """A request in the protocol's JSON form."""

    model: str
    request: dict[str, Any]
    is_real: bool
    """False: made up, so that the model may refuse it with good reason."""


def examples(repository: Repository) -> list[Example]:
    """One example for each model that answers in real time; real ones first, then short ones.

    Last those of models that take no JSON (FP16, BF16): theirs have no inputs, and are refused.
    """
    golden = golden_requests(repository.folder)
    found = [
        Example(entry.name, golden.get(entry.name) or _made_up(entry), entry.name in golden)
        for entry in repository.models.values()
        if _REALTIME in entry.spec.latency_classes
    ]
    if not found:
        raise DevError(
            f"No model in {repository.folder} answers in real time. Add one: "
            "laneway models add FILE --name NAME"
        )
    return sorted(
        found, key=lambda e: (not e.is_real, not e.request["inputs"], len(json.dumps(e.request)))
    )


def _made_up(entry: ModelEntry) -> dict[str, Any]:
    manifest = entry.manifests[entry.spec.default_version]
    return example_request(entry.spec.inputs or manifest.inputs) or {"inputs": []}
