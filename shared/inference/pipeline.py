"""`infer`: the one function that every lane calls, from a validated request to an answer.

It is three steps, so that a lane which stacks requests can put its stacking between them:
`prepare` (decode, preprocess) gives the tensors that the graph sees, `session.run` runs them,
`finish` (postprocess, choose) gives the answer. Everything that does not depend on the request is worked
out once, when the model is loaded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from shared.errors import InvalidRequestError, SignatureError
from shared.inference import refusals
from shared.inference.codec import InputCodec
from shared.inference.encoder import Answer, Heading, Wanted
from shared.inference.growth import sizes_allowed
from shared.inference.plain import Plain
from shared.inference.transform import Around
from shared.schema.datatypes import DATATYPES
from shared.schema.wire import split_tail, wants_binary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shared.catalog import Model, ModelVersion, TensorSpec
    from shared.inference.session import ModelSession
    from shared.inference.transform import Transform
    from shared.schema.request import InferenceRequest

NO_TAIL: Final = memoryview(b"")


class Prepared:
    """A decoded request: what the graph is fed, and what the caller wants of it."""

    __slots__ = ("feeds", "fetch", "id", "rows", "wanted")

    def __init__(
        self,
        feeds: dict[str, NDArray[Any]],
        fetch: list[str],
        wanted: Sequence[Wanted],
        request_id: str | None,
        rows: int | None = None,
    ) -> None:
        self.feeds = feeds
        self.fetch = fetch
        """Names of the graph's outputs to compute."""
        self.wanted = wanted
        """Public outputs in the caller's order."""
        self.id = request_id
        self.rows = rows
        """Rows of the request, where somebody has to know: a transform must keep them."""


