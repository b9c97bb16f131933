"""Runs a block of lines on one loaded model: an answer or an error for each line, in order.

Plain lines run as columns (`shared.inference.bulk`), the others as jobs do: prepared one by one,
stacked where they may be, run again alone where a stack fails. No line takes another with it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.errors import DeadlineExceededError, InternalError, InvalidRequestError, LanewayError
from shared.inference.batching import Stacker
from shared.inference.bulk import Bulk
from shared.inference.encoder import encode
from shared.jobs.batches.lines import (
    TOO_LONG,
    RefusedLineError,
    answer_form,
    custom_id_of,
    error_line,
    is_blank,
    read_line,
)
from shared.jobs.facts import detail_of
from shared.limits import JSON_CONTAINERS_MAX
from shared.schema.batch import CUSTOM_ID_LENGTH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.catalog import Model
    from shared.inference.bulk import Shapes
    from shared.inference.pipeline import Prepared, ServedModel
    from shared.schema.request import InferenceRequest

PREPARED_MAX: Final = 64
"""Requests that are decoded at once on the way of single requests, or a full stack if that is more."""


class OutOfTimeError(Exception):
    """The invocation ends before the block; nothing of it is kept."""


@dataclass(slots=True)
class Written:
    """What became of a block: lines of three files, and how many there are."""

    output: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    succeeded: int = 0
    blank: int = 0


class Engine:
    """One model for the lines of one batch.

    `timeout_s` bounds one run of the model; `report` is told of exceptions that nobody foresaw;
    `stopped` says whether runs are aborted from outside.
    """

    def __init__(
        self,
        model: Model,
        served: ServedModel,
        *,
        validate: Callable[[object], InferenceRequest],
        batch_id: str,
        endpoint: str,
        timeout_s: float,
        report: Callable[[BaseException], None],
        stopped: Callable[[], bool] = bool,
    ) -> None:
        self._served = served
        self._validate = validate
        self._batch_id = batch_id
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._report = report
        self._stopped = stopped
        self._told = False
        self._rows_max = max(1, model.max_batch_size)
        self._stacker = Stacker(served, rows_max=self._rows_max)
        self._bulk = Bulk(model, served, self._stacker)

    def run(self, lines: Sequence[bytes | None], first: int, *, until_s: float) -> Written:
        """The block that begins with line number `first`; raises `OutOfTimeError`."""
        block = _Block(lines, first)
        self._read(block)
        for shapes, places in block.columns.items():
            step = max(1, self._rows_max // self._bulk.rows(shapes))
            for at in range(0, len(places), step):
                self._run_columns(block, places[at : at + step], shapes, until_s)
        step = max(PREPARED_MAX, self._rows_max)
        for at in range(0, len(block.alone), step):
            self._singly(block, block.alone[at : at + step], until_s)
        return self._write(block)

    def _read(self, block: _Block) -> None:
        """Read each line; what most lines are is told apart without a call."""
        endpoint, loads = self._endpoint, orjson.loads
        shapes_of = self._bulk.shapes if self._bulk.usable else _none
        for place, raw in enumerate(block.lines):
            if raw is None or len(raw) > JSON_CONTAINERS_MAX:
                self._read_odd(block, place, raw)
                continue
            try:
                line = loads(raw)
                custom_id, body = line["custom_id"], line["body"]
                plain = (
                    line["url"] == endpoint
                    and line["method"] == "POST"
                    and custom_id.__class__ is str
                    and 0 < len(custom_id) <= CUSTOM_ID_LENGTH_MAX
                    and body.__class__ is dict
                )
            except (KeyError, TypeError, ValueError):
                plain = False
            if not plain:
                self._read_odd(block, place, raw)
                continue
            block.requests[place] = (custom_id, body)
            shapes = shapes_of(body)
            if shapes is None:
                block.alone.append(place)
            else:
                block.columns[shapes].append(place)

    def _read_odd(self, block: _Block, place: int, raw: bytes | None) -> None:
        if raw is None:
            block.errors[place] = TOO_LONG
            return
        try:
            request = read_line(raw, endpoint=self._endpoint)
        except RefusedLineError as refused:
            block.errors[place], block.custom_ids[place] = refused.error, refused.custom_id
            return
        if request is not None:
            block.requests[place] = request
            block.alone.append(place)

    def _run_columns(
        self, block: _Block, places: list[int], shapes: Shapes, until_s: float
    ) -> None:
        """Run requests of one shape as columns, or leave them to be judged one by one."""
        requests = [block.requests[place] for place in places]
        try:
            found = self._bulk.run(
                [body for _, body in requests], shapes, self._deadline_s(until_s)
            )
        except LanewayError as error:
            self._check_time(until_s, error)
            found = None
        if found is None:
            block.alone += places
            return
        form = answer_form(self._batch_id, found.form)
        first, dumps, output = block.first, orjson.dumps, block.output
        for place, (custom_id, _), *data in zip(places, requests, *found.data, strict=True):
            number = first + place
            output[place] = form % (number, dumps(custom_id), number, *data)

    def _singly(self, block: _Block, places: Sequence[int], until_s: float) -> None:
        """Prepare requests one by one, and run them in the stacks that fit."""
        ready: list[tuple[int, Prepared]] = []
        for place in places:
            prepared = self._guarded(self._prepare, block.requests[place][1])
            if isinstance(prepared, LanewayError):
                block.errors[place] = prepared
            else:
                ready.append((place, prepared))
        for stack in self._stacker.plan([prepared for _, prepared in ready]):
            self._run_stack(block, [ready[index] for index in stack], until_s)

    def _prepare(self, body: dict[str, Any]) -> Prepared:
        return self._served.prepare(self._validate(body))

    def _run_stack(
        self, block: _Block, stack: Sequence[tuple[int, Prepared]], until_s: float
    ) -> None:
        """Run requests together; where that fails, each alone."""
        deadline_s = self._deadline_s(until_s)
        try:
            outputs = self._stacker.run([prepared for _, prepared in stack], deadline_s)
        except Exception as error:  # noqa: BLE001  whatever a model raises is the failure of its lines alone
            self._check_time(until_s, error)
            if len(stack) > 1:
                for member in stack:
                    self._run_stack(block, [member], until_s)
            else:
                block.errors[stack[0][0]] = self._as_failure(error)
            return
        for (place, prepared), arrays in zip(stack, outputs, strict=True):
            body = self._guarded(lambda given: self._encoded(*given), (prepared, arrays))
            if isinstance(body, LanewayError):
                block.errors[place] = body
            else:
                name, number = block.requests[place][0], block.first + place
                form = answer_form(self._batch_id, b"%b")
                block.output[place] = form % (number, orjson.dumps(name), number, body)

    def _encoded(self, prepared: Prepared, arrays: Any) -> bytes:
        header, tails = encode(self._served.finish(prepared, arrays))
        if tails:
            raise InvalidRequestError(
                "a line of JSON carries no binary output; leave binary_data and "
                "binary_data_output out",
                field="outputs",
            )
        return header

    def _guarded(self, step: Callable[[Any], Any], given: Any) -> Any:
        """What the step gives, or the typed failure that it ends with."""
        try:
            return step(given)
        except Exception as error:  # noqa: BLE001  one line's defect must not take the others with it
            return self._as_failure(error)

    def _as_failure(self, error: Exception) -> LanewayError:
        if isinstance(error, LanewayError):
            # Once a run of a chunk: a model that fails may fail on every line.
            if detail_of(error) and not self._told:
                self._told = True
                self._report(error)
            return error
        self._report(error)
        return InternalError("an internal error; the service's log has it under the batch's id")

    def _deadline_s(self, until_s: float) -> float:
        return min(until_s, time.monotonic() + self._timeout_s)

    def _check_time(self, until_s: float, error: Exception) -> None:
        """Whether the invocation's end, or the worker's, stopped a run, not the run's own limit."""
        if isinstance(error, DeadlineExceededError) and (
            time.monotonic() >= until_s or self._stopped()
        ):
            raise OutOfTimeError from error

    def _write(self, block: _Block) -> Written:
        written = Written(output=[line for line in block.output if line is not None])
        written.succeeded = len(written.output)
        for place in sorted(block.errors):
            request = block.requests.get(place)
            custom_id = block.custom_ids.get(place) if request is None else request[0]
            line = error_line(self._batch_id, block.first + place, custom_id, block.errors[place])
            _refuse(written, block.lines[place], line)
        written.blank = len(block.lines) - written.succeeded - len(written.errors)
        return written


