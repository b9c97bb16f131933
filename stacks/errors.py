"""The failures that synthesis reports to a person; `app.py` prints them without a traceback."""

from __future__ import annotations


class SynthError(Exception):
    """Something cannot be deployed as it is declared; the message names it, the fact and the way out."""


class StageError(SynthError):
    """A stage's values contradict each other, or leave open what they must decide."""


class PackagingError(SynthError):
    """A package or a layer cannot be built."""