class ServedModel:
    """One loaded version with all that a request to it needs."""

    def __init__(
        self,
        model: Model,
        version: ModelVersion,
        session: ModelSession,
        *,
        transform: Transform | None = None,
        size_bytes: int = 0,
    ) -> None:
        self.name = model.name
        self.version = version.version
        self.spec = version
        self.session = session
        self.transform = transform
        self._around = None if transform is None else Around(transform, version)
        self.size_bytes = size_bytes
        self._heading = Heading(
            model.name, version.version, allow_non_finite=model.allow_non_finite
        )
        allowed = {} if transform else sizes_allowed(session)
        self._codecs = {
            spec.name: InputCodec(
                spec,
                text=transform is None,
                allow_non_finite=model.allow_non_finite,
                sizes_max=allowed.get(spec.name),
            )
            for spec in version.inputs
        }
        self._outputs = {spec.name: spec for spec in version.outputs}
        self._in_binary = _all(version.outputs, binary=True)
        self._in_json = _all(version.outputs, binary=False)
        self._binary_only = [
            spec.name for spec in version.outputs if not DATATYPES[spec.datatype].json
        ]
        self._plain = not (transform or session.shared_dimensions or self._binary_only)
        """Whether a request that asks for nothing special needs no more than decoding."""
        codecs = list(self._codecs.values())
        direct = self._around is not None or not session.shared_dimensions
        self.plain = (
            Plain(session, codecs, self._heading, self._in_json, self._around)
            if direct and Plain.takes(codecs, self._in_json)
            else None
        )
        """Answers requests that need no judgement; None: no request to this model is one."""

    def prepare(self, request: InferenceRequest, tail: memoryview = NO_TAIL) -> Prepared:
        """Decode the request against the model's signature, and preprocess it.

        `tail`: the binary tensors behind the JSON part.
        """
        codecs = self._codecs
        arrays: dict[str, NDArray[Any]] = {}
        inputs = request.inputs
        parts = split_tail(inputs, tail) if tail else None
        for index, tensor in enumerate(inputs):
            name = tensor.name
            codec = codecs.get(name)
            if codec is None or name in arrays:
                raise refusals.unexpected_input(name, index, self.name, codecs)
            if parts is None and (tensor.parameters is not None or tensor.data is None):
                parts = split_tail(inputs, tail)
            arrays[name] = codec.decode(tensor, None if parts is None else parts[index], index)
        if len(arrays) != len(codecs):
            raise refusals.missing_input(arrays, self.name, codecs)
        if self._plain and request.outputs is None and request.parameters is None:
            return Prepared(arrays, self.session.output_names, self._in_json, request.id)
        wanted = self._wanted(request)
        if self._binary_only:
            self._refuse_json_of_binary_only(wanted)
        return self._prepared(arrays, wanted, request.id)

    def prepare_raw(self, body: memoryview) -> Prepared:
        """A raw binary request: `body` is the model's one input, the answer is all binary."""
        if len(self._codecs) != 1:
            raise InvalidRequestError(
                f"a raw binary request (header length 0) carries one input; model {self.name!r} "
                f"takes {len(self._codecs)}: {refusals.quoted(self._codecs)}"
            )
        [(name, codec)] = self._codecs.items()
        return self._prepared({name: codec.decode_raw(body)}, self._in_binary, None)

    def _prepared(
        self,
        arrays: dict[str, NDArray[Any]],
        wanted: Sequence[Wanted],
        request_id: str | None,
    ) -> Prepared:
        around = self._around
        if around is not None:
            rows, feeds = around.rows_of(arrays), around.feeds_of(arrays)
            return Prepared(feeds, self.session.output_names, wanted, request_id, rows)
        if self.session.shared_dimensions:
            self._check_shared_dimensions(arrays)
        if wanted is self._in_json or wanted is self._in_binary:
            return Prepared(arrays, self.session.output_names, wanted, request_id)
        return Prepared(arrays, [want.spec.name for want in wanted], wanted, request_id)

    def finish(
        self, prepared: Prepared, results: Sequence[NDArray[Any]], model_ms: float = 0.0
    ) -> Answer:
        """The answer made of the graph's outputs, in the order of `prepared.fetch`."""
        if self._around is None:
            arrays = results  # fetched in the order in which they are wanted
        else:
            public = self._around.public_of(results, prepared.feeds, rows=prepared.rows)
            arrays = [public[want.spec.name] for want in prepared.wanted]
        return Answer(self._heading, prepared.id, prepared.wanted, arrays, model_ms)

    def _wanted(self, request: InferenceRequest) -> Sequence[Wanted]:
        if not request.outputs:
            return self._in_binary if wants_binary(request) else self._in_json
        wanted: dict[str, Wanted] = {}
        for index, output in enumerate(request.outputs):
            spec = self._outputs.get(output.name)
            if spec is None or output.name in wanted:
                raise refusals.unexpected_output(output.name, index, self._outputs)
            if output.parameters and "classification" in output.parameters:
                raise InvalidRequestError(
                    "the classification extension is not supported here",
                    field=f"outputs[{index}].parameters.classification",
                )
            wanted[output.name] = Wanted(
                spec, binary=wants_binary(request, output, index), place=index
            )
        return list(wanted.values())

    def _refuse_json_of_binary_only(self, wanted: Sequence[Wanted]) -> None:
        for want in wanted:
            if not want.binary and want.spec.name in self._binary_only:
                raise InvalidRequestError(
                    f"output {want.spec.name!r} is {want.spec.datatype}, which travels as binary data only; "
                    'ask for it with parameters {"binary_data": true}',
                    field="outputs",
                )

    def _check_shared_dimensions(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Dimensions to which the graph gives one name must have one size."""
        for symbol, places in self.session.shared_dimensions:
            sizes = {arrays[name].shape[axis] for name, axis in places}
            if len(sizes) > 1:
                found = ", ".join(
                    f"{arrays[name].shape[axis]} in dimension {axis} of {name!r}"
                    for name, axis in places
                )
                raise SignatureError(
                    f"the inputs disagree on dimension {symbol!r}: {found}", field="inputs"
                )


def infer(
    model: ServedModel,
    request: InferenceRequest | None,
    tail: memoryview = NO_TAIL,
    *,
    deadline_s: float,
) -> Answer:
    """Answer one request; `request` None: a raw binary request, whose body is `tail`.

    `deadline_s`: when the run is stopped, on the clock of `time.monotonic`.
    """
    prepared = model.prepare_raw(tail) if request is None else model.prepare(request, tail)
    started_s = time.perf_counter()
    results = model.session.run(prepared.feeds, prepared.fetch, deadline_s)
    model_ms = (time.perf_counter() - started_s) * 1000
    return model.finish(prepared, results, model_ms)


def _all(outputs: Sequence[TensorSpec], *, binary: bool) -> list[Wanted]:
    return [Wanted(spec, binary=binary, place=place) for place, spec in enumerate(outputs)]
