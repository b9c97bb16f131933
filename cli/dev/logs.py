"""Follows the functions' logs in the emulator and tells each line in words for a person.

A request's line becomes time, function, status, model and latency; a job's its end, model, times and
id; a failure keeps its frames. What the platform adds around an invocation (START, END, REPORT) is
left out, and so are a pass of the sweeper that found nothing and lines that are metrics alone.
"""

from __future__ import annotations

import json
import re
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from mypy_boto3_logs import CloudWatchLogsClient

    Groups = Mapping[str, str]
    """Log group -> the function that writes to it."""

POLL_S: Final = 0.4
_OVERLAP_MS: Final = 2_000
"""Asked for again at each poll: an invocation's lines are stamped when it ends, not when they arrive."""
_PLATFORM: Final = re.compile(r"(START|END|REPORT|INIT_START|INIT_REPORT|XRAY) ")
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_LOUD: Final = ("ERROR", "CRITICAL")
_OUTCOMES: Final = {"succeeded": "green", "failed": "bold red"}
_DELIVERED: Final = "WEBHOOK_DELIVERED"
_SWEPT: Final = "swept_"
_ACTED_ON: Final = ("model", "version", "job_id", "batch_id", "key_id")


class LogFollower:
    """Calls `show` with every new line, from a thread, until it is stopped."""

    def __init__(self, client: CloudWatchLogsClient, show: Callable[[Text], None]) -> None:
        self._client = client
        self._show = show
        self._groups: Groups = {}
        self._since_ms = 0
        self._seen: dict[str, int] = {}
        self._stop = threading.Event()
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def follow(self, groups: Groups) -> None:
        """Read these log groups from now on; what is in them already is shown too."""
        self._groups = dict(groups)

    def flush(self) -> None:
        """Show now what has been written so far."""
        with self._reading:
            self._poll()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001 - a hiccup of the log must not end the service
                self._show(Text(f"the log cannot be read just now: {error}", style="dim"))

    def _poll(self) -> None:
        events = [
            (event["timestamp"], event["logStreamName"], event["message"], function)
            for group, function in self._groups.items()
            for event in self._read(group)
        ]
        fresh = [
            event for event in sorted(events, key=lambda e: e[0]) if event[1] not in self._seen
        ]
        for timestamp_ms, stream, message, function in fresh:
            self._seen[stream] = timestamp_ms
            line = render(timestamp_ms, function, message)
            if line is not None:
                self._show(line)
        if fresh:
            self._since_ms = max(0, fresh[-1][0] - _OVERLAP_MS)
            self._seen = {s: at for s, at in self._seen.items() if at >= self._since_ms}

    def _read(self, group: str) -> list[Any]:
        """Every invocation has a stream of its own in the emulator, written at once when it ends."""
        missing = self._client.exceptions.ResourceNotFoundException
        try:
            return self._client.filter_log_events(logGroupName=group, startTime=self._since_ms)[
                "events"
            ]
        except missing:  # written to at the function's first invocation
            return []


def render(timestamp_ms: int, function: str, message: str) -> Text | None:
    """One line of a function's log for a terminal; None for what only the platform cares about."""
    message = message.rstrip()
    if not message or _PLATFORM.match(message):
        return None
    fields = _parse(message)
    line = Text()
    line.append(f"{datetime.fromtimestamp(timestamp_ms / 1000):%H:%M:%S} ", style="dim")  # noqa: DTZ006 - the clock on the wall of whoever reads
    line.append(f"{function:<20} ", style="cyan")
    if fields is None:
        return line.append(message, style="red" if "Error" in message else "")
    if _metrics(fields) == {fields.get("message")}:  # a metric of the worker, and nothing to tell
        return None
    if "allowed" in fields:  # the authorizer's line: a granted call has a line of its own
        return (
            None if fields["allowed"] else line.append("refused: not a valid key", style="yellow")
        )
    tell = _request if "latency_ms" in fields else _TELLERS.get(str(fields.get("message")), _record)
    return tell(line, fields)


