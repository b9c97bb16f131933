"""ruff's security rules hold for all that is deployed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

LINT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["ruff"][
    "lint"
]
DEPLOYED = ("shared", "functions", "gpu_workers", "stacks", "app.py")


def security(codes):
    return [code for code in codes if re.fullmatch(r"S(\d+)?", code)]


def test_none_is_ignored_everywhere_and_none_for_what_is_deployed():
    assert LINT["select"] == ["ALL"]
    assert security(LINT["ignore"]) == []
    ignored = {
        place: security(codes)
        for place, codes in LINT["per-file-ignores"].items()
        if security(codes)
    }
    assert not [place for place in ignored if place.startswith(DEPLOYED)]


def test_each_that_is_silenced_on_a_line_of_what_is_deployed_says_why():
    silenced = re.compile(r"# noqa: [A-Z0-9, ]*\bS\d{3}[A-Z0-9, ]*(?P<reason>.*)")
    root = Path(__file__).parents[2]
    without = [
        f"{path.relative_to(root)}: {found[0]}"
        for folder in DEPLOYED[:-1]
        for path in (root / folder).rglob("*.py")
        for found in silenced.finditer(path.read_text())
        if not found["reason"].strip()
    ]
    assert without == []
