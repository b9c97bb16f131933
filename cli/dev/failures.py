"""What keeps the local service from running, in words for the person at the terminal."""

from __future__ import annotations

from cli.output import CommandError


class DevError(CommandError):
    """The local service cannot start or go on; the message says why and what to do."""
