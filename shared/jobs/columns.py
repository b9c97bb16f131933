"""Jobs of one model whose inputs are plain numbers of one shape, as columns, without work for each.

`run_column` does all for a column at once. Where reading, running and writing are told apart, since each
has its own thread, `prepare_plain` and `write_endings` do the first and the last.

`shared.inference.bulk` decides what is plain, and writes the bytes that the ordinary way writes.
Whatever is odd, alone of its shape, or failed is left to `shared.jobs.steps`, which says what is wrong.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import orjson

from shared.errors import DeadlineExceededError, LanewayError
from shared.inference.batching import Stacker
from shared.inference.bulk import Bulk
from shared.jobs.steps import Ran, endings, note_run
from shared.jobs.work import Answered
from shared.limits import COLUMN_BYTES_MAX, JSON_CONTAINERS_MAX
from shared.schema.wire import JSON_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.catalog import Model
    from shared.inference.bulk import Columns, Shapes
    from shared.inference.pipeline import Prepared, ServedModel
    from shared.jobs.work import Ending, Work, Worker

    Loaded = tuple[Work, bytes]
    Member = tuple[Work, Prepared]


class Ways(NamedTuple):
    """How requests to a loaded model are run together."""

    stacker: Stacker
    bulk: Bulk


class KnownWays:
    """The ways of each loaded model: made once, forgotten with it."""

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[ServedModel, Ways] = WeakKeyDictionary()

    def of(self, model: Model, served: ServedModel) -> Ways:
        """Those of this one."""
        found = self._made.get(served)
        if found is None:
            stacker = Stacker(served, rows_max=model.max_batch_size)
            found = self._made[served] = Ways(stacker, Bulk(model, served, stacker))
        return found


class Column(NamedTuple):
    """Jobs whose inputs have these shapes. `inputs`: as they came; `bodies`: parsed."""

    shapes: Shapes
    works: list[Work]
    inputs: list[bytes]
    bodies: list[dict[str, Any]]

    @property
    def members(self) -> list[Loaded]:
        """Each job with its input."""
        return list(zip(self.works, self.inputs, strict=True))


class ColumnRan(NamedTuple):
    """What came of a column: endings, or None: its jobs go the ordinary way."""

    endings: list[tuple[Work, Ending]] | None
    took_s: float
    apart: bool = False
    """Each should be run alone, so that a failure is its own job's."""
    stopped: LanewayError | None = None
    """Whoever ran it had to end; it was not the jobs' own time that was over."""


def plan_columns(
    bulk: Bulk, loaded: Iterable[Loaded], *, rows_max: int
) -> tuple[list[Column], list[Loaded]]:
    """Columns of at least two jobs and at most `rows_max` rows, and the jobs that are in none."""
    if not bulk.usable:
        return [], list(loaded)
    alike, rest = _told_apart(bulk, loaded)
    columns: list[Column] = []
    for column in alike:
        for part in _cut(column, max(1, rows_max // bulk.rows(column.shapes))):
            if len(part.works) > 1:
                columns.append(part)
            else:
                rest += part.members
    return columns, rest


def run_column(bulk: Bulk, column: Column, *, until_s: float) -> ColumnRan:
    """Run a column. `until_s`: on the monotonic clock, when whoever runs it must have ended."""
    works = column.works
    started_s = time.monotonic()
    deadline_s = min(until_s, started_s + min([work.row.timeout_s for work in works]))
    try:
        found = bulk.run(column.bodies, column.shapes, deadline_s)
    except Exception as error:  # noqa: BLE001  it will be met again, and judged, by the job whose it is
        took_s = note_run(works, started_s)
        if isinstance(error, DeadlineExceededError) and deadline_s == until_s:
            return ColumnRan(None, took_s, stopped=error)
        return ColumnRan(None, took_s, apart=True)
    took_s = note_run(works, started_s)
    if found is None:
        return ColumnRan(None, took_s)
    return ColumnRan(list(zip(works, _answers(found), strict=True)), took_s)


def prepare_plain(bulk: Bulk, loaded: Iterable[Loaded]) -> tuple[list[list[Member]], list[Loaded]]:
    """Jobs of each shape with their tensors, and the jobs whose inputs are judged one by one."""
    if not bulk.usable:
        return [], list(loaded)
    alike, rest = _told_apart(bulk, loaded)
    groups: list[list[Member]] = []
    for column in alike:
        try:
            prepared = bulk.prepare(column.bodies, column.shapes)
        except Exception:  # noqa: BLE001  it will be met again, and judged, by the job whose it is
            prepared = None
        if prepared is None:
            rest += column.members
        else:
            groups.append(list(zip(column.works, prepared, strict=True)))
    return groups, rest


def write_endings(
    worker: Worker, served: ServedModel, bulk: Bulk, ran: Ran
) -> list[tuple[Work, Ending]]:
    """How jobs that ran end, as `steps.endings` says it; answers of one form are written together."""
    if isinstance(ran.outputs, LanewayError):
        return endings(worker, served, ran)
    alike: dict[int, list[int]] = {}
    for place, (_, prepared) in enumerate(ran.members):
        if bulk.prepared(prepared) and prepared.rows:
            alike.setdefault(prepared.rows, []).append(place)
    made: dict[int, Ending] = {}
    for rows, places in alike.items():
        found = bulk.write_shares(
            [ran.members[place][1] for place in places],
            [ran.outputs[place] for place in places],
            rows,
        )
        if found is not None:
            made.update(zip(places, _answers(found), strict=True))
    left = [place for place in range(len(ran.members)) if place not in made]
    if left:
        rest = ran._replace(
            members=[ran.members[place] for place in left],
            outputs=[ran.outputs[place] for place in left],
        )
        told = zip(left, endings(worker, served, rest), strict=True)
        made.update((place, ending) for place, (_, ending) in told)
    return [(work, made[place]) for place, (work, _) in enumerate(ran.members)]


def _answers(columns: Columns) -> list[Answered]:
    headers = {"content-type": JSON_TYPE}
    bodies = map(columns.form.__mod__, zip(*columns.data, strict=True))
    return [Answered(body, headers) for body in bodies]


def _told_apart(bulk: Bulk, loaded: Iterable[Loaded]) -> tuple[Iterable[Column], list[Loaded]]:
    """Jobs by the shapes of their inputs, and those whose inputs are not plain."""
    rest: list[Loaded] = []
    alike: dict[Shapes, Column] = {}
    shapes_of, loads = bulk.shapes, orjson.loads
    kept_bytes = 0
    for work, data in loaded:
        shapes = None
        size_bytes = len(data)
        if (
            work.row.input.header_length is None
            and size_bytes <= JSON_CONTAINERS_MAX  # what is longer is looked at before it is parsed
            and kept_bytes + size_bytes <= COLUMN_BYTES_MAX
        ):
            try:
                body = loads(data)
            except orjson.JSONDecodeError:
                body = None
            if body.__class__ is dict:
                shapes = shapes_of(body)
        if shapes is None:
            rest.append((work, data))
            continue
        column = alike.get(shapes)
        if column is None:
            column = alike[shapes] = Column(shapes, [], [], [])
        kept_bytes += size_bytes
        column.works.append(work)
        column.inputs.append(data)
        column.bodies.append(body)
    return alike.values(), rest


def _cut(column: Column, step: int) -> Iterator[Column]:
    if len(column.works) <= step:
        yield column
        return
    for at in range(0, len(column.works), step):
        end = at + step
        yield Column(
            column.shapes, column.works[at:end], column.inputs[at:end], column.bodies[at:end]
        )
