"""Threads that do their part beside one that computes."""

from __future__ import annotations

import os
from contextlib import suppress


def stay_in_background() -> None:
    """From now on the calling thread, and those that it starts, interrupt nobody when they wake.

    They get as much of the processors as before, and have it a moment later. A thread that sleeps between messages
    would else take the processor from one that runs a model, time after time, with what it has in the caches.
    Nothing happens where the system has no such policy (it is Linux's SCHED_BATCH) or forbids to set it.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
