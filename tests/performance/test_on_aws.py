"""What is read of Lambda's REPORT lines, what calls cost, and what becomes of calls that are refused."""

from __future__ import annotations

import pytest

from benchmarks.on_aws import Report, ask, cost_usd
from cli.client import NO_RETRIES, Laneway, StatusError
from cli.client.protocol import Call
from tests.unit.client.recording_server import json_answer, recording_server

COLD = (
    "REPORT RequestId: 8f5c\tDuration: 12.50 ms\tBilled Duration: 213 ms\tMemory Size: 1769 MB\t"
    "Max Memory Used: 142 MB\tInit Duration: 199.75 ms\t\n"
)
WARM = (
    "REPORT RequestId: 8f5d\tDuration: 1.25 ms\tBilled Duration: 2 ms\tMemory Size: 1769 MB\t"
    "Max Memory Used: 143 MB\t\n"
)


def test_a_report_line_is_read():
    assert Report.read(COLD) == Report(12.5, 213.0, 1769.0, 142.0, 199.75)
    assert Report.read(WARM).init_ms is None


def test_a_start_from_a_snapshot_is_a_start_too():
    restored = (
        COLD.replace("Init Duration", "Restore Duration") + "\tBilled Restore Duration: 9 ms\t"
    )
    assert Report.read(restored).init_ms == 199.75


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"message": "Too Many Requests"}),
        (500, {"message": "Internal Server Error"}),
        (503, {"error": "not now", "code": "unavailable"}),
    ],
)
def test_a_call_that_finds_no_room_is_counted_as_refused(status, body):
    assert asked(json_answer(body, status)) is None


def test_a_call_that_fails_ends_the_measurement():
    with pytest.raises(StatusError):
        asked(json_answer({"error": "a defect", "code": "internal_error"}, 500))


def test_a_call_that_is_answered_took_its_time():
    assert asked(json_answer({})) > 0


def asked(answer):
    """What becomes of a call to which a stage answers this."""
    with recording_server() as stage:
        stage.will_answer(answer)
        with Laneway(stage.endpoint, api_key="lw_test", retry=NO_RETRIES) as client:
            return ask(client, Call("POST", "/v2/models/m/infer", {}, b"{}"))


def test_another_line_is_refused():
    with pytest.raises(ValueError, match="Duration"):
        Report.read("REPORT of something else")


def test_a_thousand_calls_cost_what_was_billed_and_the_calls():
    reports = [Report.read(WARM)] * 10
    compute_usd = 1000 * 0.002 * 1769 / 1024 * 0.0000166667
    assert cost_usd(reports) == pytest.approx(compute_usd + 0.0012)
    assert cost_usd([]) == pytest.approx(0.0012)
