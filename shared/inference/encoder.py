"""numpy arrays to output tensors of the wire: JSON text or binary tails.

All that does not depend on the request is text already when the model is loaded; a request adds
its id, the shapes and the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic_core import to_json

from shared.errors import InvalidRequestError, NonFiniteOutputError
from shared.inference.finite import FLOATS, all_finite
from shared.inference.layout import join_elements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from shared.catalog import TensorSpec

NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY


class Heading:
    """What every answer of one model version begins with."""

    __slots__ = ("allow_non_finite", "text")

    def __init__(self, model: str, version: str, *, allow_non_finite: bool) -> None:
        self.allow_non_finite = allow_non_finite
        self.text = orjson.dumps({"model_name": model, "model_version": version})[:-1]


class Wanted:
    """A public output in the form that the caller wants it in."""

    __slots__ = ("binary", "spec", "text")

    def __init__(self, spec: TensorSpec, *, binary: bool) -> None:
        self.spec = spec
        self.binary = binary
        opening = orjson.dumps({"name": spec.name, "datatype": spec.datatype})[:-1]
        self.text = opening + b',"shape":'


class Answer:
    """The answer to one request, before it is bytes. `arrays` match `wanted` one by one."""

    __slots__ = ("arrays", "heading", "id", "model_ms", "wanted")

    def __init__(
        self,
        heading: Heading,
        request_id: str | None,
        wanted: Sequence[Wanted],
        arrays: Sequence[NDArray[Any]],
        model_ms: float,
    ) -> None:
        self.heading = heading
        self.id = request_id
        self.wanted = wanted
        self.arrays = arrays
        self.model_ms = model_ms
        """Time in `session.run`."""


def encode(answer: Answer) -> tuple[bytes, list[bytes]]:
    """The JSON part and the binary outputs in their order, for `shared.schema.wire.join_answer`.

    Raises NonFiniteOutputError for a JSON output with NaN or an infinity that the model does not
    allow, InvalidRequestError for BYTES in JSON that are not UTF-8.
    """
    header, tails = _encode(answer, _json_data)
    # orjson writes NaN and infinities as null, so that the values need no look of their own. The
    # word may also stand in a string.
    if header.find(b"null") >= 0 and (spec := _non_finite_output(answer)) is not None:
        if not answer.heading.allow_non_finite:
            raise NonFiniteOutputError(
                f"output {spec.name!r} holds NaN or an infinity, which JSON cannot carry; ask for "
                'it with parameters {"binary_data": true}, or set allow_non_finite for the model'
            )
        return _encode(answer, _lenient_data)
    return header, tails


def _encode(
    answer: Answer, write: Callable[[NDArray[Any], TensorSpec], bytes]
) -> tuple[bytes, list[bytes]]:
    text = [answer.heading.text]
    add = text.append
    if answer.id is not None:
        add(b',"id":')
        add(orjson.dumps(answer.id))
    opening = b',"outputs":['
    tails: list[bytes] = []
    for wanted, array in zip(answer.wanted, answer.arrays):  # noqa: B905  of equal length by contract
        add(opening)
        add(wanted.text)
        add(orjson.dumps(array.shape))
        if wanted.binary:
            tail = to_bytes(array, wanted.spec.datatype)
            tails.append(tail)
            add(b',"parameters":{"binary_data_size":%d}}' % len(tail))
        else:
            add(b',"data":')
            add(write(array.ravel(), wanted.spec))
            add(b"}")
        opening = b","
    add(b"]}")
    return b"".join(text), tails


def to_bytes(array: NDArray[Any], datatype: str) -> bytes:
    """Row-major, little-endian, unpadded; BYTES with their lengths."""
    if datatype == "BYTES":
        return join_elements(array.ravel().tolist())
    return array.tobytes()


def _json_data(flat: NDArray[Any], spec: TensorSpec) -> bytes:
    if spec.datatype == "BYTES":
        return orjson.dumps(_texts(flat, spec.name))
    return orjson.dumps(flat, None, NUMPY)


def _lenient_data(flat: NDArray[Any], spec: TensorSpec) -> bytes:
    """With bare NaN and Infinity, which the protocol's clients read and JSON does not have."""
    if spec.datatype in FLOATS:
        return to_json(flat.tolist(), inf_nan_mode="constants")
    return _json_data(flat, spec)


def _non_finite_output(answer: Answer) -> TensorSpec | None:
    """The first output in JSON that holds NaN or an infinity."""
    for wanted, array in zip(answer.wanted, answer.arrays, strict=True):
        datatype = wanted.spec.datatype
        if not wanted.binary and datatype in FLOATS and not all_finite(array, datatype):
            return wanted.spec
    return None


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
