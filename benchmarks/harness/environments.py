"""Processes of the realtime function under load, without any emulator: each answers one request at a time.

As on Lambda: a request that finds no environment free is refused, as Lambda refuses at its concurrency limit.
"""

from __future__ import annotations

import marshal
import os
import selectors
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.arrivals import Outcome, arrivals
from benchmarks.harness.children import base_interpreter
from benchmarks.harness.packages import ENVIRONMENT, Package

SERVING = Path(__file__).parents[1] / "children" / "serving.py"
PATIENCE_S = 30.0
"""How long the last answers may take."""


class Environment:
    """One process of the function; busy from an event until its answer."""

    def __init__(self, package: Package, **settings: str) -> None:
        """`settings`: environment variables beside those that every function has."""
        self._process = subprocess.Popen(
            [
                *(base_interpreter(), "-S", "-s", "-B", str(SERVING)),
                *(package.search_path, package.handler),
            ],
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **ENVIRONMENT, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._events, self.answers = self._process.stdin, self._process.stdout
        self.due_s = 0.0
        self.status()

    def send(self, event: bytes, due_s: float) -> None:
        """Hand it an event that was due then."""
        self.due_s = due_s
        self._events.write(struct.pack("<I", len(event)) + event)
        self._events.flush()

    def status(self) -> int:
        """The answer's status, waited for; raises EOFError where the process has ended."""
        head = self.answers.read(4)
        if len(head) < 4:
            raise EOFError(f"an environment ended with {self._process.poll()}")
        status: int = marshal.loads(self.answers.read(struct.unpack("<I", head)[0]))  # noqa: S302  our own child's
        return status

    def resident_mb(self) -> float:
        """Its memory, in millions of bytes."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()
        self._events.close()
        self.answers.close()


def hold(
    environments: Sequence[Environment], event: bytes, *, rate: float, seconds: float
) -> Outcome:
    """Let requests arrive at this rate for so long, and wait for the last answers."""
    outcome = Outcome("realtime function", rate=rate, seconds=seconds)
    free = list(environments)
    with selectors.DefaultSelector() as selector:
        for environment in environments:
            selector.register(environment.answers, selectors.EVENT_READ, environment)
        began_s = time.monotonic()
        for at_s in arrivals(rate, seconds, seed=0):
            due_s = began_s + at_s
            while (left_s := due_s - time.monotonic()) > 0:
                _collect(selector, free, outcome, left_s)
            _collect(selector, free, outcome, 0)
            outcome.late_ms = max(outcome.late_ms, (time.monotonic() - due_s) * 1000)
            if free:
                environment = free.pop()
                environment.send(event, due_s)
                outcome.sent += 1
            else:
                outcome.refused += 1
        last_s = time.monotonic()
        until_s = last_s + PATIENCE_S
        while outcome.lost and time.monotonic() < until_s:
            _collect(selector, free, outcome, 0.1)
        outcome.cleared_s = time.monotonic() - last_s
    return outcome


def _collect(
    selector: selectors.BaseSelector, free: list[Environment], outcome: Outcome, wait_s: float
) -> None:
    """Take the answers that are there, or that come in this time."""
    for key, _ in selector.select(wait_s):
        environment: Environment = key.data
        outcome.statuses[environment.status()] += 1
        outcome.latencies_ms.append((time.monotonic() - environment.due_s) * 1000)
        free.append(environment)
