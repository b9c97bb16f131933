"""Where the files of a batch are, in the stage's bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.results.batches import BatchKey

LINES_TYPE: Final = "application/x-ndjson"
OUTPUT: Final = "output.jsonl"
ERRORS: Final = "errors.jsonl"
REFUSED: Final = "refused.jsonl"
MANIFEST: Final = "manifest.json"
JOINED: Final = (OUTPUT, ERRORS, REFUSED)
"""What the parts of chunks become, one after the other."""


def file_key(key: BatchKey, name: str) -> str:
    """The key of a file of a batch; `name` may be a path below it."""
    return f"batches/{key.tenant}/{key.id}/{name}"
