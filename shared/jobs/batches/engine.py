"""Runs a block of lines on one loaded model: an answer or an error for each line, in order.

Plain lines run as columns (`shared.inference.bulk`), the others as jobs do: prepared one by one,
stacked where they may be, run again alone where a stack fails. No line takes another with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.errors import DeadlineExceededError, InternalError, InvalidRequestError, LanewayError
from shared.inference.batching import Stacker
from shared.inference.bulk import Bulk
from shared.inference.encoder import encode
from shared.jobs.batches.lines import (
    ANSWER_END,
    TOO_LONG,
    RefusedLineError,
    Request,
    answer_opening,
    custom_id_of,
    error_line,
    is_blank,
    read_line,
)

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
    """Pieces of lines."""
    errors: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    succeeded: int = 0
    blank: int = 0


class Engine:
    """One model for the lines of one batch.

    `timeout_s` bounds one run of the model; `report` is told of exceptions that nobody foresaw.
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
    ) -> None:
        self._served = served
        self._validate = validate
        self._batch_id = batch_id
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._report = report
        self._rows_max = max(1, model.max_batch_size)
        self._stacker = Stacker(served, rows_max=self._rows_max)
        self._bulk = Bulk(model, served, self._stacker)

    def run(self, lines: Sequence[bytes | None], first: int, *, until_s: float) -> Written:
        """The block that begins with line number `first`; raises `OutOfTimeError`."""
        results: list[bytes | LanewayError | None] = [None] * len(lines)
        requests: dict[int, Request] = {}
        custom_ids: dict[int, str | None] = {}
        for place, raw in enumerate(lines):
            try:
                request = None if raw is None else read_line(raw, endpoint=self._endpoint)
            except RefusedLineError as refused:
                results[place], custom_ids[place] = refused.error, refused.custom_id
            else:
                if request is not None:
                    requests[place] = request
                elif raw is None:
                    results[place] = TOO_LONG
        self._answer(requests, results, until_s)
        for place, request in requests.items():
            custom_ids[place] = request.custom_id
        return self._write(lines, first, results, custom_ids)

    def _answer(
        self,
        requests: dict[int, Request],
        results: list[bytes | LanewayError | None],
        until_s: float,
    ) -> None:
        """Put the answer to each request, or its error, at its place in `results`."""
        groups: dict[Shapes, list[int]] = {}
        alone: list[int] = []
        for place, request in requests.items():
            shapes = self._bulk.shapes(request.body) if self._bulk.usable else None
            if shapes is None:
                alone.append(place)
            else:
                groups.setdefault(shapes, []).append(place)
        for shapes, places in groups.items():
            step = max(1, self._rows_max // self._bulk.rows(shapes))
            for at in range(0, len(places), step):
                alone += self._columns(requests, places[at : at + step], shapes, results, until_s)
        step = max(PREPARED_MAX, self._rows_max)
        for at in range(0, len(alone), step):
            self._singly(requests, alone[at : at + step], results, until_s)

    def _columns(
        self,
        requests: dict[int, Request],
        places: list[int],
        shapes: Shapes,
        results: list[bytes | LanewayError | None],
        until_s: float,
    ) -> list[int]:
        """Run requests of one shape as columns; gives those that have to be judged one by one."""
        bodies = [requests[place].body for place in places]
        deadline_s = self._deadline_s(until_s)
        try:
            answers = self._bulk.run(bodies, shapes, deadline_s)
        except DeadlineExceededError as error:
            self._check_time(until_s, error)
            return places
        except LanewayError:
            return places
        if answers is None:
            return places
        for place, answer in zip(places, answers, strict=True):
            results[place] = answer
        return []

    def _singly(
        self,
        requests: dict[int, Request],
        places: Sequence[int],
        results: list[bytes | LanewayError | None],
        until_s: float,
    ) -> None:
        """Prepare requests one by one, and run them in the stacks that fit."""
        ready: list[tuple[int, Prepared]] = []
        for place in places:
            prepared = self._guarded(self._prepare, requests[place].body)
            if isinstance(prepared, LanewayError):
                results[place] = prepared
            else:
                ready.append((place, prepared))
        for stack in self._stacker.plan([prepared for _, prepared in ready]):
            self._run_stack([ready[index] for index in stack], results, until_s)

    def _prepare(self, body: dict[str, Any]) -> Prepared:
        return self._served.prepare(self._validate(body))

    def _run_stack(
        self,
        stack: Sequence[tuple[int, Prepared]],
        results: list[bytes | LanewayError | None],
        until_s: float,
    ) -> None:
        deadline_s = self._deadline_s(until_s)
        try:
            outputs = self._stacker.run([prepared for _, prepared in stack], deadline_s)
        except Exception as error:  # noqa: BLE001  whatever a model raises is the failure of its lines alone
            self._check_time(until_s, error)
            if len(stack) > 1:
                for member in stack:
                    self._run_stack([member], results, until_s)
            else:
                results[stack[0][0]] = self._as_failure(error)
            return
        for (place, prepared), arrays in zip(stack, outputs, strict=True):
            results[place] = self._guarded(lambda given: self._encoded(*given), (prepared, arrays))

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
            return error
        self._report(error)
        return InternalError("an internal error; the service's log has it under the batch's id")

    def _deadline_s(self, until_s: float) -> float:
        return min(until_s, time.monotonic() + self._timeout_s)

    def _check_time(self, until_s: float, error: Exception) -> None:
        """Whether the invocation's end stopped a run, not the run's own limit."""
        if isinstance(error, DeadlineExceededError) and time.monotonic() >= until_s:
            raise OutOfTimeError from error

    def _write(
        self,
        lines: Sequence[bytes | None],
        first: int,
        results: Sequence[bytes | LanewayError | None],
        custom_ids: dict[int, str | None],
    ) -> Written:
        written = Written()
        output = written.output
        for place, result in enumerate(results):
            number = first + place
            if isinstance(result, bytes):
                custom_id = custom_ids[place] or ""
                written.succeeded += 1
                output += (answer_opening(self._batch_id, number, custom_id), result, ANSWER_END)
            elif result is None:
                written.blank += 1
            else:
                line = error_line(self._batch_id, number, custom_ids.get(place), result)
                _refuse(written, lines[place], line)
        return written


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
