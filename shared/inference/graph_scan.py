"""Reads an ONNX file without running it: what it is made of, and what speaks against serving it.

The only module that imports `onnx`, and only when a model is added or checked: serving never needs it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.inference.admission_limits import OPSETS, AdmissionLimits, widest_limits
from shared.inference.findings import ModelRefusedError
from shared.inference.model_files import check_external, check_total
from shared.limits import MIB, TENSOR_RANK_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BITS: Final = (
    0, 32, 8, 8, 16, 16, 32, 64, 256, 8, 16, 64, 32, 64, 64, 128,
    16, 8, 8, 8, 8, 4, 4, 4, 8, 2, 2,
)  # fmt: skip
"""Of one element in memory, by `TensorProto.DataType`; a text is an object of 32 bytes at least."""
CALLS_DEEP_MAX: Final = 100
"""Functions of a model's own that call each other."""


class _Operator(NamedTuple):
    """What a node calls: an operator, or a function of the model's own."""

    domain: str
    name: str
    overload: str


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


def scan(path: Path, limits: AdmissionLimits | None = None) -> GraphScan:
    """Read the file at `path`. Raises ModelRefusedError."""
    limits = limits or widest_limits()
    size_bytes = _check_size(path, limits)
    model = _read(path)
    walk = _Walk(model, limits)
    opset = {item.domain or "ai.onnx": item.version for item in model.opset_import}
    _check_domains(walk.operators, own={(one.domain, one.name) for one in model.functions})
    _check_opset(opset)
    for location, end_bytes in walk.external.items():
        size_bytes += check_external(path.parent, location, end_bytes)
    check_total(path.name, size_bytes, limits)
    return GraphScan(
        opset=opset,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        external_files=tuple(sorted(str(PurePosixPath(location)) for location in walk.external)),
        operators=frozenset(operator.name for operator in walk.operators),
        unranked=frozenset(_unranked(model.graph)),
    )


def _check_size(path: Path, limits: AdmissionLimits) -> int:
    """Before the file is opened."""
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ModelRefusedError(f"{path.name} cannot be read: {error.strerror}") from error
    check_total(path.name, size_bytes, limits)
    return size_bytes


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


