"""Looks every locked package up for known weaknesses: `python audit_packages.py PIP_AUDIT` (make audit-packages).

exit code 0   none is known; or nobody could be asked, which is said plainly
          1   some are known; or nobody could be asked and AUDIT_REQUIRED=true

An index that answers without the data, as mirrors do, would pass for one that knows of nothing. So a package with
well-known weaknesses is looked up first: where even that has none, nothing was audited.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).parents[1]
LOCKS: Final = (
    "requirements/*.txt",
    "layers/*/requirements.txt",
    "functions/*/requirements.txt",
    "gpu_workers/requirements-*.txt",
    "models/requirements-*.txt",
)
WEAK: Final = "jinja2==2.11.2"
"""CVE-2020-28493 and others since."""
TIMEOUT_S: Final = 300
UNASKED: Final = 3
"""What `main` gives where nobody could be asked, before AUDIT_REQUIRED is looked at."""


class UnreachableError(Exception):
    """The data cannot be read from here."""


def main(pip_audit: str, *, locks: list[Path], canary: str = WEAK) -> int:
    """Print what is known; gives 0, 1 or `UNASKED`."""
    try:
        check_data(pip_audit, canary)
        told = ask(pip_audit, locks, "--require-hashes")
    except UnreachableError as error:
        print(f"NOT AUDITED: no data on weaknesses can be reached from here: {error}")
        return UNASKED
    found = weaknesses(told)
    skipped = sorted(item["name"] for item in told if "skip_reason" in item)
    for line in (*found, *(f"{name}: not looked up" for name in skipped)):
        print(line)
    print(f"{len(told) - len(skipped)} packages looked up, {len(found)} weaknesses")
    return 1 if found else 0


def check_data(pip_audit: str, canary: str) -> None:
    """Raise `UnreachableError` where not even a weak package is known to be one."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(f"{canary}\n")
        file.flush()
        known = weaknesses(ask(pip_audit, [Path(file.name)], "--no-deps"))
    if not known:
        raise UnreachableError(f"the index knows of no weakness of {canary}, which has some")


def ask(pip_audit: str, files: list[Path], *options: str) -> list[dict[str, Any]]:
    """What pip-audit tells of the packages in requirement files."""
    named = [part for path in files for part in ("--requirement", str(path))]
    command = [
        pip_audit,
        "--disable-pip",
        *options,
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    try:
        done = subprocess.run(  # noqa: S603  the command is the Makefile's
            [*command, *named], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"no answer within {TIMEOUT_S} s") from error
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError) as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UnreachableError(last[:200]) from error


def weaknesses(told: list[dict[str, Any]]) -> list[str]:
    """A line for each: package, version, what it is called, and what mends it."""
    return sorted(
        f"{item['name']} {item['version']}: {weak['id']}, mended in {', '.join(weak['fix_versions']) or 'nothing yet'}"
        for item in told
        for weak in item.get("vulns", ())
    )


if __name__ == "__main__":
    every = sorted(path for pattern in LOCKS for path in PROJECT.glob(pattern))
    code = main(sys.argv[1], locks=every)
    required = os.environ.get("AUDIT_REQUIRED") == "true"
    sys.exit(int(required) if code == UNASKED else code)
