"""What was recorded is compared with what is measured now: a loss is told, noise is not."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks import check
from benchmarks.harness import published
from benchmarks.harness.bars import BARS, GROUPS, bar_of
from benchmarks.harness.figure import Figure
from benchmarks.harness.kept import ATTEMPTS, BANDS, Kept, compare, lost, table
from benchmarks.harness.packages import ROOT
from benchmarks.harness.spread import Spread, spread

W1 = bar_of("W1.tree")
RECORDED = {"W1.tree": spread([2.0]), "W1.forest": spread([2.0]), "C6": spread([0.0])}


def measures(*rounds):
    """Gives each of these in turn, and notes what was asked for."""
    asked = []

    def measure(groups):
        asked.append(list(groups))
        medians = rounds[min(len(asked), len(rounds)) - 1]
        found = [Figure(key=key, value=spread([median])) for key, median in medians.items()]
        return [figure for figure in found if figure.bar.group in groups]

    return measure, asked


def verdicts(judged):
    return {one.bar.key: one.verdict for one in judged}


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(2.0, "kept"), (2.29, "kept"), (2.31, "lost"), (1.71, "kept"), (1.69, "better")],
)
def test_a_ratio_is_lost_past_its_band(now, verdict):
    assert Kept(W1, spread([2.0]), (now,)).verdict == verdict


def test_a_record_that_was_spread_allows_its_upper_quartile():
    was = Spread(median=2.0, p25=1.0, p75=3.0, n=5)

    assert Kept(W1, was, (2.9,)).verdict == "kept"
    assert Kept(W1, was, (3.1,)).verdict == "lost"


def test_what_must_not_be_there_at_all_has_no_band():
    assert Kept(bar_of("C6"), spread([0.0]), (0.0,)).verdict == "kept"
    assert Kept(bar_of("C6"), spread([0.0]), (1.0,)).verdict == "lost"


def test_what_was_lost_by_chance_once_is_measured_again_alone_and_kept():
    measure, asked = measures({"W1.tree": 9.0, "W1.forest": 2.0, "C6": 0.0}, {"W1.tree": 2.1})

    judged = compare(["C6", "W1"], RECORDED, measure)

    assert verdicts(judged) == {"C6": "kept", "W1.tree": "kept", "W1.forest": "kept"}
    assert lost(judged) == []
    assert asked == [["C6", "W1"], ["W1"]]


def test_what_is_past_its_limit_each_time_is_lost():
    measure, asked = measures({"W1.tree": 2.5, "W1.forest": 2.0, "C6": 0.0})

    judged = compare(["C6", "W1"], RECORDED, measure)

    assert verdicts(judged) == {"C6": "kept", "W1.tree": "lost", "W1.forest": "kept"}
    assert lost(judged) == ["W1.tree"]
    assert len(asked) == ATTEMPTS
    assert "| W1.tree | 2 x | 2-2 | 2.3 | 2.5, 2.5, 2.5 | **lost** |" in table(judged)


def test_what_is_not_recorded_or_of_the_machine_is_told_and_not_judged():
    measure, _ = measures({"W3": 9.0, "Q2": 900.0})

    judged = compare(["W3", "Q2"], {"Q2": spread([1.0])}, measure)

    assert verdicts(judged) == {"W3": "not recorded", "Q2": "of this machine"}


def test_a_band_is_of_a_bar_that_there_is():
    assert BANDS.keys() <= {bar.key for bar in BARS}
    assert set(check.SHORT) <= set(GROUPS)


def test_the_command_measures_again_and_fails_where_something_was_lost(tmp_path, capsys):
    about = dict.fromkeys(("commit", "cpu", "cores", "memory_gib", "system", "python"), "-")
    figures = [{"key": "W4.json", "value": vars(spread([0.001])), "noisy": False}]
    run = {"machine": about | {"date": "2026-01-01", "versions": {}}, "figures": figures}
    (tmp_path / "one.json").write_text(json.dumps(run))

    code = check.main(["--only", "W4", "--quick", "--records", str(tmp_path)])

    assert code == 1
    told = capsys.readouterr().out
    assert re.search(r"^\| W4.json \| .* \| [\d.]+, [\d.]+ \| \*\*lost\*\* \|$", told, re.MULTILINE)
    assert "lost: W4.json" in told


def test_every_test_that_the_page_names_is_there():
    found = re.findall(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`", published.PAGE.read_text())
    file, named = None, 0
    for path, test in found:
        file = path or file
        if test:
            assert f"def {test}(" in (ROOT / file).read_text(), (file, test)
            named += 1
    assert named > 20
