"""The table of scopes in docs/security.md is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

from shared.schema.scopes import NEEDED

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def rows():
    """The scope in the docs of every call that they name."""
    table = PAGE.read_text().partition("### What a caller may do\n")[2].partition("\n### ")[0]
    for line in table.splitlines():
        cells = line.strip("|").split("|")
        if len(cells) == 2:
            scope = re.match(r"\s*`?(\w+)", cells[1])
            for method, path in re.findall(r"`([A-Z]+) (/v2[^`]*)`", cells[0]):
                yield (method, path), scope and scope[1]


def test_every_call_is_in_the_docs_with_the_scope_that_it_needs():
    needed = {
        (method, path): scope
        for path, methods in NEEDED.items()
        for method, scope in methods.items()
        if "/versions/" not in path
    }
    assert dict(rows()) == needed


def test_a_call_about_a_version_needs_what_the_call_about_its_model_needs():
    for path, methods in NEEDED.items():
        assert NEEDED[path.replace("/versions/{version}", "")] == methods
