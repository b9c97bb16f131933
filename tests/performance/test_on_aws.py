"""What is read of Lambda's REPORT lines, and what calls cost."""

from __future__ import annotations

import pytest

from benchmarks.on_aws import Report, cost_usd

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


def test_another_line_is_refused():
    with pytest.raises(ValueError, match="Duration"):
        Report.read("REPORT of something else")


def test_a_thousand_calls_cost_what_was_billed_and_the_calls():
    reports = [Report.read(WARM)] * 10
    compute_usd = 1000 * 0.002 * 1769 / 1024 * 0.0000166667
    assert cost_usd(reports) == pytest.approx(compute_usd + 0.0012)
    assert cost_usd([]) == pytest.approx(0.0012)
