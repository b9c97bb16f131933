"""A batch before the eyes of a person: a bar until it has ended, and batches as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cli.output import answer_table, console
from cli.tables import to_the_second

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import Progress

    from cli.client import Batch, Laneway


def follow(client: Laneway, batch: Batch) -> Batch:
    """Show a bar with rate and time left until the batch has ended; gives it as it ended."""
    with _progress() as progress:
        task = progress.add_task(batch.status, total=None, failed=0)

        def update(found: Batch) -> None:
            progress.update(
                task,
                description=found.status,
                completed=found.counts.succeeded + found.counts.failed,
                total=found.counts.total if found.started_at else None,
                failed=found.counts.failed,
            )

        return client.wait_batch(batch, timeout_s=math.inf, on_poll=update)


def _progress() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Lines a second, lately."""

        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:,.0f} lines/s" if task.speed else "")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
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
