"""A batch before the eyes of a person: a bar until it has ended, and batches as a table."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cli.output import answer_table, console
from cli.tables import to_the_second

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.progress import Progress

    from cli.client import Batch, Laneway


DECIMAL_BELOW: Final = 10
"""Lines a second that are told with a digit behind the point."""


def follow(client: Laneway, batch: Batch) -> Batch:
    """Show a bar with rate and time left until the batch has ended; gives it as it ended."""
    pace = Pace()
    with _progress() as progress:
        task = progress.add_task(batch.status, total=None, failed=0, pace="")

        def update(found: Batch) -> None:
            done = found.counts.succeeded + found.counts.failed
            if found.started_at:
                pace.note(done)
            progress.update(
                task,
                description=found.status,
                completed=done,
                total=found.counts.total if found.started_at else None,
                failed=found.counts.failed,
                pace=pace.told(found.counts.total - done),
            )

        return client.wait_batch(batch, timeout_s=math.inf, on_poll=update)


class Pace:
    """How fast a batch goes since it was first seen running; its counts move once for thousands of lines."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: tuple[float, int] | None = None
        self._moved: tuple[float, int] | None = None

    def note(self, done: int) -> None:
        """So many lines are done now."""
        now = self._clock()
        if self._began is None:
            self._began = (now, done)
        elif done != (self._moved or self._began)[1]:
            self._moved = (now, done)

    def told(self, lines_left: int) -> str:
        """The rate and the time that is left, once the counts have moved."""
        if self._began is None or self._moved is None:
            return ""
        (began_s, before), (moved_s, done) = self._began, self._moved
        rate = (done - before) / max(moved_s - began_s, 1e-3)
        left_s = max(0.0, lines_left / rate - (self._clock() - moved_s))
        return f"{rate:,.{0 if rate >= DECIMAL_BELOW else 1}f} lines/s  {timedelta(seconds=round(left_s))} left"


def _progress() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[pace]}"),
        console=console(stderr=True),
    )


def show_table(batches: Iterable[Batch]) -> None:
    """The batches for people."""
    answer_table(
        ("batch", "status", "model", "lines", "succeeded", "failed", "created"),
        [
            (
                batch.id,
                batch.status,
                f"{batch.model} {batch.version}",
                str(batch.counts.total),
                str(batch.counts.succeeded),
                str(batch.counts.failed),
                to_the_second(batch.created_at),
            )
            for batch in batches
        ],
        whole=("batch",),
    )
