"""Stacks prepared requests of one model along the batch axis, runs them once, splits the results.

What cannot be stacked is told apart here, so that no lane has to know why: a model whose rows
depend on each other or differ too much when stacked, a tensor without a batch axis, requests of
unlike shapes. Nothing is padded but what the model declares (`shared.inference.padding`).
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.errors import ModelRunError
from shared.inference.padding import Padding, PaddingRefusedError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from shared.inference.padding import Sizes
    from shared.inference.pipeline import Prepared, ServedModel

TOLERANCE_MAX: Final = 1e-4
"""Relative difference between stacked and alone up to which a model may be stacked."""
ENOUGH_ROWS: Final = 8
"""From these on, or a quarter of the most rows, another row saves less than its filler costs."""


class Stacker:
    """The stacking of one loaded model, up to `rows_max` rows a run."""

    def __init__(self, served: ServedModel, *, rows_max: int) -> None:
        self._run = served.session.run
        self._rows_max = rows_max
        self._inputs = [tensor.name for tensor in served.spec.graph_inputs]
        self.stacks = rows_max > 1 and _stackable(served)
        self._padding = _padding(served) if self.stacks and served.spec.pad else None

    @property
    def pads(self) -> bool:
        """Whether requests of unlike lengths may run together."""
        return self._padding is not None

    def plan(self, requests: Sequence[Prepared]) -> list[list[int]]:
        """Which requests run together, by their positions; requests keep their order in a stack.

        Where lengths may differ, stacks are filled with requests of like length.
        """
        if not self.stacks:
            return [[position] for position in range(len(requests))]
        padding = self._padding
        if padding is None:
            return self._fill(requests, range(len(requests)))
        lengths = [padding.sizes(request.feeds) or () for request in requests]
        order = sorted(range(len(requests)), key=lengths.__getitem__)
        return sorted(sorted(stack) for stack in self._fill(requests, order, lengths))

    def _fill(
        self,
        requests: Sequence[Prepared],
        order: Iterable[int],
        lengths: Sequence[Sizes] | None = None,
    ) -> list[list[int]]:
        """Stacks of positions, filled in this order.

        `lengths`: of each request, where they may differ in a stack. One that has enough rows is not
        padded for more.
        """
        enough = max(ENOUGH_ROWS, self._rows_max // 4)
        stacks: list[list[int]] = []
        open_stacks: dict[Hashable, tuple[list[int], int]] = {}
        for position in order:
            signature, rows = self.signature(requests[position])
            stack, held = open_stacks.get(signature, ([], self._rows_max))
            if (
                signature is None
                or held + rows > self._rows_max
                or (lengths and held >= enough and lengths[stack[-1]] != lengths[position])
            ):
                stack, held = [], 0
                stacks.append(stack)
            stack.append(position)
            if signature is not None:
                open_stacks[signature] = (stack, held + rows)
        return stacks

    def run(self, requests: Sequence[Prepared], deadline_s: float) -> list[list[NDArray[Any]]]:
        """For each request its outputs, in the order of its `fetch`; see `ModelSession.run`.

        Raises ModelRunError besides, when the graph did not keep the rows of a stack.
        """
        if len(requests) == 1:
            return [self._run(requests[0].feeds, requests[0].fetch, deadline_s)]
        parts = [request.feeds for request in requests]
        fetch = _fetched(requests)
        if self._padding is not None:
            return self._run_padded(self._padding, requests, fetch, deadline_s)
        feeds = {name: np.concatenate([part[name] for part in parts]) for name in self._inputs}
        outputs, ends = self._run_whole(feeds, parts, fetch, deadline_s)
        return _split(requests, fetch, outputs, ends)

    def _run_padded(
        self, padding: Padding, requests: Sequence[Prepared], fetch: list[str], deadline_s: float
    ) -> list[list[NDArray[Any]]]:
        parts = [request.feeds for request in requests]
        feeds, sizes = padding.join(parts)
        outputs, ends = self._run_whole(feeds, parts, fetch, deadline_s)
        for name, output in zip(fetch, outputs, strict=True):
            padding.check(name, output, sizes)
        shares = _split(requests, fetch, outputs, ends)
        return [
            [padding.cut(name, share, own) for name, share in zip(request.fetch, mine, strict=True)]
            for request, mine, own in zip(requests, shares, sizes, strict=True)
        ]

    def _run_whole(
        self,
        feeds: dict[str, NDArray[Any]],
        parts: Sequence[dict[str, NDArray[Any]]],
        fetch: list[str],
        deadline_s: float,
    ) -> tuple[list[NDArray[Any]], list[int]]:
        """The outputs of a stack, and where each request's rows begin and end."""
        outputs = self._run(feeds, fetch, deadline_s)
        first = self._inputs[0]
        ends = list(accumulate((len(part[first]) for part in parts), initial=0))
        if any(output.shape[:1] != (ends[-1],) for output in outputs):
            raise ModelRunError("the model did not keep the rows of a stack")
        return outputs, ends

    def signature(self, request: Prepared) -> tuple[Hashable | None, int]:
        """What requests of one stack have in common, and the rows; None: it runs alone."""
        if not self.stacks:
            return None, 1
        feeds = request.feeds
        first, *others = self._inputs
        array = feeds[first]
        rows = len(array)
        if not 0 < rows < self._rows_max:
            return None, rows
        if self._padding is not None:
            return self._padded_kind(self._padding, feeds, rows), rows
        signature: list[Any] = [array.shape[1:], array.dtype]
        for name in others:
            array = feeds[name]
            if len(array) != rows:
                return None, rows
            signature += (array.shape[1:], array.dtype)
        return tuple(signature), rows

    def cells(self, request: Prepared) -> int:
        """Elements of a row, where requests of unlike lengths may run together; else 1."""
        if self._padding is None:
            return 1
        first = request.feeds[self._inputs[0]]
        return max(1, int(first.size) // max(1, len(first)))

    def _padded_kind(
        self, padding: Padding, feeds: dict[str, NDArray[Any]], rows: int
    ) -> Hashable | None:
        if any(len(feeds[name]) != rows for name in self._inputs):
            return None
        return padding.kind(feeds)


def _stackable(served: ServedModel) -> bool:
    spec = served.spec
    tolerance = spec.stacking_tolerance
    if not spec.row_independent or (tolerance is not None and tolerance > TOLERANCE_MAX):
        return False
    tensors = (*spec.graph_inputs, *spec.graph_outputs)
    return all(tensor.shape and tensor.shape[0] < 0 for tensor in tensors)


def _padding(served: ServedModel) -> Padding | None:
    """What the model declares. `laneway models lock` and `check` refuse what cannot be padded; runs need not."""
    try:
        return Padding(served.spec, served.session)
    except PaddingRefusedError:
        return None


def _fetched(requests: Sequence[Prepared]) -> list[str]:
    """Every output that one of the requests wants."""
    first = requests[0].fetch
    if all(request.fetch is first for request in requests):
        return first
    return list(dict.fromkeys(name for request in requests for name in request.fetch))


def _split(
    requests: Sequence[Prepared],
    fetch: list[str],
    outputs: Sequence[NDArray[Any]],
    ends: Sequence[int],
) -> list[list[NDArray[Any]]]:
    """Views of the outputs, row by row: shape `(rows of the request, ...)` each."""
    bounds = pairwise(ends)
    if all(request.fetch is fetch for request in requests):
        return [[output[start:end] for output in outputs] for start, end in bounds]
    by_name = dict(zip(fetch, outputs, strict=True))
    return [
        [by_name[name][start:end] for name in request.fetch]
        for request, (start, end) in zip(requests, bounds, strict=True)
    ]
