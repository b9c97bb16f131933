"""How many rows a run takes, learned from what rows cost in stacks of several sizes."""

from __future__ import annotations

from gpu_workers.sizes import GIVE_UP_RUNS, KINDS_KEPT, TRIALS, TRY_AGAIN_RUNS, Sizes

MOST = 16


def learn(sizes, cost_s, *, runs=50, kind="k", most=MOST):
    """Run full stacks; `cost_s`: seconds for a row by the rows of the stack. The rows of each run."""
    ran = []
    for _ in range(runs):
        rows = sizes.rows_max(kind, most)
        ran.append(rows)
        sizes.note(kind, rows=rows, cells=rows, took_s=rows * cost_s(rows), most=most)
    return ran


def test_nothing_is_known_of_a_kind_that_never_ran():
    sizes = Sizes()

    assert sizes.rows_max("k", MOST) == MOST
    assert not sizes.may_halve("k", MOST)


def test_a_device_with_room_runs_the_largest_stacks_and_soon_tries_no_others():
    """A run takes as long whatever its rows: half of them cost twice as much each."""
    sizes = Sizes()

    ran = learn(sizes, lambda rows: 0.01 / rows)

    assert ran == [MOST, MOST // 2] * TRIALS + [MOST] * (50 - 2 * TRIALS)
    assert not sizes.may_halve("k", MOST)


def test_a_device_on_which_large_stacks_are_dear_runs_smaller_ones():
    sizes = Sizes()

    learn(sizes, {16: 24.1, 8: 22.9, 4: 22.3, 2: 21.0, 1: 21.1}.__getitem__)

    assert sizes.rows_max("k", MOST) == 2


def test_half_a_stack_that_costs_little_more_may_run_where_others_wait():
    sizes = Sizes()

    learn(sizes, {32: 2.08, 16: 2.16, 8: 2.36, 4: 2.8}.__getitem__, most=32)

    assert sizes.rows_max("k", 32) == 32
    assert sizes.may_halve("k", 32)
    assert not sizes.may_halve("k", 16)


def test_a_run_that_others_disturbed_decides_nothing():
    sizes = Sizes()
    slow = iter([3.0] + [1.0] * 1000)

    learn(sizes, lambda _: next(slow))

    assert sizes.rows_max("k", MOST) == MOST


def test_what_a_machine_does_for_a_while_makes_no_size_dear():
    """The first runs of all are slow, and so would be all of the largest stacks, tried one after the other."""
    sizes = Sizes()
    others = iter([2.0] * 4 + [1.0] * 1000)

    learn(sizes, lambda rows: next(others) * (1.0 + 0.02 * (MOST - rows)))

    assert sizes.rows_max("k", MOST) == MOST


def test_runs_of_stacks_that_were_not_full_say_nothing():
    sizes = Sizes()

    for _ in range(TRY_AGAIN_RUNS - 1):
        sizes.note("k", rows=1, cells=1, took_s=0.001, most=MOST)

    assert sizes.rows_max("k", MOST) == MOST


def test_sizes_are_tried_again_after_many_runs():
    sizes = Sizes()
    learn(sizes, lambda rows: 1.0 + rows)
    assert sizes.rows_max("k", MOST) == 1

    ran = learn(sizes, lambda rows: 1.0 / rows, runs=TRY_AGAIN_RUNS)

    assert MOST in ran
    assert sizes.rows_max("k", MOST) == MOST


def test_rows_of_unlike_lengths_are_compared_by_their_cells():
    """Small stacks of short rows are quick, and no cheaper."""
    sizes = Sizes()

    for _ in range(50):
        rows = sizes.rows_max("k", MOST)
        length = 8 * rows
        sizes.note("k", rows=rows, cells=rows * length, took_s=rows * length * 1e-6, most=MOST)

    assert sizes.rows_max("k", MOST) == MOST


def test_requests_of_several_rows_fill_a_stack_nearly():
    sizes = Sizes()

    for _ in range(50):
        full = max(3, sizes.rows_max("k", 64) // 3 * 3)
        sizes.note("k", rows=full, cells=full, took_s=full * (1.0 + full), most=64)

    assert sizes.rows_max("k", 64) < 32


def test_a_size_that_is_never_filled_is_given_up_for_the_best_that_is_known():
    sizes = Sizes()
    learn(sizes, lambda _: 1.0, runs=1)
    assert sizes.rows_max("k", MOST) == MOST // 2

    for _ in range(GIVE_UP_RUNS):
        sizes.note("k", rows=1, cells=1, took_s=0.1, most=MOST)

    assert sizes.rows_max("k", MOST) == MOST


def test_only_so_many_kinds_are_remembered():
    sizes = Sizes()
    learn(sizes, lambda rows: 1.0 + rows, kind="first")
    assert sizes.rows_max("first", MOST) == 1

    for number in range(KINDS_KEPT):
        sizes.note(number, rows=1, cells=1, took_s=1.0, most=MOST)

    assert sizes.rows_max("first", MOST) == MOST
