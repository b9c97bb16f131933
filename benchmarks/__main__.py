"""The command: `.venv/bin/python -m benchmarks [--quick] [--only C1,W4]`, from the project's root."""

from __future__ import annotations

from benchmarks.harness.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