class _Walk:
    """One pass over every node, those of inner graphs and of functions too, and every stored tensor."""

    def __init__(self, model: Any, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._seen = 0
        self._stored_bytes = 0
        self.operators: set[_Operator] = set()
        self.external: dict[str, int] = {}
        """Files with data of tensors, and where the last of it ends."""
        calls = {
            _Operator(function.domain, function.name, function.overload): self._take(
                function.node, function.attribute_proto
            )
            for function in model.functions
        }
        whole = self._take(model.graph.node)
        for kind, stored in _stored(model):
            (self._take_tensor if kind == "TensorProto" else self._take_sparse)(stored)
        self._refuse_past(_unfolded(whole, calls), "nodes with its functions unfolded")

    def _take(self, nodes: Any, attributes: Any = ()) -> Counter[_Operator]:
        """How often each operator is in these nodes, in the graphs inside them and in those of attributes."""
        counts: Counter[_Operator] = Counter()
        waiting = [(nodes, 0), *((graph.node, 1) for graph in _graphs(attributes))]
        while waiting:
            nodes, depth = waiting.pop()
            self._seen += len(nodes)
            self._refuse_past(self._seen, "nodes")
            if depth > self._limits.depth_max:
                raise ModelRefusedError(
                    f"the graph is nested deeper than {self._limits.depth_max} (If, Loop, Scan); "
                    "flatten it before exporting"
                )
            for node in nodes:
                counts[_Operator(node.domain, node.op_type, node.overload)] += 1
                waiting += [(graph.node, depth + 1) for graph in _graphs(node.attribute)]
        self.operators.update(counts)
        return counts

    def _take_sparse(self, sparse: Any) -> None:
        """A sparse tensor is held dense when it is loaded; its parts are stored tensors themselves."""
        self._add_bytes(sparse.dims, sparse.values.data_type)

    def _take_tensor(self, tensor: Any) -> None:
        size_bytes = self._add_bytes(tensor.dims, tensor.data_type)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if "location" in entries:
            offset, length = _number(entries, "offset", 0), _number(entries, "length", size_bytes)
            known = self.external.get(entries["location"], 0)
            self.external[entries["location"]] = max(known, offset + max(length, size_bytes))

    def _add_bytes(self, dims: Any, data_type: int) -> int:
        """Bytes that a tensor says that it holds; all of them together are bounded."""
        if len(dims) > TENSOR_RANK_MAX or any(size < 0 for size in dims):
            raise ModelRefusedError(
                f"a stored tensor has more than {TENSOR_RANK_MAX} dimensions or a negative one; "
                "export the model again"
            )
        bits = BITS[data_type] if 0 <= data_type < len(BITS) else 0
        size_bytes: int = -(-math.prod(dims) * bits // 8)
        self._stored_bytes += size_bytes
        if self._stored_bytes > self._limits.memory_bytes:
            raise ModelRefusedError(
                f"the stored tensors stand for {self._stored_bytes // MIB} MiB, more than the "
                f"{self._limits.memory_bytes // MIB} MiB of memory that the model may have; "
                "quantize it, or give its pool more memory_mib"
            )
        return size_bytes

    def _refuse_past(self, count: int, what: str) -> None:
        if count > self._limits.nodes_max:
            raise ModelRefusedError(
                f"the graph has more than {self._limits.nodes_max} {what}; simplify it, split the "
                "model, or raise nodes_max in [<pool>.admission] of pools.toml"
            )


def _graphs(attributes: Any) -> Iterator[Any]:
    """The graphs that attributes hold."""
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _stored(model: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor and sparse tensor of the file, wherever the format has room for one."""
    waiting = [model]
    while waiting:
        for described, value in waiting.pop().ListFields():
            if described.message_type is None:
                continue
            found = (value,) if hasattr(value, "ListFields") else value
            waiting += found
            if described.message_type.name in {"TensorProto", "SparseTensorProto"}:
                yield from ((described.message_type.name, item) for item in found)


def _unfolded(counts: Counter[_Operator], calls: Mapping[_Operator, Counter[_Operator]]) -> int:
    """Nodes once every call of the model's own functions is replaced by what is in it."""
    sizes: dict[_Operator, int] = {}
    open_calls: set[_Operator] = set()

    def size(name: _Operator) -> int:
        if name not in calls:
            return 1
        if name in open_calls or len(open_calls) > CALLS_DEEP_MAX:
            raise ModelRefusedError(
                f"function {name.name!r} of the model calls itself, or is more than {CALLS_DEEP_MAX} "
                "calls deep; export the model with its functions inlined"
            )
        if name not in sizes:
            open_calls.add(name)
            sizes[name] = sum(many * size(inner) for inner, many in calls[name].items())
            open_calls.remove(name)
        return sizes[name]

    return sum(many * size(name) for name, many in counts.items())


def _number(entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004  digits of 2**63
        raise ModelRefusedError(f"external data has {key} {text[:30]!r}; save the model again")
    return int(text)


def _check_domains(operators: set[_Operator], *, own: set[tuple[str, str]]) -> None:
    known = {"", *OPSETS}
    foreign = sorted(
        f"{operator.domain}.{operator.name}"
        for operator in operators
        if operator.domain not in known and operator[:2] not in own
    )
    if foreign:
        raise ModelRefusedError(
            f"the graph uses operators that onnxruntime does not bring: {', '.join(foreign[:5])}; "
            "export it with standard operators, or move that step into transform.py"
        )


def _check_opset(opset: Mapping[str, int]) -> None:
    for domain, version in opset.items():
        oldest, newest = OPSETS.get(domain, (version, version))
        if not oldest <= version <= newest:
            raise ModelRefusedError(
                f"the graph is of opset {domain} {version}; {oldest} to {newest} are served: "
                "export it again for one of them"
            )


def _unranked(graph: Any) -> Iterator[str]:
    for value in (*graph.input, *graph.output):
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            yield value.name
