"""The page on security has the caps as they are, and names tests that are there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from shared.limits import MIB

PROJECT = Path(__file__).parents[2]
SECTION = (
    (PROJECT / "docs/security.md").read_text().partition("## Bodies\n")[2].partition("\n## ")[0]
)
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| where"))
]
OWN = re.compile(r"# --- our own caps on what a request may unfold into ---(.*?)# ---", re.DOTALL)
ELSEWHERE = {
    "ENVELOPE_BYTES",  # what BODY_BYTES_MAX is made of
    "TENSOR_ELEMENTS_MAX",  # past every tensor that TENSOR_BYTES_MAX allows
    "REQUEST_ID_LENGTH_MAX",  # as NAME_LENGTH_MAX
    "COMPRESS_ANSWER_FROM_BYTES",  # no cap
}


def written(value, name):
    """A constant as the page writes it."""
    if name.endswith("_S") or "_S_" in name:
        return f"{value:,g} s"
    if "BYTES" not in name:
        return f"{value:,}"
    for unit, size in (("TiB", MIB << 20), ("GiB", MIB << 10), ("MiB", MIB), ("KiB", 1024)):
        if value % size == 0:
            return f"{value // size:,} {unit}"
    return f"{value:,} bytes"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1]}"[:70])
def test_a_cap_is_what_the_page_says(row):
    _, _, most, constant, _ = row
    name, _, module = (part.strip("`") for part in constant.partition(" of "))
    value = getattr(import_module(module or "shared.limits"), name)
    assert most == written(value, name)


def test_every_cap_of_ours_has_a_row():
    [caps] = OWN.findall((PROJECT / "shared/limits.py").read_text())
    names = set(re.findall(r"^([A-Z_]+): Final", caps, re.MULTILINE))
    assert len(names) > 15
    assert names - ELSEWHERE <= {row[3].partition(" of ")[0].strip("`") for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1]}"[:70])
def test_a_row_names_a_test_that_is_there(row):
    file = None
    found = re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", row[4])
    assert found
    for path, name in found:
        file = path or file
        text = (PROJECT / file).read_text()
        assert not name or f"def {name}(" in text
