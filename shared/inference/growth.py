"""How large a request may be by what the model declares: outputs that grow with an input's open dimension.

Worked out once, when the model is loaded, so that a request of millions of rows is refused by its shape
alone, before anything is run or allocated.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from shared.inference.datatypes import ARRAY_TYPES
from shared.limits import BYTES_ELEMENT_BYTES, OUTPUT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.catalog import TensorSpec
    from shared.inference.session import ModelSession


def sizes_allowed(session: ModelSession) -> dict[str, dict[int, int]]:
    """By input: the largest size of each open dimension with which some output can still be given.

    A dimension is left out where an output does not grow with it, or grows with others too: what that
    takes is known when it is run.
    """
    outputs = [(spec, session.output_symbols[spec.name]) for spec in session.version.graph_outputs]
    return {
        spec.name: _allowed(session.symbols[spec.name], outputs)
        for spec in session.version.graph_inputs
    }


def _allowed(
    dimensions: Sequence[Any], outputs: Sequence[tuple[TensorSpec, Sequence[Any]]]
) -> dict[int, int]:
    allowed = {}
    for axis, symbol in enumerate(dimensions):
        most = [_most(spec, sizes, symbol) for spec, sizes in outputs]
        known = [size for size in most if size is not None]
        if isinstance(symbol, str) and known and len(known) == len(most):
            allowed[axis] = max(known)
    return allowed


def _most(spec: TensorSpec, dimensions: Sequence[Any], symbol: Any) -> int | None:
    """The size of `symbol` with which this output is as large as an output may be; None: not only its doing."""
    others = [size for size in dimensions if size != symbol]
    if len(others) == len(dimensions) or not all(isinstance(size, int) for size in others):
        return None
    kind = ARRAY_TYPES[spec.datatype]
    item_bytes = BYTES_ELEMENT_BYTES if spec.datatype == "BYTES" else kind.item_bytes
    times = len(dimensions) - len(others)
    return int((OUTPUT_BYTES_MAX // (item_bytes * max(1, prod(others)))) ** (1 / times))
