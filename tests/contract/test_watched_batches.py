"""What the dashboard shows of batches is what workers and the finisher write."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from shared.batch_telemetry import BatchTelemetry
from shared.job_telemetry import JobTelemetry
from shared.jobs.batches.run_chunk import ChunkRunner
from shared.schema.batch_status import BATCH_TERMINAL
from stacks.parts.batch_watch import BatchMetrics
from stacks.stages import STAGES
from tests.contract.test_watched_metrics import CONTEXT
from tests.fixtures.batch_desk import BatchDesk, line

DATA = b"".join(line(number) + b"\n" for number in range(40)) + b"{oops\n"
METRICS = BatchMetrics(stage=STAGES["prod"], pool="shared")
USED = METRICS.line_failure_percent.using_metrics


@pytest.fixture
def desk(small_models):
    """A desk whose workers write the lines that the functions write."""
    desk = BatchDesk(small_models)
    worker = JobTelemetry(service="test-chunks", stage="prod", pool="shared", log_level="ERROR")
    worker.begin(CONTEXT)
    others = BatchTelemetry(service="test-batches", stage="prod", log_level="ERROR")
    desk.runner = ChunkRunner(replace(desk.worker, told=worker.chunk))
    desk.finisher = replace(desk.finisher, told=others.batch)
    desk.splitter = replace(desk.splitter, told=others.batch)
    return desk


def lines_of(capsys, message):
    printed = [orjson.loads(text) for text in capsys.readouterr().out.splitlines()]
    return [found for found in printed if found["message"] == message]


def check_written(metric, found):
    [directive] = found["_aws"]["CloudWatchMetrics"]
    assert metric.namespace == directive["Namespace"]
    assert metric.metric_name in {item["Name"] for item in directive["Metrics"]}
    assert set(metric.dimensions) in [set(names) for names in directive["Dimensions"]]
    assert metric.dimensions == {key: found[key] for key in metric.dimensions}


def test_a_run_of_a_chunk_writes_its_lines_and_what_the_dashboard_looks_at(desk, capsys):
    desk.run(DATA)

    found = lines_of(capsys, "chunk")
    assert len(found) > 1
    assert sum(item["chunk_lines"] for item in found) == 41
    assert sum(item["chunk_line_failures"] for item in found) == 1
    assert {item["outcome"] for item in found} == {"published"}
    for metric in (METRICS.lines, METRICS.attempts, METRICS.chunk_ms, *USED.values()):
        check_written(metric, found[0])


def test_a_batch_that_has_ended_writes_how_and_after_what_time(desk, capsys):
    row = desk.run(DATA).row

    [found] = lines_of(capsys, "batch")
    assert (found["status"], found["lines"], found["line_failures"]) == ("succeeded", 41, 1)
    assert found["batch_s"] == row.finished_at - row.created_at
    check_written(METRICS.ended("succeeded"), found)
    check_written(METRICS.batch_s, found)


def test_a_batch_that_cannot_be_read_writes_why(desk, capsys):
    desk.run(b"\x1f\x8b\x08\x00")

    [found] = lines_of(capsys, "batch")
    assert (found["status"], found["code"]) == ("failed", "unsupported_media_type")
    assert found["status"] in BATCH_TERMINAL
