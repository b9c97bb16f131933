"""Where a stage's audit records are read: log groups for as long as these keep lines, the archive before.

Lines of all log groups come in one order, by their time. The archive is in the order of arrival, which is
minutes off; its objects are those that Firehose writes: gzip members one after the other, each a message
of CloudWatch Logs.
"""

from __future__ import annotations

import gzip
import heapq
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cli.output import CommandError
from cli.records import read_record
from cli.stages import LOCAL, aws_client, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.records import Asked, Record

RECORDS: Final = "records/"
DATA: Final = "DATA_MESSAGE"
PAGE: Final = 10_000
"""Events of one answer; the embedded emulator gives no token for the next, so a full page asks on."""
ARRIVES_WITHIN: Final = timedelta(days=2)
"""CloudWatch Logs and Firehose try for a day each to deliver a line."""
_REFUSED: Final = '{ $.status = "401" || $.status = "403" || $.status = "429" }'


class Span(NamedTuple):
    """From `since` up to, and without, `until`."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Group:
    """A log group, and for how many days it keeps lines; None: for ever."""

    name: str
    days: int | None


def read_records(
    stage: str,
    region: str | None,
    *,
    span: Span,
    asked: Asked,
    told: Callable[[int], None],
) -> Iterator[Record]:
    """Every record that is asked for, the oldest first; `told` hears of each answer's lines.

    Raises `CommandError` for a stage that is not there and for what AWS refuses.
    """
    with explained(f"log groups of stage {stage}", stage):
        logs = aws_client("logs", stage, region)
        groups = find_groups(logs, stage)
        if not groups:
            raise CommandError(
                f"stage {stage} has no log group in this account and region: deploy it, or name "
                "another with --stage or --region"
            )
        kept_since = _kept_since(groups)
        if span.since < kept_since and stage != LOCAL:
            before = Span(span.since, min(span.until, kept_since))
            yield from _archived(stage, region, span=before, asked=asked, told=told)
        recent = Span(max(span.since, kept_since), span.until)
        if recent.since < recent.until:
            streams = [_logged(logs, group, recent, asked, told) for group in groups]
            yield from heapq.merge(*streams, key=lambda record: record.time)


def find_groups(logs: Any, stage: str) -> list[Group]:
    """The log groups of a stage's functions, workers, gateway and commands."""
    found: list[Group] = []
    for prefix in (f"/aws/lambda/laneway-{stage}-", f"/laneway/{stage}/"):
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            found += [
                Group(group["logGroupName"], group.get("retentionInDays"))
                for group in page["logGroups"]
            ]
    return [group for group in found if not group.name.endswith("/audit-archive")]


def _kept_since(groups: list[Group]) -> datetime:
    """From then on every group has all of its lines."""
    days = min((group.days for group in groups if group.days is not None), default=3650)
    return datetime.now(UTC) - timedelta(days=days)


def _logged(
    logs: Any, group: Group, span: Span, asked: Asked, told: Callable[[int], None]
) -> Iterator[Record]:
    """A group's records, the oldest first."""
    is_access_log = group.name.endswith("/access")
    pattern = _REFUSED if is_access_log else asked.pattern
    for event in _events(logs, group.name, span, pattern, told):
        record = read_record(event["message"], event["timestamp"], stage=asked.stage)
        if record is not None and asked.wants(record):
            yield record


def _events(
    logs: Any, group: str, span: Span, pattern: str, told: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    since_ms, token, seen = _ms(span.since), None, frozenset[str]()
    while True:
        answer = logs.filter_log_events(
            logGroupName=group,
            filterPattern=pattern,
            startTime=since_ms,
            endTime=_ms(span.until) - 1,
            limit=PAGE,
            interleaved=True,
            **({"nextToken": token} if token else {}),
        )
        events = answer["events"]
        told(len(events))
        yield from (event for event in events if _id(event) not in seen)
        token = answer.get("nextToken")
        if token is None:
            if len(events) < PAGE or events[-1]["timestamp"] == since_ms:
                return
            since_ms = events[-1]["timestamp"]
            seen = frozenset(_id(e) for e in events if e["timestamp"] == since_ms)


def _id(event: dict[str, Any]) -> str:
    """The event's own; the embedded emulator gives none to lines of functions."""
    return event.get("eventId") or f"{event['timestamp']} {event['message']}"


def _archived(
    stage: str, region: str | None, *, span: Span, asked: Asked, told: Callable[[int], None]
) -> Iterator[Record]:
    """The archive's records, hour by hour of their arrival."""
    bucket = archive_bucket(stage, region)
    if bucket is None:
        return
    s3 = aws_client("s3", stage, region)
    last = f"{RECORDS}{span.until + ARRIVES_WITHIN:%Y/%m/%d/%H}/~"
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=RECORDS, StartAfter=f"{RECORDS}{span.since:%Y/%m/%d/%H}/"
    )
    for page in pages:
        for item in page.get("Contents", []):
            if item["Key"] > last:
                return
            body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            found = list(_of_object(body, span, asked))
            told(len(found))
            yield from sorted(found, key=lambda record: record.time)


def archive_bucket(stage: str, region: str | None) -> str | None:
    """The stage's archive as its stack names it; None where it has none."""
    stack = f"laneway-{stage}-audit"
    client = aws_client("cloudformation", stage, region)
    [described] = client.describe_stacks(StackName=stack)["Stacks"]
    outputs = {item["OutputKey"]: item["OutputValue"] for item in described.get("Outputs", [])}
    return outputs.get("ArchiveBucket")


def _of_object(body: bytes, span: Span, asked: Asked) -> Iterator[Record]:
    begin_ms, end_ms = _ms(span.since), _ms(span.until)
    for message in messages(body):
        if message.get("messageType") != DATA:
            continue
        for event in message["logEvents"]:
            if not begin_ms <= event["timestamp"] < end_ms:
                continue
            record = read_record(event["message"], event["timestamp"], stage=asked.stage)
            if record is not None and asked.wants(record):
                yield record


def messages(body: bytes) -> Iterator[dict[str, Any]]:
    """The messages of an object, which stand in it with nothing between them."""
    text = gzip.decompress(body).decode()
    decoder, position = json.JSONDecoder(), 0
    while position < len(text):
        message, position = decoder.raw_decode(text, position)
        yield message
        while text[position : position + 1].isspace():
            position += 1


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