class _Block:
    """A block on its way: what each line is, and what became of it, by its place."""

    __slots__ = (
        "alone", "columns", "custom_ids", "errors", "first", "lines", "output", "requests",
    )  # fmt: skip

    def __init__(self, lines: Sequence[bytes | None], first: int) -> None:
        self.lines = lines
        self.first = first
        self.requests: dict[int, tuple[str, dict[str, Any]]] = {}
        self.columns: defaultdict[Shapes, list[int]] = defaultdict(list)
        self.alone: list[int] = []
        self.output: list[bytes | None] = [None] * len(lines)
        self.errors: dict[int, LanewayError] = {}
        self.custom_ids: dict[int, str | None] = {}
        """Of lines that are no requests."""


def _none(_: object) -> None:
    return None


def refuse_all(
    lines: Sequence[bytes | None], first: int, *, batch_id: str, error: LanewayError
) -> Written:
    """The block without a run: every line that is one has this error."""
    written = Written()
    for number, raw in enumerate(lines, first):
        if is_blank(raw):
            written.blank += 1
        else:
            custom_id = None if raw is None else custom_id_of(raw)
            _refuse(written, raw, error_line(batch_id, number, custom_id, error))
    return written


def _refuse(written: Written, raw: bytes | None, line: bytes) -> None:
    written.errors.append(line)
    if raw is not None:
        written.refused.append(raw + b"\n")
