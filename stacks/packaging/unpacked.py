"""Lays a pool's package and its layer out as Lambda has them: one folder each, dated 1980, read-only.

`python -m stacks.packaging.unpacked MODEL --models FOLDER --output FOLDER` does it for one model, and
prints where the two folders are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.repository import Repository, read_repository
from stacks.packaging.assets import BuildContext
from stacks.packaging.build import build_fitting_pool
from stacks.packaging.forms import ARCHITECTURES
from stacks.packaging.layers import CONTROL, ONNX_RUNTIME, build_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

ZIP_DATE_S: Final = datetime(1980, 1, 1, tzinfo=UTC).timestamp()
"""What the CDK writes into its zips, so that the same files make the same zip."""


class Unpacked(NamedTuple):
    """Where a function finds its code, in the order in which it looks."""

    task: Path
    """`/var/task`: the pool's package."""
    python: Path
    """`/opt/python`: the layer."""


def unpack(repository: Repository, models: Sequence[str], target: Path) -> Unpacked:
    """The package of a pool of just these models, below `target`, with the layer beside it, for this machine.

    What was built is shared with `cdk deploy` (`build/`), so it is copied before it is dated.
    """
    pool = repository.models[models[0]].spec.pool
    chosen = {name: repository.models[name] for name in models}
    context = BuildContext(architecture=ARCHITECTURES.get(platform.machine(), "x86_64"))
    layer, control = build_layer(ONNX_RUNTIME, context), build_layer(CONTROL, context)
    alone = replace(repository, models=chosen)
    package = build_fitting_pool(alone, pool, context, layers=(layer, control))
    shutil.copytree(package.folder, target / "task")
    shutil.copytree(layer.folder, target / "opt")
    as_deployed(target)
    return Unpacked(target / "task", target / "opt" / "python")


def as_deployed(folder: Path) -> None:
    """Date every file 1980 and take the right to write, as Lambda's copy of a CDK zip has it."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (ZIP_DATE_S, ZIP_DATE_S))
            path.chmod(0o555 if path.suffix == ".so" else 0o444)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    unpacked = unpack(read_repository(asked.models), [asked.model], asked.output)
    print(json.dumps({"task": str(unpacked.task), "python": str(unpacked.python)}))  # noqa: T201  what a caller reads


if __name__ == "__main__":
    main()
