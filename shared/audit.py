"""The audit: which acts are recorded, and how a record looks as one line of a log.

A record is any line of a stage's logs that has the member `audit`, which names the act. Where a line is
written anyway (a request, a job, a chunk) it is the record; every other act is written by `record`.
No record holds a body, a tensor, a text of a caller's or a key: its members are names and ids, and these
are cut at `VALUE_CHARACTERS_MAX`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Act = Literal[
    "infer",
    "submit",
    "upload",
    "cancel",
    "retry",
    "redrive",
    "deploy",
    "undeploy",
    "key_create",
    "key_revoke",
    "limits_change",
    "secret_change",
    "erase",
    "denied",
]
"""What is recorded: `deploy` and `undeploy` of a model's version, `denied` for 401, 403 and 429."""
ACTS: Final[tuple[str, ...]] = get_args(Act)
AUDIT: Final = "audit"
"""The member that makes a line a record."""
INFER: Final = "infer"
DENIED: Final = "denied"
DENIED_STATUSES: Final = frozenset({401, 403, 429})
OK: Final = "ok"
BEGUN: Final = "begun"
"""Outcome of a record that is written before its act; one with the same request id follows."""
VALUE_CHARACTERS_MAX: Final = 256


def record(
    act: Act,
    *,
    principal: str,
    tenant: str,
    request_id: str,
    outcome: str = OK,
    model: str | None = None,
    version: str | None = None,
    digest: str | None = None,
    job_id: str | None = None,
    batch_id: str | None = None,
    key_id: str | None = None,
    write: Callable[[str], object] | None = None,
) -> None:
    """Record one act as a line of JSON; to stdout, which a function's log is, unless `write` says where.

    `principal`: who, as `shared.principal` names it. `outcome`: `ok`, `begun` or the code of an error.
    `digest`: of the model's version (`ModelVersion.digest`). Members that are empty are left out.
    """
    named = {
        "principal": principal,
        "tenant": tenant,
        "request_id": request_id,
        "outcome": outcome,
        "model": model,
        "version": version,
        "digest": digest,
        "job_id": job_id,
        "batch_id": batch_id,
        "key_id": key_id,
    }
    (write or _to_stdout)(_line(act, named))


def _line(act: str, named: Mapping[str, str | None]) -> str:
    line = {
        "level": "INFO",
        "message": "audit",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        AUDIT: act,
        **{name: cut(value) for name, value in named.items() if value},
    }
    return json.dumps(line, separators=(",", ":"))


def cut(value: str) -> str:
    """The value, no longer than an id or a name has to be."""
    return value[:VALUE_CHARACTERS_MAX]


def _to_stdout(line: str) -> None:
    """To the stdout of the moment: Lambda and pytest both replace it after the import."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
