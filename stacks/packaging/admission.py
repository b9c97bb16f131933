"""Refuses to synthesize what may not be served: every version is looked at in a process with limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.inference.admission import Admissions
from stacks.errors import PackagingError

if TYPE_CHECKING:
    from pathlib import Path

    from shared.repository import Repository


def admit(repository: Repository, *, kept: Path) -> None:
    """Raise PackagingError with all that speaks against these models.

    `kept`: the folder in which it is remembered what was admitted, by content.
    """
    refused = [
        f"model {verdict.model!r} version {verdict.version!r}: {verdict.refusal}"
        for verdict in Admissions(kept).of_repository(repository)
        if verdict.judgement is None
    ]
    if refused:
        raise PackagingError("\n  ".join(["not served:", *refused]))
