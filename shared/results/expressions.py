"""The writes of the job store in DynamoDB's language: what must hold of the row, and what changes.

The rules are those of `shared.results.transitions`. Every attribute is written `#name`, since many
of them are reserved words; `arguments` supplies the names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"#([a-z_]+)")
_VALUE: Final = re.compile(r":[a-z_]+")

IS_ABSENT: Final = "attribute_not_exists(#pk) OR #purge_at <= :now"
IS_PRESENT: Final = "(attribute_not_exists(#purge_at) OR #purge_at > :now)"
IS_QUEUED: Final = "#status = :queued"
IS_OPEN: Final = "(#status = :queued OR #status = :running)"
HOLDS: Final = "#status = :running AND #fence = :fence"
CAN_CLAIM: Final = (
    "#attempt < #max_attempts AND ("
    "(#status = :queued AND (#attempt > :zero OR #ttl_at > :now))"
    " OR (#status = :running AND #lease.#until <= :now))"
)
CAN_EXHAUST: Final = (
    "#fence = :fence AND #attempt >= #max_attempts AND ("
    "#status = :queued OR (#status = :running AND #lease.#until <= :now))"
)
CAN_EXPIRE: Final = "#status = :queued AND #attempt = :zero AND #ttl_at <= :now"
HAS_OPEN_HOOK: Final = "attribute_exists(#hook) AND attribute_exists(#hook_at)"

SENT: Final = "SET #due_at = :due_at REMOVE #unsent_at"
CLAIM: Final = (
    "SET #status = :running, #attempt = #attempt + :one, #fence = #fence + :one, #lease = :lease, "
    "#started_at = :now, #due_at = :due_at REMOVE #unsent_at"
)
EXTEND: Final = "SET #lease.#until = :due_at, #due_at = :due_at"
RELEASE: Final = (
    "SET #status = :queued, #attempt = #attempt - :returned, #due_at = :due_at "
    "REMOVE #lease, #started_at"
)
END: Final = (
    "SET #status = :ended, #finished_at = :now, #hook_at = :now, "
    "#purge_at = #submission.#purge_at{more} REMOVE #lease, #due_at, #unsent_at, #counted_for"
)
"""A row without a webhook has no `hook`, so `hook_at` alone brings it into no index."""
HOOK_SENT: Final = "REMOVE #hook, #hook_at"
POSTPONE: Final = "SET #due_at = :due_at"

_CONSTANTS: Final[Mapping[str, Mapping[str, str]]] = {
    ":queued": {"S": "queued"},
    ":running": {"S": "running"},
    ":zero": {"N": "0"},
    ":one": {"N": "1"},
}


def arguments(values: Mapping[str, Any], **expressions: str) -> dict[str, Any]:
    """The expressions with the names and values that they use, as a call of DynamoDB takes them."""
    whole = " ".join(expressions.values())
    known = {**_CONSTANTS, **values}
    used = {name: known[name] for name in sorted(set(_VALUE.findall(whole)))}
    given: dict[str, Any] = dict(expressions)
    given["ExpressionAttributeNames"] = {
        f"#{name}": name for name in sorted(set(_NAME.findall(whole)))
    }
    if used:
        given["ExpressionAttributeValues"] = used
    return given


def end_with(attributes: Mapping[str, Any]) -> str:
    """The update that ends a job and sets these attributes; their values are named `:attribute`."""
    return END.format(more="".join(f", #{name} = :{name}" for name in attributes))
