"""A real request for each model: from its golden file, else zeros in the shape that it declares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

from cli.dev.failures import DevError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.repository import ModelEntry, Repository

GOLDEN: Final = "golden.json"
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
    golden = entry.folder / GOLDEN
    if golden.is_file():
        for case in _cases(json.loads(golden.read_text())):
            return True, case["request"]
    return False, {"inputs": [_zeros(tensor) for tensor in _inputs(entry)]}


def _cases(golden: Any) -> Iterator[dict[str, Any]]:
    """The cases of a golden file, which holds one or a list of them."""
    yield from golden if isinstance(golden, list) else golden.get("cases", [golden])


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
