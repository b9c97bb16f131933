"""The command: `.venv/bin/python benchmarks/run.py [--quick] [--only C1,W4]`.

It only starts the harness; what is measured is in `harness/`, what is measured against in `peers/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The project's own packages are not installed by name: the packager is imported from the tree.
sys.path.insert(1, str(Path(__file__).parents[1]))

from harness.cli import main  # after the path that it needs

if __name__ == "__main__":
    raise SystemExit(main())
