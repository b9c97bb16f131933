"""`laneway dlq`: what nobody could work on, and a second try for it. Nothing else reads these queues."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.output import CommandError, answer_table, console, say
from cli.stages import LOCAL, RegionOption, StageOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.audited import Audit
    from cli.dead_letters import Letter
    from cli.stage_jobs import DeadLetters, StageJobs

app = typer.Typer(no_args_is_help=True, help="List, show and redrive dead letters.")

PoolOption = Annotated[str | None, typer.Option(help="Only this pool's queues.")]
ClassOption = Annotated[
    str | None,
    typer.Option(
        "--class",
        help="async, batch or chunks (of pools), webhooks, batch-split or batch-finish (of the "
        "stage); default: all.",
    ),
]
AmqpOption = Annotated[
    str,
    typer.Option(
        envvar="LANEWAY_AMQP_URL",
        help="The RabbitMQ of a stage whose jobs it carries, as amqps://user:password@host; "
        "found by itself for the local service.",
        show_default=False,
    ),
]
_STAGE: Final = "-"
"""Shown as the pool of what belongs to the whole stage."""
_SHOWN_BODY = 60
LEFT: Final = "left"
"""The outcome of a message that stays where it is."""


@app.command("list")
def list_(
    *,
    pool: PoolOption = None,
    latency_class: ClassOption = None,
    stage: StageOption = LOCAL,
    region: RegionOption = None,
    amqp_url: AmqpOption = "",
) -> None:
    """Show how many messages each dead-letter queue holds."""
    with _opened(stage, region, amqp_url) as opened:
        rows = [
            (place.pool or _STAGE, place.kind, str(place.queue.depth()), place.name)
            for place in _places(opened, pool, latency_class)
        ]
    answer_table(("pool", "class", "messages", "queue"), rows)


@app.command()
def show(
    *,
    pool: PoolOption = None,
    latency_class: ClassOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of each queue at most.")] = 20,
    stage: StageOption = LOCAL,
    region: RegionOption = None,
    amqp_url: AmqpOption = "",
) -> None:
    """Show messages, how what they are about stands, and why they are here. Removes nothing."""
    from cli.dead_letters import letters

    rows: list[tuple[str, ...]] = []
    with _opened(stage, region, amqp_url) as opened:
        for place in _places(opened, pool, latency_class):
            with closing(letters(opened, place, limit=limit)) as found:
                rows += [_row(letter) for letter in found]
    if not rows:
        say("no dead letter")
        return
    answer_table(("pool", "class", "about", "state", "reason"), rows, whole=("about",))


@app.command()
def redrive(
    *,
    pool: PoolOption = None,
    latency_class: ClassOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of each queue at most.")] = 10_000,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove what nothing can be done for.")
    ] = False,
    stage: StageOption = LOCAL,
    region: RegionOption = None,
    amqp_url: AmqpOption = "",
) -> None:
    """Make a new job of each failed one, from its stored input; jobs that ended otherwise stay so.

    Events for webhooks that were not delivered are sent again, with all their attempts. May be stopped and started again: a failed job is redriven once.
    """
    from cli.audited import open_audit

    done: Counter[tuple[str, str]] = Counter()
    with _opened(stage, region, amqp_url) as opened:
        places = _places(opened, pool, latency_class)
        audit = open_audit(stage, region)
        try:
            with audit.act("redrive", tenant=""):
                _redrive_all(opened, places, done, audit, limit=limit, delete=delete)
        finally:
            _tell(done)


@contextmanager
def _opened(stage: str, region: str | None, amqp_url: str) -> Iterator[StageJobs]:
    from cli.stage_jobs import open_stage
    from cli.stages import broker_url

    with open_stage(stage, region, amqp_url=amqp_url or broker_url(stage)) as opened:
        if opened.beyond:
            say(
                f"not looked at: {', '.join(opened.beyond)}, which are in RabbitMQ; name it with "
                "--amqp-url or LANEWAY_AMQP_URL"
            )
        yield opened


def _redrive_all(
    opened: StageJobs,
    places: list[DeadLetters],
    done: Counter[tuple[str, str]],
    audit: Audit,
    *,
    limit: int,
    delete: bool,
) -> None:
    from rich.progress import Progress

    from cli.dead_letters import redrive_all

    with Progress(console=console(stderr=True), transient=True) as progress:
        for place in places:
            task = progress.add_task(place.name, total=min(limit, place.queue.depth()))
            with closing(redrive_all(opened, place, limit=limit, delete=delete)) as found:
                for letter, outcome in found:
                    done[outcome, letter.state] += 1
                    if outcome != LEFT:
                        _record(audit, letter, outcome)
                    progress.advance(task)


def _record(audit: Audit, letter: Letter, outcome: str) -> None:
    tenant, job_id = letter.key or ("", "")
    audit.done("redrive", tenant=tenant, outcome=outcome, job_id=job_id)


def _tell(done: Counter[tuple[str, str]]) -> None:
    if not done:
        say("no dead letter")
        return
    rows = [(outcome, state, str(count)) for (outcome, state), count in sorted(done.items())]
    answer_table(("outcome", "state", "messages"), rows)


def _places(opened: StageJobs, pool: str | None, latency_class: str | None) -> list[DeadLetters]:
    found = [
        place
        for place in opened.dead_letters
        if pool in {None, place.pool} and latency_class in {None, place.kind}
    ]
    if not found:
        known = ", ".join(f"{place.pool or _STAGE}/{place.kind}" for place in opened.dead_letters)
        raise CommandError(f"no such queue; there are {known or 'none'} (pool/class)")
    return found


def _row(letter: Letter) -> tuple[str, ...]:
    reason = letter.reason
    if letter.state == "unreadable":
        reason = f"{reason}; it begins with {letter.delivery.body[:_SHOWN_BODY]!r}"
    place = letter.place
    return (place.pool or _STAGE, place.kind, letter.subject, letter.state, reason)
