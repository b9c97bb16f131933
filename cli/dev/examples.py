"""A request for each model: from its golden file, else zeros in the shape that it declares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cli.dev.failures import DevError
from shared.limits import PREFER_WAIT_S_MAX
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
    is_realtime: bool = True
    """False: the model takes jobs alone, and is asked to be waited for."""

    @property
    def headers(self) -> dict[str, str]:
        """What the request says beside its body."""
        return {} if self.is_realtime else {"prefer": f"respond-async, wait={PREFER_WAIT_S_MAX}"}


def examples(repository: Repository) -> list[Example]:
    """One example for each model that can be asked: those that answer at once, then those that take jobs.

    Of each, real ones first, then short ones; last those of models that take no JSON (FP16, BF16):
    theirs have no inputs, and are refused.
    """
    golden = golden_requests(repository.folder)
    found = [
        Example(
            entry.name,
            golden.get(entry.name) or _made_up(entry),
            entry.name in golden,
            is_realtime=_REALTIME in entry.spec.latency_classes,
        )
        for entry in repository.models.values()
        if {_REALTIME, "async"} & set(entry.spec.latency_classes)
    ]
    if not found:
        raise DevError(
            f"No model in {repository.folder} answers in real time or takes jobs. Add one: "
            "laneway models add FILE --name NAME"
        )
    return sorted(
        found,
        key=lambda e: (
            not e.is_realtime,
            not e.is_real,
            not e.request["inputs"],
            len(json.dumps(e.request)),
        ),
    )


def _made_up(entry: ModelEntry) -> dict[str, Any]:
    manifest = entry.manifests[entry.spec.default_version]
    return example_request(entry.spec.inputs or manifest.inputs) or {"inputs": []}
