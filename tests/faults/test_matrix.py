"""The fault matrix names tests that are there."""

from __future__ import annotations

import re

import pytest

from tests.faults.stage import PROJECT

PAGE = (PROJECT / "docs" / "fault-matrix.md").read_text()
CASES = (*map(str, range(1, 21)), "24", "25")
EXTRAS = tuple(map(str, range(26, 33)))


def named_tests():
    """Pairs of file and test; a name that begins with `::` is of the file before it."""
    file = None
    for found in re.finditer(r"`(tests/[\w/]+(?:\.py)?)?(?:::(\w+))?`", PAGE):
        file = found[1] or file
        yield file, found[2]


@pytest.mark.parametrize(("file", "name"), sorted(set(named_tests()), key=str))
def test_a_test_that_the_matrix_names_exists(file, name):
    place = PROJECT / file
    assert place.exists()
    if name is not None:
        assert f"def {name}(" in place.read_text()


def test_every_case_of_the_lane_has_a_row():
    rows = re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)
    assert tuple(rows) == (*CASES, *EXTRAS)
