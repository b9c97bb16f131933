"""docs/operations.md says of every alarm that a stage may have what it means and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
ROWS = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
ANY = "[a-z0-9-]+"


def described():
    """The names of alarms that begin a row of a table, or stand in bold, as patterns."""
    names = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row)}
    names |= set(re.findall(r"\*\*`([^`]+)`\*\*", PAGE))
    return [re.sub(r"<[a-z]+>", ANY, name) for name in names]


@pytest.mark.parametrize("stage", ["gpu_prod", "rabbit"])
def test_every_alarm_of_a_stage_is_on_the_page(stage, request):
    found = request.getfixturevalue(stage)
    names = [alarm["AlarmName"] for alarm in found.properties("AWS::CloudWatch::Alarm")]
    assert names
    patterns = described()
    missing = [
        name
        for name in (name.removeprefix(f"laneway-{found.stage.name}-") for name in names)
        if not any(re.fullmatch(pattern, name) for pattern in patterns)
    ]
    assert missing == []
