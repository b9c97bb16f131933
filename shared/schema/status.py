"""The states of a job, for those who must not load Pydantic."""

from __future__ import annotations

from typing import Final, Literal

JobStatus = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
TERMINAL: Final[frozenset[JobStatus]] = frozenset({"succeeded", "failed", "canceled", "expired"})
"""A job in one of these has ended and never changes its status again."""
