"""A real request for each model: from its golden file, else zeros in the shape that it declares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

from cli.dev.failures import DevError
from cli.models.golden import GOLDEN_FILE, read_cases

if TYPE_CHECKING:
    from shared.repository import ModelEntry, Repository

_EMPTY: Final = {"BYTES": "", "BOOL": False}
_REALTIME: Final = "realtime"


@dataclass(frozen=True, slots=True)
class Example:
    """A request that the model answers, in the protocol's JSON form."""

    model: str
    request: dict[str, Any]


def examples(repository: Repository) -> list[Example]:
    """One example for each model that answers in real time; those with real input first, small first."""
    found = [
        (not real, len(json.dumps(request)), Example(entry.name, request))
        for entry in repository.models.values()
        if _REALTIME in entry.spec.latency_classes and entry.spec.compute == "cpu"
        for real, request in [_request(entry)]
    ]
    if not found:
        raise DevError(
            f"No model in {repository.folder} answers in real time. Add one: "
            "laneway models add FILE --name NAME"
        )
    return [example for _, _, example in sorted(found, key=lambda item: item[:2])]


def _request(entry: ModelEntry) -> tuple[bool, dict[str, Any]]:
    """Whether it is real input, and the request."""
    golden = entry.folder / GOLDEN_FILE
    if golden.is_file():
        return True, read_cases(golden)[0].request
    return False, {"inputs": [_zeros(tensor) for tensor in _inputs(entry)]}


def _inputs(entry: ModelEntry) -> list[tuple[str, str, tuple[int, ...]]]:
    tensors = entry.spec.inputs or entry.manifests[entry.spec.default_version].inputs
    return [(tensor.name, str(tensor.datatype), tuple(tensor.shape)) for tensor in tensors]


def _zeros(tensor: tuple[str, str, tuple[int, ...]]) -> dict[str, Any]:
    name, datatype, declared = tensor
    shape = [1 if dimension < 0 else dimension for dimension in declared]
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "data": [_EMPTY.get(datatype, 0)] * prod(shape),
    }
