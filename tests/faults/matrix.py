"""The fault matrix as it can be run: `python -m tests.faults.matrix 21` runs the tests of row 21."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.faults.stage import PROJECT

PAGE = (PROJECT / "docs" / "fault-matrix.md").read_text()
STORM = "tests/faults/test_storm.py"


def rows():
    """By number of the case: what happens, the column of tests, and what they assert."""
    found = {}
    for line in PAGE.splitlines():
        if re.match(r"\| \d+ \| ", line):
            number, *cells = line.strip("| ").split(" | ")
            found[number] = cells
    return found


def named_tests(text):
    """Pairs of file, or folder, and test; a name that begins with `::` is of the file before it."""
    file = None
    for found in re.finditer(r"`(tests/[\w/]+(?:\.py)?)?(?:::(\w+))?`", text):
        file = found[1] or file
        if file is not None and (found[1] or found[2]):
            yield file, found[2]


def arguments(number):
    """What pytest is given to run a case; "the storm" is a file like the others."""
    _, tests, _ = rows()[number]
    named = [f"{file}::{name}" if name else file for file, name in named_tests(tests)]
    return [*named, *([STORM] if "the storm" in tests else [])]


def main(number):
    """Run the tests of a row."""
    if number not in rows():
        sys.exit(f"there is no case {number!r}; cases are {', '.join(rows())}")
    command = [sys.executable, "-m", "pytest", "-n0", *arguments(number)]
    sys.exit(subprocess.run(command, cwd=PROJECT, check=False).returncode)


if __name__ == "__main__":
    main(*sys.argv[1:2])