def _parse(message: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(message)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _metrics(fields: Mapping[str, Any]) -> set[str]:
    """The names of the metrics in a line."""
    told = fields.get("_aws", {}).get("CloudWatchMetrics", [])
    return {metric["Name"] for directive in told for metric in directive.get("Metrics", [])}


def _request(line: Text, fields: Mapping[str, Any]) -> Text:
    status = int(fields.get("status", 0))
    line.append(f"{status} ", style=_colour(status))
    if fields.get("model"):
        version = f" {fields['version']}" if fields.get("version") else ""
        line.append(f"{fields['model']}{version}  ", style="bold")
    line.append(f"{fields['latency_ms']:.1f} ms")
    if fields.get("model_ms") is not None:
        line.append(f", model {fields['model_ms']:.1f} ms", style="dim")
    if fields.get("cold_start"):
        line.append(", cold start", style="dim")
    if status >= _CLIENT_ERROR:
        line.append(f"  {fields.get('code', '')}", style=_colour(status))
    return line


def _job(line: Text, fields: Mapping[str, Any]) -> Text:
    outcome = str(fields.get("outcome"))
    line.append(f"{outcome} ", style=_OUTCOMES.get(outcome, "yellow"))
    line.append(f"{fields.get('model')} {fields.get('version')}  ", style="bold")
    line.append(", ".join(_facts(fields)), style="dim")
    if fields.get("code", "ok") != "ok":
        line.append(f"  {fields['code']}", style=_OUTCOMES.get(outcome, "yellow"))
    line.append(f"  job {fields.get('job_id')}")
    return line.append(f"\n    {fields['detail']}", style="red") if fields.get("detail") else line


def _facts(fields: Mapping[str, Any]) -> Iterator[str]:
    if fields.get("run_ms") is not None:
        yield f"{fields['run_ms']:.1f} ms"
        yield f"waited {fields.get('queue_ms', 0.0):.0f} ms"
    if fields.get("rows_stacked", 1) > 1:
        yield f"{fields['rows_stacked']} rows together"
    if fields.get("attempts", 1) > 1:
        yield f"attempt {fields['attempts']}"


def _webhook(line: Text, fields: Mapping[str, Any]) -> Text:
    code = str(fields.get("code"))
    line.append(f"{code} ", style="green" if code == _DELIVERED else "yellow")
    if fields.get("status") is not None:
        line.append(f"{fields['status']}  ")
    line.append(f"{fields.get('ms', 0.0):.1f} ms, attempt {fields.get('attempt')}", style="dim")
    if fields.get("reason"):
        line.append(f"  {fields['reason']}", style="yellow")
    return line.append(f"  job {fields.get('job_id')}")


def _act(line: Text, fields: Mapping[str, Any]) -> Text:
    """An act of the audit that no other line tells of."""
    line.append(f"{fields.get('audit')} ", style="bold")
    line.append(" ".join(str(fields[k]) for k in _ACTED_ON if fields.get(k)))
    outcome = str(fields.get("outcome", "ok"))
    return line if outcome == "ok" else line.append(f"  {outcome}", style="yellow")


def _sweep(line: Text, fields: Mapping[str, Any]) -> Text | None:
    counts = {name.removeprefix(_SWEPT): n for name, n in fields.items() if name.startswith(_SWEPT)}
    said = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    return line.append(f"swept: {said}") if said else None


_TELLERS: Final[Mapping[str, Callable[[Text, Mapping[str, Any]], Text | None]]] = {
    "job": _job,
    "webhook": _webhook,
    "sweep": _sweep,
    "audit": _act,
}


def _record(line: Text, fields: Mapping[str, Any]) -> Text:
    loud = fields.get("level") in _LOUD
    said = " ".join(
        str(fields[k])
        for k in ("message", "exception_name", "exception", "detail")
        if fields.get(k)
    )
    line.append(f"{fields.get('level', '')} {said}".strip(), style="red" if loud else "")
    for frame in _frames(fields.get("stack_trace")):
        line.append(f"\n    {frame}", style="red" if loud else "dim")
    return line


def _frames(stack_trace: Any) -> list[str]:
    """The frames of each exception, outermost cause first, innermost frame last."""
    if not isinstance(stack_trace, list):
        return []
    lines = []
    for item in reversed(stack_trace):
        lines.append(f"{item.get('module', '')}.{item.get('type', '')}")
        lines += [f"  {f['file']}:{f['line']} in {f['function']}" for f in item.get("frames", [])]
    return lines


def _colour(status: int) -> str:
    if status >= _SERVER_ERROR:
        return "bold red"
    return "yellow" if status >= _CLIENT_ERROR else "green"
