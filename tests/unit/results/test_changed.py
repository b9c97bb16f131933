"""The quick way to change a row gives what the slow one gives."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from shared.results.rows import JobRow, changed
from tests.fixtures.job_rows import new_row


@pytest.mark.parametrize("name", [item.name for item in fields(JobRow)])
def test_changing_a_member_is_replacing_it(name):
    row = new_row()
    other = getattr(new_row("other", "job", attempt=2, metadata={}), name)

    assert changed(row, **{name: other}) == replace(row, **{name: other})


def test_the_row_itself_stays_as_it_is():
    row = new_row()

    made = changed(row, attempt=2)

    assert (row.attempt, made.attempt) == (0, 2)
    assert row == new_row()


def test_an_unknown_member_is_refused():
    with pytest.raises(KeyError):
        changed(new_row(), colour="red")
