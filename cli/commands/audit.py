"""`laneway audit`: who did what, with the AWS identity of this machine. Reads, and changes nothing."""

from __future__ import annotations

import json
import re
from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.output import answer, answer_table, console, say
from cli.stages import LOCAL, RegionOption, StageOption
from shared.audit import ACTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

    from cli.record_sources import Span
    from cli.records import Asked, Record

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SHOWN: Final = ("time", "act", "outcome", "principal", "tenant", "model", "id")


def _time(value: str | None) -> str | None:
    if value is not None:
        _moment(value)
    return value


def _moment(value: str) -> datetime:
    """`90m` ago, or an ISO time; one without a zone is in UTC."""
    ago = _AGO.fullmatch(value)
    if ago is not None:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise typer.BadParameter(
            "write how long ago, as 90s, 30m, 12h or 7d, or a time as 2026-11-22T06:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _acts(values: list[str]) -> list[str]:
    for value in values:
        if value not in ACTS:
            raise typer.BadParameter(f"{value!r} is no act; there are {', '.join(ACTS)}")
    return values


def audit(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    act: Annotated[
        list[str], typer.Option(callback=_acts, help=f"{', '.join(ACTS)}; may be repeated.")
    ] = [],  # noqa: B006  typer reads the default and makes a list of its own
    principal: Annotated[
        str | None, typer.Option(help="Only by this caller; * stands for any text: 'key:*'.")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Only of this request, job or batch.")
    ] = None,
    since: Annotated[
        str, typer.Option(callback=_time, help="90s, 30m, 12h or 7d ago, or an ISO time.")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option(callback=_time, help="As --since; default: now.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="How many are shown, the newest; --json prints all.")
    ] = 200,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every record as a line of JSON, oldest first.")
    ] = False,
    stage: StageOption = LOCAL,
    region: RegionOption = None,
) -> None:
    """Show the audit's records, oldest first: from log groups, and from the archive what is older."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from cli.record_sources import Span
    from cli.records import Asked

    span = Span(_moment(since), _moment(until) if until else datetime.now(UTC))
    asked = Asked(
        stage=stage,
        tenant=tenant,
        model=model,
        acts=frozenset(act),
        principal=principal,
        id=request_id,
    )
    columns = (SpinnerColumn(), TextColumn("{task.completed} lines read"))
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        found = _found(stage, region, span, asked, progress)
        if as_json:
            for record in found:
                answer(json.dumps(record.to_json(), separators=(",", ":")))
            return
        newest = deque(found, maxlen=limit + 1)
    _show(list(newest), limit)


def _found(
    stage: str, region: str | None, span: Span, asked: Asked, progress: Progress
) -> Iterator[Record]:
    from cli.record_sources import read_records
    from cli.records import settled

    task = progress.add_task("records", total=None)

    def told(lines: int) -> None:
        progress.advance(task, lines)

    return settled(read_records(stage, region, span=span, asked=asked, told=told))


def _show(newest: list[Record], limit: int) -> None:
    if not newest:
        say("no record")
        return
    shown = newest[-limit:]
    pages = iter(shown)
    while page := list(islice(pages, 500)):
        answer_table(_SHOWN, [_row(record) for record in page], whole=("time", "act", "outcome"))
    if len(newest) > limit:
        say(f"there are more: the newest {limit} are shown, see --limit, --since and --json")


def _row(record: Record) -> tuple[str, ...]:
    model = f"{record.model} {record.version}".strip()
    return (
        record.time.partition(".")[0].replace("T", " "),
        record.act,
        record.outcome,
        record.principal,
        record.tenant,
        model,
        record.job_id or record.batch_id or record.key_id or record.request_id,
    )
