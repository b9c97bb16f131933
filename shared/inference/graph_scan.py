"""Reads an ONNX file without running it: what it is made of, and what speaks against serving it.

The only module that imports `onnx`, and only when a model is added: serving never needs it.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator sets that onnxruntime brings; libraries of custom operators are never loaded."""
NODES_MAX: Final = 200_000
DEPTH_MAX: Final = 32
"""Graphs inside graphs (If, Loop, Scan)."""


class ModelRefusedError(ValueError):
    """A model file that cannot be served; the message has the reason and the way out.

    Raised when a model is added, never while a request is answered.
    """


@dataclass(slots=True)
class GraphScan:
    """What a file says of itself."""

    opset: dict[str, int] = field(default_factory=dict)
    producer: str = ""
    external_files: tuple[str, ...] = ()
    """Relative to the file's folder, sorted."""
    operators: frozenset[str] = frozenset()
    unranked: frozenset[str] = frozenset()
    """Inputs and outputs that declare no number of dimensions."""


def scan(path: Path) -> GraphScan:
    """Read the file at `path`. Raises ModelRefusedError."""
    model = _read(path)
    operators: set[tuple[str, str]] = set()
    locations: set[str] = set()
    for node in _nodes(model):
        operators.add((node.domain, node.op_type))
    for tensor in _tensors(model):
        locations.update(entry.value for entry in tensor.external_data if entry.key == "location")
    _check_domains(operators, own={function.domain for function in model.functions})
    for location in locations:
        _check_external(path.parent, location)
    return GraphScan(
        opset={item.domain or "ai.onnx": item.version for item in model.opset_import},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        external_files=tuple(sorted(str(PurePosixPath(location)) for location in locations)),
        operators=frozenset(name for _, name in operators),
        unranked=frozenset(_unranked(model.graph)),
    )


def _read(path: Path) -> Any:
    import onnx  # noqa: PLC0415  only here, and never while serving

    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ModelRefusedError(f"{path.name} cannot be read: {error.strerror}") from error
    except Exception as error:  # protobuf's own, or onnx's for a text format that it guessed at
        raise ModelRefusedError(
            f"{path.name} is not an ONNX file, or only a part of one; export it again"
        ) from error
    if not model.graph.node:
        raise ModelRefusedError(f"{path.name} holds no graph; export the model again")
    return model


def _nodes(model: Any) -> Iterator[Any]:
    """Every node, those of inner graphs and of the model's own functions too."""
    count = 0
    waiting = [(node, 0) for node in model.graph.node]
    waiting += [(node, 0) for function in model.functions for node in function.node]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > NODES_MAX or depth > DEPTH_MAX:
            raise ModelRefusedError(
                f"the graph has more than {NODES_MAX} nodes or is nested deeper than {DEPTH_MAX}; "
                "simplify it, or split the model"
            )
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting += [(inner, depth + 1) for inner in graph.node]


def _tensors(model: Any) -> Iterator[Any]:
    """Every stored tensor that may have its data in another file."""
    yield from model.graph.initializer
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.initializer


def _check_domains(operators: set[tuple[str, str]], *, own: set[str]) -> None:
    foreign = sorted(
        f"{domain}.{name}" for domain, name in operators if domain not in DOMAINS | own
    )
    if foreign:
        raise ModelRefusedError(
            f"the graph uses operators that onnxruntime does not bring: {', '.join(foreign[:5])}; "
            "export it with standard operators, or move that step into transform.py"
        )


def _check_external(folder: Path, location: str) -> None:
    """External data must be a plain file beside the model: onnxruntime follows hard links anywhere."""
    where = f"external data file {location!r}"
    pure = PurePosixPath(location)
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise ModelRefusedError(
            f"{where} lies outside the model's folder; save it beside the model"
        )
    for parent in pure.parents:
        if (folder / parent).is_symlink() and str(parent) != ".":
            raise ModelRefusedError(f"{where} lies behind a link; copy the files themselves")
    try:
        status = (folder / pure).lstat()
    except OSError as error:
        raise ModelRefusedError(
            f"{where} is missing; it belongs beside the model, as it was exported"
        ) from error
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise ModelRefusedError(
            f"{where} is a link or has hard links; make a plain copy of it (cp -L)"
        )


def _unranked(graph: Any) -> Iterator[str]:
    for value in (*graph.input, *graph.output):
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            yield value.name
