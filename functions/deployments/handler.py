"""Entry point of the function that records deployments of models; it needs no setting and no layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.deployments.service import handle, put_answer

if TYPE_CHECKING:
    from collections.abc import Mapping


def handler(event: Mapping[str, Any], _context: Any) -> None:
    """Answer CloudFormation."""
    handle(event, put_answer)
