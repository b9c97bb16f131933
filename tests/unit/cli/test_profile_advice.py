"""What a profile advises, from figures that are given."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from cli.profile.advice import Form, Requests, advise, choose, sizes
from cli.profile.measure import STAGES, Profile
from cli.profile.picture import draw
from cli.profile.processes import ColdStart
from shared.schema.spec import MeasuredForm

ONE = Requests(
    threads=1,
    parts_ms={"parse": 0.1, "prepare": 0.2, "run": 9.5, "answer": 0.2},
    p50_ms=10.0,
    p99_ms=20.0,
    cpu_ms=10.0,
)
TWO = replace(ONE, threads=2, p50_ms=6.0, p99_ms=12.0)
PAYS = MeasuredForm(
    onnxruntime="1.31.1",
    optimization="disabled",
    start_ratio=0.5,
    memory_ratio=0.4,
    run_ratio=1.0,
    size_bytes=90_000_000,
)


def offered(*, peak_mib=300.0, target_p99_ms=100, requests=(ONE,)):
    return sizes(requests, start_ms=200.0, peak_mib=peak_mib, target_p99_ms=target_p99_ms)


def test_below_one_vcpu_times_are_estimated_by_the_share():
    by_memory = {size.memory_mib: size for size in offered()}
    assert (by_memory[1769].p99_ms, by_memory[1769].estimated) == (20.0, False)
    assert by_memory[512].estimated
    assert by_memory[512].p99_ms == pytest.approx(20.0 * 1769 / 512)
    assert by_memory[512].start_ms == pytest.approx(200.0 * 1769 / 512)


def test_sizes_whose_threads_were_not_measured_are_left_out():
    assert 3538 not in {size.memory_mib for size in offered()}
    assert 3538 in {size.memory_mib for size in offered(requests=(ONE, TWO))}


def test_of_sizes_of_one_price_that_keep_the_promise_the_one_that_starts_soonest_is_chosen():
    assert choose(offered(target_p99_ms=50)).memory_mib == 1769
    assert choose(offered(requests=(ONE, TWO))).memory_mib == 1769  # two threads cost more


def test_a_cheaper_size_is_chosen_where_the_promise_allows_it():
    usual, dear = offered()[-1], replace(offered()[-1], memory_mib=3538, million_usd=9.0)
    assert choose([dear, usual]) == usual


def test_a_call_is_billed_by_whole_milliseconds():
    fast = replace(ONE, p50_ms=0.02, p99_ms=0.05)
    [size] = [size for size in offered(requests=(fast,)) if size.memory_mib == 1024]
    assert size.million_usd == pytest.approx(0.20 + 1e6 * 0.001 * 0.0000166667)


def test_a_size_that_the_model_does_not_fit_is_never_chosen():
    small = [size for size in offered(peak_mib=1000.0) if size.memory_mib <= 1024]
    assert small
    assert choose(small) is None
    assert choose(offered(peak_mib=9000.0)) is None
    [line] = advise(offered(peak_mib=9000.0), [ONE], None, target_p99_ms=100)
    assert 'compute = "gpu"' in line


def test_a_promise_that_no_size_keeps_is_said():
    lines = advise(offered(target_p99_ms=5), [ONE], None, target_p99_ms=5)
    assert lines[0].startswith("memory_mib = 1769: is the fastest, and still misses 5 ms")


def test_threads_are_worth_their_memory_only_when_they_are_much_faster():
    said = advise(offered(requests=(ONE, TWO)), [ONE, TWO], None, target_p99_ms=100)
    assert "intra_op_threads: 2 are 1.7 times as fast as one, worth the memory" in said
    slower = replace(TWO, p50_ms=9.0)
    said = advise(offered(), [ONE, slower], None, target_p99_ms=100)
    assert "intra_op_threads: 2 are 1.1 times as fast as one, not worth the memory" in said


@pytest.mark.parametrize(("promise_ms", "mode"), [(100, "snapstart"), (5000, "on-demand")])
def test_the_warm_mode_follows_what_a_start_takes(promise_ms, mode):
    said = advise(offered(target_p99_ms=promise_ms), [ONE], None, target_p99_ms=promise_ms)
    assert mode in said[-2]


def test_a_model_that_is_fetched_is_not_advised_what_synth_would_refuse():
    *_, warm, form = advise(offered(), [ONE], None, target_p99_ms=100, fetched=True)
    assert "keep environments warm" in warm
    assert "snapstart" not in warm
    assert "none is made of a model that is fetched" in form


def test_a_model_without_a_form_is_told_why():
    assert (
        "none is made of files below 8 MB" in advise(offered(), [ONE], None, target_p99_ms=100)[-1]
    )


@pytest.mark.parametrize(
    ("measured", "shipped", "says"),
    [
        (PAYS, True, "the package has it (start x 0.5, memory x 0.4, run x 1, 90.0 MB)"),
        (PAYS, False, "have it packaged with: laneway models lock m"),
        (
            PAYS.model_copy(update={"optimization": None, "reason": "a run takes twice as long"}),
            False,
            "does not pay (a run takes twice as long)",
        ),
    ],
)
def test_what_is_advised_of_a_form_is_what_packages_do_with_it(measured, shipped, says):
    form = Form(measured=measured, shipped=shipped, lock="laneway models lock m")
    assert says in advise(offered(), [ONE], form, target_p99_ms=100)[-1]


def test_the_picture_shows_every_stage_part_thread_count_and_memory_size():
    profile = Profile(
        stages_ms=dict.fromkeys(STAGES, 10.0),
        start=ColdStart(150.0, 160.0),
        imported_mib=57.0,
        loaded_mib=200.0,
        peak_mib=210.0,
        requests=[ONE, TWO],
    )
    found = offered(requests=(ONE, TWO))
    drawn = ET.fromstring(draw(profile, found, title="a <model>"))  # noqa: S314  drawn a line above
    words = {element.text for element in drawn.iter() if element.text}
    assert {*STAGES, *ONE.parts_ms, "a <model>", "A start: 100 ms"} <= words
    assert {"1 thread", "2 threads", "512 MiB *", "1769 MiB", "3538 MiB"} <= words
