"""What grows: how it is judged, drawn and shown, and that it can be measured at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from benchmarks.harness import growing, published
from benchmarks.harness.curves import GROWTH_MAX, Chart, Line, as_json, growth_table
from benchmarks.harness.spread import spread

ROOT = Path(__file__).parents[2]
MACHINE = {"cpu": "a cpu", "cores": 2, "date": "2026-01-01 00:00 UTC", "commit": "abc"}


def line(*medians, each=True):
    sizes = (1, 10, 100, 1000)
    return Line("a job", "us", {n: spread([m]) for n, m in zip(sizes, medians, strict=False)}, each)


@pytest.mark.parametrize(
    ("medians", "verdict"),
    [
        ((10, 10, 10, 10), "flat"),
        ((100, 20, 10, 12), "flat"),
        ((10, 10, 10, 10 * GROWTH_MAX + 1), "grows"),
        ((100, 20, 10, 20), "grows"),
    ],
)
def test_a_cost_that_ends_far_above_its_least_grows(medians, verdict):
    assert line(*medians).verdict == verdict


def test_what_is_not_of_one_piece_of_work_may_grow_with_it():
    assert line(10, 100, each=False).verdict == ""


def test_the_table_says_of_each_recorded_line_what_it_came_to():
    chart = Chart("x-growth", "Jobs", "jobs", "us", [line(40, 10, 30), line(5, 5, each=False)])

    table = growth_table([{"machine": MACHINE, "charts": as_json([chart])}])

    assert "| Jobs | a job | 1 | 100 | 40 us | 10 us | 30 us | 3.00 | grows | 2026" in table
    assert "| Jobs | a job | 1 | 10 | 5 us | 5 us | 5 us | 1.00 |  | 2026" in table


def test_a_plot_has_a_line_for_each_and_a_tick_for_each_size():
    drawn = Chart("x", "Jobs & rows", "jobs", "us", [line(40, 10, 30), line(0.2, 0.3)]).drawn(
        MACHINE
    )

    assert drawn.count("<polyline") == 2
    assert "Jobs &amp; rows" in drawn
    for tick in (">1<", ">10<", ">100<"):
        assert tick in drawn


def test_names_of_lines_that_end_together_do_not_lie_on_each_other():
    drawn = Chart("x", "Jobs", "jobs", "us", [line(9, 10), line(9, 10), line(1, 10)]).drawn(MACHINE)

    heights = [float(y) for y in re.findall(r" y='([\d.]+)'[^>]*>a job<", drawn)]
    assert len(heights) == 3
    assert all(abs(one - other) > 12 for one, other in combinations(heights, 2))


def test_every_recorded_growth_has_its_plots_and_the_page_shows_them():
    page = published.PAGE.read_text()
    for path in published.RECORDS.glob("*-growth/*.json"):
        for chart in json.loads(path.read_text())["charts"]:
            name = f"images/{chart['chart']}.svg"
            assert (published.PAGE.parent / name).is_file()
            assert f"({name})" in page


def test_a_quick_growth_is_measured_written_and_drawn(tmp_path):
    asked = ["pool", "queue", "concurrency", "batch"]
    told = ["--quick", "--output", tmp_path / "records", "--images", tmp_path, "--name", "smoke"]

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", "--only", *asked, *map(str, told)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for name in asked:
        run = json.loads((tmp_path / "records" / f"{name}-growth" / "smoke.json").read_text())
        for chart in run["charts"]:
            drawn = (tmp_path / f"{chart['chart']}.svg").read_text()
            assert drawn.count("<polyline") == len(chart["lines"])
            for entry in chart["lines"]:
                assert entry["points"]
                assert all(point["median"] > 0 for point in entry["points"].values())


def test_every_growth_that_can_be_asked_for_is_measured():
    assert len(set(growing.MEASUREMENTS.values())) == len(growing.MEASUREMENTS)
