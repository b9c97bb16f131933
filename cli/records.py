"""Audit records as they are read: from lines of a stage's log groups, and from its archive.

A record keeps the members that name who did what to what, and nothing else of its line. Records that are
about one call under one id and act, such as the authorizer's refusal and the gateway's, become one.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from shared.audit import ACTS, AUDIT, BEGUN, DENIED, DENIED_STATUSES, OK
from shared.principal import principal_of_arn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SETTLES_S: Final = 120
"""Records of one call are merged when they are no further apart."""
_BY_GATEWAY: Final = "integration_status"
"""Only lines of the gateway's access log have it; `-` where no function was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One act. What is not known is empty."""

    time: str
    """ISO 8601 in UTC, as the log service took the line."""
    act: str
    outcome: str = ""
    """`ok` or a job's end, else the code of an error; `begun` where nothing says how it ended."""
    status: str = ""
    """The HTTP status of the answer."""
    principal: str = ""
    tenant: str = ""
    model: str = ""
    version: str = ""
    digest: str = ""
    request_id: str = ""
    job_id: str = ""
    batch_id: str = ""
    key_id: str = ""
    lines: str = ""
    """Of a chunk of a batch: how many requests the record stands for."""
    route: str = ""
    ip: str = ""

    def to_json(self) -> dict[str, str]:
        """The members that are known."""
        return {name: value for name, value in asdict(self).items() if value}


_NAMES: Final = frozenset(item.name for item in fields(Record))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which records are wanted; None: any."""

    stage: str
    tenant: str | None = None
    model: str | None = None
    acts: frozenset[str] = frozenset()
    principal: str | None = None
    """With `*` for any text."""
    id: str | None = None
    """A request's, a job's or a batch's."""

    def wants(self, record: Record) -> bool:
        """Whether the record is one of these."""
        return (
            (self.tenant is None or record.tenant == self.tenant)
            and (self.model is None or record.model == self.model)
            and (not self.acts or record.act in self.acts)
            and (self.principal is None or fnmatchcase(record.principal, self.principal))
            and self.id in {None, record.request_id, record.job_id, record.batch_id}
        )

    @property
    def pattern(self) -> str:
        """What the log service looks for; a record is asked again, since not all can be said so."""
        named = {"tenant": self.tenant, "model": self.model}
        asked = [f'$.{AUDIT} = "*"']
        asked += [f'$.{name} = "{value}"' for name, value in named.items() if value]
        return f"{{ {' && '.join(asked)} }}"


def read_record(message: str, timestamp_ms: int, *, stage: str) -> Record | None:
    """The record that a line is; None for a line that is none, or is another stage's."""
    try:
        line = json.loads(message)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.get("stage", stage) != stage:
        return None
    at = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if _BY_GATEWAY in line:
        return _refused_by_gateway(line, time)
    act = line.get(AUDIT)
    if act not in ACTS:
        return None
    return Record(time=time, act=act, **_named({**line, "outcome": _outcome(line), **_chunk(line)}))


def _outcome(line: Mapping[str, Any]) -> str:
    """Why it was refused or failed, where that is known; else how it ended."""
    code = line.get("code", OK)
    return str(code if code != OK else line.get("outcome") or line.get("reason") or OK)


def _refused_by_gateway(line: Mapping[str, Any], time: str) -> Record | None:
    status = str(line.get("status", ""))
    if line[_BY_GATEWAY] != "-" or status not in {str(known) for known in DENIED_STATUSES}:
        return None
    words = {"401": "unauthorized", "403": "forbidden", "429": "throttled"}
    told = {**line, "outcome": words[status], "principal": "", **_signer(line)}
    return Record(time=time, act=DENIED, **_named(told))


def _signer(line: Mapping[str, Any]) -> dict[str, str]:
    """Who signed a call that AWS IAM then refused; nobody else is known by name to the gateway."""
    arn = str(line.get("iam_caller", ""))
    if not arn.startswith("arn:"):
        return {}
    caller = principal_of_arn(arn)
    return {"principal": caller.name, "tenant": caller.tenant}


def _chunk(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"lines": line["chunk_lines"]} if "chunk_lines" in line else {}


def _named(line: Mapping[str, Any]) -> dict[str, str]:
    """The members of a record; the gateway writes `-` for what it does not know."""
    return {
        name: str(value)
        for name, value in line.items()
        if name in _NAMES and name not in {"time", "act"} and value not in (None, "", "-")
    }


def settled(records: Iterable[Record]) -> Iterator[Record]:
    """The records in their order, those of one call as one: the later one's members win.

    Looks `SETTLES_S` ahead, so an act that took longer is there twice: as `begun` and as it ended.
    """
    held: OrderedDict[tuple[str, ...], Record] = OrderedDict()
    for number, record in enumerate(records):
        while held and _seconds(next(iter(held.values())), record) > SETTLES_S:
            yield held.popitem(last=False)[1]
        key = (record.act, record.request_id) if record.request_id else (str(number),)
        known = held.get(key)
        if known is not None and _belong(known, record):
            held[key] = _merged(known, record)
        else:
            held[key if known is None else (*key, str(number))] = record
    yield from held.values()


def _belong(first: Record, second: Record) -> bool:
    return DENIED in {first.act, second.act} or BEGUN in {first.outcome, second.outcome}


def _merged(first: Record, second: Record) -> Record:
    """A refusal's own reason says more than the gateway's status."""
    told = second.to_json()
    del told["time"]
    if first.act == DENIED and first.outcome:
        told.pop("outcome", None)
    return replace(first, **told)


def _seconds(first: Record, second: Record) -> float:
    return (
        datetime.fromisoformat(second.time) - datetime.fromisoformat(first.time)
    ).total_seconds()
