"""Many plain requests of one model at once: decoded, run and written as columns, not one by one.

Takes only what needs no judgement: requests of one shape that hold nothing but numbers in flat
JSON lists, for models without a transform. Everything else, and every column in which something is
odd (a string, an overflow, NaN), is left to `shared.inference.pipeline`, which says what is wrong.
The bytes are the same either way; a test compares them.
"""

from __future__ import annotations

from array import array
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
import orjson

from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.encoder import Heading, Wanted
from shared.inference.finite import FLOATS, all_finite
from shared.inference.pipeline import Prepared
from shared.inference.plain import MEMBERS_WITH_ID, is_id, plain_shape
from shared.limits import OUTPUT_JSON_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shared.catalog import Model, TensorSpec
    from shared.inference.batching import Stacker
    from shared.inference.pipeline import ServedModel

Shapes = tuple[tuple[int, ...], ...]
"""Of the inputs, in the model's order."""
SHAPES_KEPT: Final = 64
_PLAIN_OUTPUTS: Final = frozenset(
    {"FP32", "FP64"} | {f"{u}INT{n}" for u in ("", "U") for n in (8, 16, 32, 64)}
)


class Columns(NamedTuple):
    """The answers to many requests: the same text but for the data of each output."""

    form: bytes
    """Of bytes' `%`: one `%b` for each of `columns`."""
    data: list[list[bytes]]
    """By output, then by request: its elements, with commas between. Before them the ids, if there are any."""


