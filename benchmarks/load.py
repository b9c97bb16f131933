"""Load on the handlers, without any emulator: an arrival rate, and then ten times that rate.

    make load                                         # the embedding model, two environments
    python -m benchmarks.load --rate 20 --seconds 30 --environments 4 --model breast-cancer

Each environment is a process that runs the realtime function from its package and answers one request at a
time, as on Lambda; a request that finds none free is refused, as Lambda refuses at its concurrency limit.
"""

from __future__ import annotations

import argparse
import marshal
import os
import selectors
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import machine, packages
from benchmarks.harness.arrivals import Outcome, arrivals
from benchmarks.harness.children import base_interpreter
from benchmarks.harness.events import infer_event, one_row_request
from benchmarks.harness.packages import ENVIRONMENT, Package

SERVING = Path(__file__).parent / "children" / "serving.py"
TIMES = (1, 10)
PATIENCE_S = 30.0
"""How long the last answers may take."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Hold both rates, and say what became of every request."""
    options = _parser().parse_args(arguments)
    try:
        package = packages.our_package(options.model)
        event = infer_event(options.model, one_row_request(options.model)).read_bytes()
        outcomes = []
        for times in TIMES:
            environments = [Environment(package) for _ in range(options.environments)]
            try:
                rate = options.rate * times
                outcomes.append(hold(environments, event, rate=rate, seconds=options.seconds))
            finally:
                for environment in environments:
                    environment.end()
    finally:
        packages.remove_all()
    print(report(outcomes, options))  # noqa: T201  a command's answer


class Environment:
    """One process of the function; busy from an event until its answer."""

    def __init__(self, package: Package) -> None:
        self._process = subprocess.Popen(
            [
                *(base_interpreter(), "-S", "-s", "-B", str(SERVING)),
                *(package.search_path, package.handler),
            ],
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **ENVIRONMENT},
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
    outcome = Outcome(rate=rate, seconds=seconds)
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
        until_s = time.monotonic() + PATIENCE_S
        while outcome.lost and time.monotonic() < until_s:
            _collect(selector, free, outcome, 0.1)
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


def report(outcomes: Sequence[Outcome], options: argparse.Namespace) -> str:
    """A table for people, and for the page that quotes it."""
    facts = machine.describe()
    head = (
        f"{options.model}, {options.environments} environments, {options.seconds:g} s each; "
        f"{facts['cpu']}, {facts['date']}\n\n"
        "| arrivals/s | requests | p50 ms | p95 ms | p99 ms | errors | refused | lost | late at most ms |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    rows = [
        f"| {item.rate:g} | {item.sent + item.refused} | {item.percentile_ms(50):.1f} "
        f"| {item.percentile_ms(95):.1f} | {item.percentile_ms(99):.1f} | {item.errors} "
        f"| {item.refused} | {item.lost} | {item.late_ms:.1f} |"
        for item in outcomes
    ]
    return head + "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--model", default=packages.EMBEDDING.name)
    parser.add_argument("--rate", type=float, default=50.0, help="arrivals a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each rate")
    parser.add_argument("--environments", type=int, default=2)
    return parser


if __name__ == "__main__":
    main()
