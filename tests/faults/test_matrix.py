"""The fault matrix has every case, and names tests that are there."""

from __future__ import annotations

import pytest

from tests.faults.matrix import PAGE, PROJECT, arguments, named_tests, rows

CASES = tuple(str(number) for number in range(1, 33))


@pytest.mark.parametrize(("file", "name"), sorted(set(named_tests(PAGE)), key=str))
def test_a_test_that_the_matrix_names_exists(file, name):
    place = PROJECT / file
    assert place.exists()
    if name is not None:
        assert f"def {name}(" in place.read_text()


def test_every_case_has_a_row():
    assert tuple(rows()) == CASES


@pytest.mark.parametrize("number", CASES)
def test_a_row_says_what_is_run_and_what_it_asserts(number):
    happens, tests, asserts = rows()[number]
    assert happens
    assert asserts
    assert any(name for _, name in named_tests(tests)) or tests.count("`tests/") > 1
    assert arguments(number)
