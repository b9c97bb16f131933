"""numpy arrays to output tensors of the wire: JSON through one `orjson` call, or binary tails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson
from pydantic_core import to_json

from shared.errors import InvalidRequestError, NonFiniteOutputError
from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.finite import FLOATS, all_finite
from shared.inference.layout import join_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.catalog import TensorSpec

JSON_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


class Output(NamedTuple):
    """One output of an answer: `array` in any shape, and the form that it travels in."""

    spec: TensorSpec
    array: NDArray[Any]
    binary: bool


class Answer(NamedTuple):
    """The answer to one request, before it is bytes."""

    model: str
    version: str
    id: str | None
    outputs: list[Output]
    allow_non_finite: bool
    model_ms: float
    """Time in `session.run`."""


def encode(answer: Answer) -> tuple[bytes, list[bytes]]:
    """The JSON part and the binary outputs in their order, for `shared.schema.wire.join_answer`.

    Raises NonFiniteOutputError for a JSON output with NaN or an infinity that the model does not
    allow, InvalidRequestError for BYTES in JSON that are not UTF-8.
    """
    outputs: list[dict[str, Any]] = []
    tails: list[bytes] = []
    for spec, array, binary in answer.outputs:
        tensor: dict[str, Any] = {
            "name": spec.name,
            "shape": array.shape,
            "datatype": spec.datatype,
        }
        if binary:
            tail = to_bytes(array, spec.datatype)
            tensor["parameters"] = {"binary_data_size": len(tail)}
            tails.append(tail)
        else:
            tensor["data"] = _json_data(array, spec, allow_non_finite=answer.allow_non_finite)
        outputs.append(tensor)
    body: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
    if answer.id is not None:
        body["id"] = answer.id
    body["outputs"] = outputs
    return orjson.dumps(body, option=JSON_OPTIONS), tails


def to_bytes(array: NDArray[Any], datatype: str) -> bytes:
    """Row-major, little-endian, unpadded; BYTES with their lengths."""
    if datatype == "BYTES":
        return join_elements(array.reshape(-1).tolist())
    return array.tobytes()


def _json_data(array: NDArray[Any], spec: TensorSpec, *, allow_non_finite: bool) -> Any:
    """Something that orjson writes as the flat, row-major list of the elements."""
    flat = array.reshape(-1)
    datatype = spec.datatype
    if datatype == "BYTES":
        return _texts(flat, spec.name)
    if datatype in FLOATS and not all_finite(flat, datatype):
        if not allow_non_finite:
            raise NonFiniteOutputError(
                f"output {spec.name!r} holds NaN or an infinity, which JSON cannot carry; ask for "
                'it with parameters {"binary_data": true}, or set allow_non_finite for the model'
            )
        return orjson.Fragment(to_json(flat.tolist(), inf_nan_mode="constants"))
    # orjson wants native byte order and contiguous memory, which a transform need not give.
    return np.ascontiguousarray(flat, ARRAY_TYPES[datatype].dtype)


def _texts(flat: NDArray[Any], name: str) -> list[str]:
    try:
        return [
            element.decode() if isinstance(element, bytes) else str(element) for element in flat
        ]
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"output {name!r} holds bytes that are not UTF-8, which JSON cannot carry; ask for it "
            'with parameters {"binary_data": true}'
        ) from error
