"""The clock of all that deals with jobs: passed in everywhere, so that tests own the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], float]
"""Gives epoch seconds."""

system_clock: Final[Clock] = time.time
