"""Requests that need no judgement, answered in one pass: values in flat JSON lists, nothing asked.

That is what most callers send. Where the model runs for microseconds, the objects of the ordinary way
(`shared.schema.compiled`, `shared.inference.pipeline`) cost as much as the run; where it runs for
milliseconds, it has emptied the processor's caches, and all code that is not run need not be fetched
again. Whatever is odd in a request (a further member, a nested list, a string for a number, an overflow, NaN)
gives None, and the ordinary way says what is wrong with it. The bytes are the same either way; a
property test compares them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.encoder import NUMPY, open_output
from shared.limits import REQUEST_ID_LENGTH_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shared.inference.codec import InputCodec
    from shared.inference.encoder import Heading, Wanted
    from shared.inference.session import ModelSession
    from shared.inference.transform import Around

    Arrays = dict[str, NDArray[Any]]

TENSOR_MEMBERS: Final = 4
"""name, datatype, shape, data."""
MEMBERS_WITH_ID: Final = 2
"""id, inputs."""


def plain_shape(tensor: Any, name: str, datatype: str) -> tuple[int, ...] | None:
    """The shape of a tensor that is a flat list and nothing else; None: it is judged elsewhere.

    What the list holds, and whether the shape fits, is still to be seen.
    """
    if tensor.__class__ is not dict or len(tensor) != TENSOR_MEMBERS:
        return None
    data, shape = tensor.get("data"), tensor.get("shape")
    if data.__class__ is not list or shape.__class__ is not list:
        return None
    if tensor.get("name") != name or tensor.get("datatype") != datatype:
        return None
    for size in shape:
        if size.__class__ is not int:  # 1.0 and True are equal to 1, and are refused elsewhere
            return None
    return tuple(shape)


class Plain:
    """The one pass of one loaded version. Made once, when the model is loaded."""

    __slots__ = ("_around", "_codecs", "_fetch", "_heading", "_names", "_run", "_wanted")

    def __init__(
        self,
        session: ModelSession,
        codecs: Sequence[InputCodec],
        heading: Heading,
        wanted: Sequence[Wanted],
        around: Around | None,
    ) -> None:
        """`around`: the model's transform; None where the public tensors are the graph's."""
        self._codecs = codecs
        self._run = session.run
        self._fetch = session.output_names
        self._heading = heading.text
        self._wanted = wanted
        self._names = [want.spec.name for want in wanted]
        self._around = around

    @staticmethod
    def takes(codecs: Sequence[InputCodec], wanted: Sequence[Wanted]) -> bool:
        """Whether a model can be answered so: JSON in, and numbers out that are JSON."""
        return all(ARRAY_TYPES[codec.datatype].json for codec in codecs) and all(
            want.numeric and ARRAY_TYPES[want.spec.datatype].json for want in wanted
        )

    def answer(self, body: Any, deadline_s: float) -> tuple[bytes, float] | None:
        """The answer's body and the milliseconds that the model ran; None: it has to go the ordinary way.

        `body`: the request's, parsed.

        Raises what `ModelSession.run` and the model's transform raise, and TooLargeError. `deadline_s`: on the clock of `time.monotonic`.
        """
        if body.__class__ is not dict:
            return None
        request_id = body.get("id")
        if len(body) != 1 and (len(body) != MEMBERS_WITH_ID or not is_id(request_id)):
            return None
        arrays = self._arrays(body.get("inputs"))
        if arrays is None:
            return None
        around = self._around
        feeds = arrays if around is None else around.feeds_of(arrays)
        started_s = time.perf_counter()
        results = self._run(feeds, self._fetch, deadline_s)
        model_ms = (time.perf_counter() - started_s) * 1000
        if around is not None:
            public = around.public_of(results, feeds, rows=around.rows_of(arrays))
            results = list(map(public.__getitem__, self._names))
        text = [self._heading]
        if request_id is not None:
            text += (b',"id":', orjson.dumps(request_id))
        for wanted, result in zip(self._wanted, results):  # noqa: B905  of equal length by contract
            text += (
                wanted.openings.get(result.shape) or open_output(result, wanted),
                orjson.dumps(result.ravel(), None, NUMPY),
            )
        text.append(b"}]}")
        written = b"".join(text)
        if written.find(b"null") >= 0:  # NaN or an infinity, as orjson writes them
            return None
        return written, model_ms

    def _arrays(self, tensors: Any) -> Arrays | None:
        if tensors.__class__ is not list or len(tensors) != len(self._codecs):
            return None
        arrays = {}
        for tensor, codec in zip(tensors, self._codecs):  # noqa: B905  compared above
            shape = plain_shape(tensor, codec.name, codec.datatype)
            if shape is None:
                return None
            count = codec.counts.get(shape)  # known: the shape was checked once
            data = tensor["data"]
            if not count or len(data) != count:
                return None
            array = codec.plain(data, shape, count)
            if array is None:
                return None
            arrays[codec.name] = array
        return arrays


def is_id(value: Any) -> bool:
    """Whether it can be a request's id."""
    return value.__class__ is str and len(value) <= REQUEST_ID_LENGTH_MAX
