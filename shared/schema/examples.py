"""Example requests: the golden ones of a model repository, and ones made from a declaration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from shared.schema.datatypes import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EXAMPLE_ELEMENTS_MAX: Final = 20_000
"""Of a made example's tensor; a larger one is no help to a reader."""
EXAMPLE_BYTES_MAX: Final = 512 * 1024
"""Of a golden request that is shown in the API's description."""


class DescribedTensor(Protocol):
    """What is read of a declared input or output; the catalog's `TensorSpec` has it."""

    @property
    def name(self) -> str:
        """The tensor's name."""

    @property
    def datatype(self) -> str:
        """Its datatype, as the protocol names it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The declared shape; -1 is a dynamic dimension."""


class DescribedVersion(Protocol):
    """What is read of a model's version."""

    @property
    def version(self) -> str:
        """The version's name."""

    @property
    def inputs(self) -> Sequence[DescribedTensor]:
        """The public inputs."""

    @property
    def outputs(self) -> Sequence[DescribedTensor]:
        """The public outputs."""


class DescribedModel(Protocol):
    """What is read of a model."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def description(self) -> str:
        """One sentence from its declaration; may be empty."""

    @property
    def latency_classes(self) -> Sequence[str]:
        """The classes that it offers."""

    @property
    def default_version(self) -> str:
        """The version that is served when none is named."""

    @property
    def versions(self) -> Mapping[str, DescribedVersion]:
        """The served versions by name."""


class DescribedCatalog(Protocol):
    """What is read of the catalog; `shared.catalog` is a layer above this one."""

    @property
    def models(self) -> Mapping[str, DescribedModel]:
        """The models by name."""


def golden_requests(models: Path) -> dict[str, dict[str, Any]]:
    """The request of every model's `golden.json` under the folder `models`, by model.

    A model without one is left out, and so is one whose request is too large to read.
    """
    found = {}
    for path in sorted(models.glob("*/golden.json")):
        request = orjson.loads(path.read_bytes()).get("request")
        if request is not None and len(orjson.dumps(request)) <= EXAMPLE_BYTES_MAX:
            found[path.parent.name] = request
    return found


def example_request(inputs: Sequence[DescribedTensor]) -> dict[str, Any] | None:
    """A request of zeros in the declared shapes, dynamic dimensions 1; None where JSON cannot do it."""
    tensors = [_tensor(item) for item in inputs]
    return None if None in tensors else {"inputs": tensors}


def _tensor(declared: DescribedTensor) -> dict[str, Any] | None:
    shape = [1 if size < 0 else size for size in declared.shape]
    if math.prod(shape) > EXAMPLE_ELEMENTS_MAX or not DATATYPES[declared.datatype].json:
        return None
    zero: Any = {"BOOL": False, "BYTES": "text", "FP32": 0.0, "FP64": 0.0}.get(declared.datatype, 0)
    return {
        "name": declared.name,
        "datatype": declared.datatype,
        "shape": shape,
        "data": [zero] * math.prod(shape),
    }
