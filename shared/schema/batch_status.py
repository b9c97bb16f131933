"""The states of a batch, for those who must not load Pydantic."""

from __future__ import annotations

from typing import Final, Literal

BatchStatus = Literal[
    "validating",
    "scheduled",
    "running",
    "finalizing",
    "succeeded",
    "failed",
    "canceled",
    "expired",
]
BatchEnding = Literal["succeeded", "canceled", "expired"]
"""What a batch becomes once its files are joined; `failed` is a batch that could not be read."""
BATCH_TERMINAL: Final[frozenset[BatchStatus]] = frozenset(
    {"succeeded", "failed", "canceled", "expired"}
)
