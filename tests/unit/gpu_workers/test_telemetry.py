"""The worker's lines of jobs that ended together: those of each alone, written by one call."""

from __future__ import annotations

import json
import sys

import pytest

from gpu_workers.telemetry import WorkerTelemetry
from shared.jobs.facts import JobFacts
from shared.results.store import RunFacts
from tests.fixtures.job_rows import new_row

RUN = RunFacts(queue_ms=12.5, run_ms=3.25, rows_stacked=3)


class Writes:
    """A stdout that counts what is written at once."""

    def __init__(self):
        self.texts = []

    def write(self, text):
        self.texts.append(text)

    def flush(self):
        """Nothing is kept."""

    def lines(self):
        return [json.loads(line) for line in "".join(self.texts).splitlines()]


@pytest.fixture
def telemetry():
    return WorkerTelemetry(stage="test", pool="heavy", worker="w-1")


def facts():
    return [
        JobFacts(row=new_row("acme", "a"), outcome="succeeded", status=200, run=RUN),
        JobFacts(row=new_row("acme", "b"), outcome="failed", status=400, code="invalid_request"),
        JobFacts(row=new_row("acme", "c"), outcome="lost", status=200, run=RUN),
    ]


def written(monkeypatch, act):
    """What `act` writes to stdout."""
    writes = Writes()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", writes)
        act()
    return writes


def without_time(line):
    line.pop("timestamp")
    line.get("_aws", {}).pop("Timestamp", None)
    return line


def test_jobs_that_ended_together_have_the_lines_that_each_has_alone(telemetry, monkeypatch):
    together = written(monkeypatch, lambda: telemetry.ended(facts()))
    alone = written(monkeypatch, lambda: [telemetry.job(one) for one in facts()])

    lines = [without_time(line) for line in together.lines()]
    assert lines == [without_time(line) for line in alone.lines()]
    assert [line["job_id"] for line in lines] == ["a", "b", "c"]


def test_the_lines_of_jobs_that_ended_together_are_written_at_once(telemetry, monkeypatch):
    writes = written(monkeypatch, lambda: telemetry.ended(facts()))

    assert len([text for text in writes.texts if "job_id" in text]) == 1


def test_nothing_is_written_where_nothing_ended(telemetry, monkeypatch):
    assert written(monkeypatch, lambda: telemetry.ended([])).texts == []
