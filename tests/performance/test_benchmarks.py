"""The benchmarks themselves: that they still run, and that their arithmetic is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import machine, published
from benchmarks.harness.bars import BARS, GROUPS
from benchmarks.harness.children import Sample
from benchmarks.harness.cli import MEASUREMENTS
from benchmarks.harness.figure import Figure, noisy
from benchmarks.harness.published import SECTIONS
from benchmarks.harness.spread import paired_ratio, spread

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "benchmarks", "--quick", "--name", "smoke"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )


def test_a_quick_run_measures_ours_and_the_peers_and_writes_both_files(tmp_path: Path) -> None:
    """`--check C6`: the realtime path loads no AWS client and no tracing, up to its first answer."""
    wanted = {"C1", "C2", "C6", "W1", "W2", "W4"}

    done = run("--only", ",".join(sorted(wanted)), "--check", "C6", "--output", str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "smoke.json").read_text())
    assert {figure["key"].split(".")[0] for figure in written["figures"]} == wanted
    assert all(figure["value"]["median"] > 0 for figure in written["figures"] if figure["must"])
    assert written["machine"]["cpu"]
    assert written["machine"]["versions"]["onnxruntime"]
    assert written["machine"]["date"] in (tmp_path / "smoke.md").read_text()


def test_a_quick_run_measures_jobs_and_batches(tmp_path: Path) -> None:
    done = run("--only", "Q2,B1", "--output", str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "smoke.json").read_text())
    values = {figure["key"]: figure["value"]["median"] for figure in written["figures"]}
    assert values.keys() == {"Q2", "B1"}
    assert all(value > 0 for value in values.values())


def test_a_run_that_is_ended_midway_keeps_what_it_has_measured(tmp_path: Path) -> None:
    command = [*RUN, "--only", "Q2,B1", "--output", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as ended:
        assert ended.stdout is not None
        for line in ended.stdout:
            if "B1" in line:
                ended.terminate()
                break
        assert ended.wait(60) != 0

    [figure] = json.loads((tmp_path / "smoke.json").read_text())["figures"]
    assert figure["key"] == "Q2"


def test_an_unknown_bar_is_refused_with_those_there_are() -> None:
    done = run("--only", "C1,Z9")

    assert done.returncode != 0
    assert "Z9" in done.stderr
    assert "W4" in done.stderr


def test_every_bar_is_measured() -> None:
    measured = [group for groups, _ in MEASUREMENTS for group in groups]

    assert set(measured) == set(GROUPS)
    assert len({measure for _, measure in MEASUREMENTS}) == len(MEASUREMENTS)
    assert len({bar.key for bar in BARS}) == len(BARS)


def test_a_ratio_is_taken_between_samples_of_one_round() -> None:
    slow_machine, fast_machine = [20.0, 10.0], [2.0, 1.0]

    ratio = paired_ratio([slow_machine[0], fast_machine[0]], [slow_machine[1], fast_machine[1]])

    assert (ratio.median, ratio.p25, ratio.p75, ratio.n) == (2.0, 2.0, 2.0, 2)


def test_a_spread_has_the_quartiles() -> None:
    assert spread([1, 2, 3, 4, 5]).p25 == 2
    assert spread([1, 2, 3, 4, 5]).p75 == 4
    with pytest.raises(ValueError, match="no values"):
        spread([])


@pytest.mark.parametrize(("median", "verdict"), [(1.3, "stretch"), (1.6, "met"), (1.61, "missed")])
def test_the_verdict_is_by_the_median(median: float, verdict: str) -> None:
    assert Figure(key="C1", value=spread([median])).verdict == verdict


def test_a_figure_is_noisy_when_a_third_of_its_children_were_disturbed() -> None:
    quiet = Sample(wall_ms=100, cpu_ms=100, foreign_ms=5, report=None)
    disturbed = Sample(wall_ms=100, cpu_ms=100, foreign_ms=80, report=None)
    unknown = Sample(wall_ms=100, cpu_ms=100, foreign_ms=None, report=None)

    assert noisy([quiet, disturbed])
    assert not noisy([quiet, quiet, quiet, disturbed])
    assert not noisy([unknown])


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the kernel does not say")
def test_cpu_that_others_use_is_seen() -> None:
    before_ms = machine.busy_ms()
    burn = "import time\nwhile time.process_time() < 0.3: pass"

    subprocess.run([sys.executable, "-c", burn], check=True, timeout=60)

    after_ms = machine.busy_ms()
    assert before_ms is not None
    assert after_ms is not None
    assert after_ms - before_ms >= 200


def test_the_page_shows_the_newest_records_as_they_are() -> None:
    page = published.PAGE.read_text()

    assert published.with_tables(page) == page, "run: python -m benchmarks --table"


def blank_page(filling: str) -> str:
    """A page with every pair of marks, and this between them."""
    pairs = "\n".join(f"{begin}\n{filling}\n{end}" for begin, end in map(published.marks, SECTIONS))
    return f"before\n{pairs}\nafter\n"


def record(folder: Path, date: str, **medians: float) -> None:
    figures = [
        {
            "key": key.replace("_", "."),
            "value": vars(spread([median])),
            "parts": {name: vars(spread([7.0])) for name in ("ours ms", "fastest x")},
            "noisy": False,
        }
        for key, median in medians.items()
    ]
    about = dict.fromkeys(("commit", "cpu", "cores", "memory_gib", "system", "python"), "-")
    run = {"machine": about | {"date": date, "versions": {}}, "figures": figures}
    (folder / f"{date}.json").write_text(json.dumps(run))


def test_of_each_bar_the_newest_figure_is_shown_and_judged_by_the_bar_of_today(
    tmp_path: Path,
) -> None:
    record(tmp_path, "2026-01-01", C1=1.7, C3=0.1, gone=1)
    record(tmp_path, "2026-01-02", C1=1.5)
    page = blank_page("stale")

    text = published.with_tables(page, tmp_path)

    rows = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert "1.5 x" in rows["| C1"]
    assert rows["| C1"].endswith("| met | ours ms 7 | a |")
    assert rows["| C3"].endswith("| met, stretch too | ours ms 7 | b |")
    assert "not recorded yet" in rows["| W2"]
    assert "1.7" not in rows["| C1"]
    assert text.count("not recorded yet\n") == len(SECTIONS) - 1
    assert (text.startswith("before\n"), text.endswith("\nafter\n")) == (True, True)
    assert "stale" not in text
    assert published.with_tables(text, tmp_path) == text


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="figures: begin"):
        published.with_tables("no marks")