class Bulk:
    """The columns of one loaded model; `usable` False: it takes nothing."""

    def __init__(self, model: Model, served: ServedModel, stacker: Stacker) -> None:
        spec = served.spec
        self._run = served.session.run
        self._fetch = served.session.output_names
        self._inputs = spec.inputs
        self._outputs = spec.outputs
        self._heading = Heading(
            model.name, spec.version, allow_non_finite=model.allow_non_finite
        ).text.replace(b"%", b"%%")
        self._wanted = [
            Wanted(output, binary=False, place=place) for place, output in enumerate(spec.outputs)
        ]
        self._plain = [(tensor.name, tensor.datatype) for tensor in spec.inputs]
        self._known: dict[Any, Sequence[int]] = {}
        self.usable = (
            stacker.stacks
            and not stacker.pads
            and served.transform is None
            and not served.session.shared_dimensions
            and all(ARRAY_TYPES[tensor.datatype].typecode for tensor in spec.inputs)
            and all(output.datatype in _PLAIN_OUTPUTS for output in spec.outputs)
        )

    def shapes(self, body: dict[str, Any]) -> Shapes | None:
        """The shapes of a request that can be a row of a column; None for one that is judged alone."""
        tensors = body.get("inputs")
        if len(body) != 1 and (len(body) != MEMBERS_WITH_ID or not is_id(body.get("id"))):
            return None
        if tensors.__class__ is not list or len(tensors) != len(self._inputs):
            return None
        if len(tensors) == 1:  # as with most models of numbers
            return self._shapes_of_one(tensors[0])
        key = tuple(map(_shape, tensors, self._plain))
        counts = self._known.get(key)
        if counts is None and (counts := self._count(key)) is None:
            return None
        for tensor, count in zip(tensors, counts, strict=True):
            if len(tensor["data"]) != count:
                return None
        return cast("Shapes", key)

    def _shapes_of_one(self, tensor: Any) -> Shapes | None:
        shape = plain_shape(tensor, *self._plain[0])
        if shape is None:
            return None
        key, data = (shape,), tensor["data"]
        counts = self._known.get(key) or self._count(key)
        if not counts or len(data) != counts[0]:
            return None
        first = data[0].__class__
        return key if first is float or first is int else None

    def rows(self, shapes: Shapes) -> int:
        """Rows of a request of these shapes."""
        return shapes[0][0]

    def run(
        self, bodies: Sequence[dict[str, Any]], shapes: Shapes, deadline_s: float
    ) -> Columns | None:
        """The answers to all requests; None where they have to be judged one by one."""
        feeds = self._feeds(bodies, shapes)
        if feeds is None:
            return None
        outputs = self._run(feeds, self._fetch, deadline_s)
        return self._write(outputs, [body.get("id") for body in bodies], shapes[0][0])

    def prepare(self, bodies: Sequence[dict[str, Any]], shapes: Shapes) -> list[Prepared] | None:
        """The requests as `ServedModel.prepare` gives them, their tensors views of one array for each input.

        None where they have to be judged one by one.
        """
        feeds = self._feeds(bodies, shapes)
        if feeds is None:
            return None
        rows = shapes[0][0]
        return [
            Prepared(
                {name: column[n * rows : (n + 1) * rows] for name, column in feeds.items()},
                self._fetch,
                self._wanted,
                body.get("id"),
                rows,
            )
            for n, body in enumerate(bodies)
        ]

    def prepared(self, request: Prepared) -> bool:
        """Whether this came of `prepare`, so that its answer can be written with others of as many rows."""
        return request.wanted is self._wanted

    def _feeds(
        self, bodies: Sequence[dict[str, Any]], shapes: Shapes
    ) -> dict[str, NDArray[Any]] | None:
        """What the graph takes: shape `(requests * rows, ...)` each."""
        feeds = {}
        for place, spec in enumerate(self._inputs):
            column = _column([body["inputs"][place]["data"] for body in bodies], spec)
            if column is None:
                return None
            rows = len(bodies) * shapes[place][0]
            feeds[spec.name] = column.reshape((rows, *shapes[place][1:]))
        return feeds

    def write_shares(
        self, requests: Sequence[Prepared], shares: Sequence[Sequence[NDArray[Any]]], rows: int
    ) -> Columns | None:
        """The answers to requests that `prepare` gave, of their shares: shape `(rows, ...)` each.

        None where they have to be written one by one.
        """
        outputs = [np.concatenate(column) for column in zip(*shares, strict=True)]
        return self._write(outputs, [request.id for request in requests], rows)

    def _write(
        self, outputs: Sequence[NDArray[Any]], ids: Sequence[str | None], rows: int
    ) -> Columns | None:
        """`ids`: of the requests; `outputs`: shape `(requests * rows, ...)` each."""
        form = self._heading
        columns: list[list[bytes]] = []
        requests = len(ids)
        if any(ids) or "" in ids:
            form += b"%b"
            columns.append([b"" if one is None else b',"id":' + orjson.dumps(one) for one in ids])
        for output, wanted in zip(outputs, self._wanted, strict=True):
            if output.shape[:1] != (requests * rows,) or not output.size:
                return None
            if output.nbytes > OUTPUT_JSON_BYTES_MAX:
                return None  # written one by one, or refused
            flat = np.ascontiguousarray(output).reshape(requests, -1)
            text = orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)
            if b"null" in text:  # NaN or an infinity
                return None
            columns.append(text[2:-2].split(b"],["))
            form += wanted.open((rows, *output.shape[1:])).replace(b"%", b"%%") + b"[%b]"
        return Columns(form + b"}]}", columns)

    def _count(self, shapes: tuple[tuple[int, ...] | None, ...]) -> Sequence[int] | None:
        """Elements of each input, where the shapes are the model's and have rows in common."""
        rows = shapes[0][0] if shapes and shapes[0] else 0
        for shape, spec in zip(shapes, self._inputs, strict=True):
            if (
                shape is None
                or len(shape) != len(spec.shape)
                or not shape
                or shape[0] != rows
                or rows < 1
            ):
                return None
            if any(
                want not in (-1, got) or got < 1
                for want, got in zip(spec.shape, shape, strict=True)
            ):
                return None
        counts = [prod(shape or ()) for shape in shapes]
        if len(self._known) < SHAPES_KEPT:
            self._known[shapes] = counts
        return counts


def _shape(tensor: Any, plain: tuple[str, str]) -> tuple[int, ...] | None:
    """`plain`: name and datatype. The shape of a tensor that is what nearly every line has."""
    shape = plain_shape(tensor, *plain)
    if shape is None or not tensor["data"]:
        return None
    first = tensor["data"][0].__class__
    return shape if first is float or first is int else None


def _column(lists: Sequence[list[Any]], spec: TensorSpec) -> NDArray[Any] | None:
    """The numbers of all lists, one after the other; None where one of them is not plainly a number."""
    kind = ARRAY_TYPES[spec.datatype]
    try:
        numbers = array(kind.typecode or "", chain.from_iterable(lists))
    except (TypeError, OverflowError):
        return None
    column = np.frombuffer(numbers, kind.dtype)
    if spec.datatype in FLOATS and not all_finite(column, spec.datatype):
        return None
    return column
