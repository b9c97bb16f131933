"""What admission finds of a model: plain values, so that whoever asks loads neither numpy nor onnxruntime."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.catalog import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

PLATFORM: Final = "onnx_onnxv1"


class ModelRefusedError(ValueError):
    """A model file that cannot be served; the message has the reason and the way out.

    Raised when a model is added or checked, never while a request is answered.
    """


class GoldenFileError(ValueError):
    """A golden.json that cannot be read; says which member and why."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What running the model showed."""

    ran: bool
    run_ms: float | None
    """One row, best of three; None if it did not run."""
    row_independent: bool
    tolerance: float | None
    """Largest difference between a row run stacked and alone, relative to the row's largest value."""
    reason: str
    """Why the model is not to be stacked, or why it did not run; empty if it may be stacked."""
    output_ranks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compared:
    """What running a version and its offline-optimised form showed."""

    equal: bool
    """Whether every output was the same, bit for bit."""
    run_ratio: float = 0.0
    """CPU time of a run of one row, form / plain; 0: not timed."""


@dataclass(frozen=True, slots=True)
class Started:
    """What hashing a version's files and making a session of them took, in a fresh process."""

    cpu_ms: float
    memory_mib: float
    """Added to what is resident."""


@dataclass(frozen=True, slots=True)
class PaddingTrial:
    """What running padded requests showed."""

    tolerance: float | None
    """Largest difference between a row run padded and alone, relative to the row's largest value."""
    reason: str
    """Why the model is not to be padded; empty if it may be."""


@dataclass(frozen=True, slots=True)
class ModelInspection:
    """What a manifest records, and what a `model.toml` can be proposed from."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: dict[str, int]
    producer: str
    files: tuple[str, ...]
    """The model's file first, then external data; relative to the model's folder."""
    trial: Trial
    """What running it with random inputs showed."""
    padding: PaddingTrial | None = None
    """What running it padded showed; None where no filler is declared."""
    platform: str = PLATFORM

    def to_json(self) -> dict[str, Any]:
        """Itself as JSON values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelInspection:
        """What `to_json` gave. Raises TypeError, ValueError or KeyError for anything else."""
        return cls(
            inputs=_tensors(data["inputs"]),
            outputs=_tensors(data["outputs"]),
            opset={str(domain): int(version) for domain, version in data["opset"].items()},
            producer=str(data["producer"]),
            files=tuple(str(file) for file in data["files"]),
            trial=Trial(**data["trial"]),
            padding=PaddingTrial(**data["padding"]) if data["padding"] else None,
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What looking at a version of a repository showed; it may be served."""

    golden: int
    """Golden answers that it gives."""


def _tensors(items: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=str(item["name"]),
            datatype=str(item["datatype"]),
            shape=tuple(int(size) for size in item["shape"]),
        )
        for item in items
    )
