"""numpy arrays to output tensors of the wire: JSON text or binary tails.

All that does not depend on the request is text already when the model is loaded; a request adds
its id, the shapes and the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.errors import InvalidRequestError, NonFiniteOutputError, TooLargeError
from shared.inference.finite import FLOATS, all_finite
from shared.inference.layout import join_elements
from shared.limits import MIB, OUTPUT_BYTES_MAX, OUTPUT_JSON_BYTES_MAX
from shared.schema.core import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shared.catalog import TensorSpec

NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY


SHAPES_KEPT: Final = 64
"""Openings of an output that were written once and are not written again; callers use few shapes."""


class Heading:
    """What every answer of one model version begins with."""

    __slots__ = ("allow_non_finite", "text")

    def __init__(self, model: str, version: str, *, allow_non_finite: bool) -> None:
        self.allow_non_finite = allow_non_finite
        self.text = orjson.dumps({"model_name": model, "model_version": version})[:-1]


class Wanted:
    """A public output in the form that the caller wants it in, at its place among the outputs."""

    __slots__ = ("_opening", "binary", "numeric", "openings", "spec")

    def __init__(self, spec: TensorSpec, *, binary: bool, place: int) -> None:
        self.spec = spec
        self.binary = binary
        self.numeric = not binary and spec.datatype != "BYTES"
        """Whether it is JSON that orjson writes from the array itself."""
        named = orjson.dumps({"name": spec.name, "datatype": spec.datatype})[:-1]
        self._opening = (b"}," if place else b',"outputs":[') + named + b',"shape":'
        self.openings: dict[tuple[int, ...], bytes] = {}

    def open(self, shape: tuple[int, ...]) -> bytes:
        """The JSON up to the data, or up to the size of the binary data."""
        rest = b',"parameters":{"binary_data_size":' if self.binary else b',"data":'
        opening = self._opening + orjson.dumps(shape) + rest
        if len(self.openings) < SHAPES_KEPT:
            self.openings[shape] = opening
        return opening


class Answer:
    """The answer to one request, before it is bytes. `arrays` match `wanted` one by one."""

    __slots__ = ("arrays", "heading", "id", "model_ms", "wanted", "with_infinities")

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
        self.with_infinities = False
        """Whether NaN and infinities were found in JSON outputs, and the model allows them."""


def encode(answer: Answer) -> tuple[bytes, list[bytes]]:
    """The JSON part and the binary outputs in their order, for `shared.schema.wire.join_answer`.

    Raises NonFiniteOutputError for a JSON output with NaN or an infinity that the model does not
    allow, InvalidRequestError for BYTES in JSON that are not UTF-8, TooLargeError for an output
    that would fill the memory once it is written.
    """
    text = [answer.heading.text]
    if answer.id is not None:
        text += (b',"id":', orjson.dumps(answer.id))
    tails: list[bytes] = []
    for wanted, array in zip(answer.wanted, answer.arrays):  # noqa: B905  of equal length by contract
        shape = array.shape
        text.append(wanted.openings.get(shape) or open_output(array, wanted))
        if wanted.numeric and not answer.with_infinities:
            text.append(orjson.dumps(array.ravel(), None, NUMPY))
        elif not wanted.binary:
            text.append(_odd_json(array.ravel(), wanted.spec))
        else:
            tails.append(to_bytes(array, wanted.spec.datatype))
            text.append(b"%d}" % len(tails[-1]))
    text.append(b"}]}")
    header = b"".join(text)
    # orjson writes NaN and infinities as null, so that the values need no look of their own. The
    # word may also stand in a string.
    if header.find(b"null") >= 0 and not answer.with_infinities and _non_finite_outputs(answer):
        return encode(_allowed(answer))
    return header, tails


def open_output(array: NDArray[Any], wanted: Wanted) -> bytes:
    """The opening of an output of a shape that is not known, which may be too large for its form.

    Raises TooLargeError before anything of it is written.
    """
    limit_bytes = OUTPUT_BYTES_MAX if wanted.binary else OUTPUT_JSON_BYTES_MAX
    if array.nbytes > limit_bytes:
        form = "binary" if wanted.binary else "JSON"
        raise TooLargeError(
            f"output {wanted.spec.name!r} has {array.nbytes // MIB} MiB, at most "
            f"{limit_bytes // MIB} are sent as {form}; send fewer rows in a request, or ask for "
            "binary outputs (binary_data_output)"
        )
    return wanted.open(array.shape)


def _allowed(answer: Answer) -> Answer:
    """The answer, its infinities admitted, if the model allows them."""
    if not answer.heading.allow_non_finite:
        name = _non_finite_outputs(answer)[0]
        raise NonFiniteOutputError(
            f"output {name!r} holds NaN or an infinity, which JSON cannot carry; ask for "
            'it with parameters {"binary_data": true}, or set allow_non_finite for the model'
        )
    answer.with_infinities = True
    return answer


def to_bytes(array: NDArray[Any], datatype: str) -> bytes:
    """Row-major, little-endian, unpadded; BYTES with their lengths."""
    if datatype == "BYTES":
        return join_elements(array.ravel().tolist())
    return array.tobytes()


def _odd_json(flat: NDArray[Any], spec: TensorSpec) -> bytes:
    """What orjson does not write by itself: BYTES, and NaN and infinities as bare words.

    JSON does not have those words; the protocol's clients read them.
    """
    if spec.datatype == "BYTES":
        return orjson.dumps(_texts(flat, spec.name))
    if spec.datatype in FLOATS:
        return to_json(flat.tolist(), inf_nan_mode="constants")
    return orjson.dumps(flat, None, NUMPY)


def _non_finite_outputs(answer: Answer) -> list[str]:
    """Names of the outputs in JSON that hold NaN or an infinity."""
    return [
        wanted.spec.name
        for wanted, array in zip(answer.wanted, answer.arrays, strict=True)
        if wanted.numeric
        and wanted.spec.datatype in FLOATS
        and not all_finite(array, wanted.spec.datatype)
    ]


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
