"""Locks what a pool's transforms import: one requirements file with hashes per pool.

The layer's packages are constraints and are not repeated in the file, so it is installed with
`--no-deps`: it is complete together with the layer.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cli.models.uv import run_uv

if TYPE_CHECKING:
    from shared.repository import Repository

LAYER = Path(__file__).parents[2] / "layers" / "onnx_runtime" / "requirements.txt"
OLDEST_PYTHON = "3.11"


def requirements_path(repository: Repository, pool: str) -> Path:
    """Where a pool's locked requirements stand; the file exists only if there are any."""
    return repository.folder / f"requirements-{pool}.txt"


def wanted(repository: Repository, pool: str) -> list[str]:
    """The union of what the pool's models ask for, sorted."""
    return sorted(
        {line for entry in repository.models_of(pool) for line in entry.spec.requirements}
    )


def stale_pools(repository: Repository) -> list[tuple[str, str]]:
    """Pools whose file is missing, left over or made for other requirements, each with the reason."""
    found = []
    for pool in repository.pools:
        path = requirements_path(repository, pool)
        lines = wanted(repository, pool)
        if not lines and path.is_file():
            found.append((pool, f"{path.name} is left over: no model asks for a package"))
        elif lines and not path.is_file():
            found.append((pool, f"{path.name} is missing"))
        elif lines and not path.read_text(encoding="utf-8").startswith(_first_line(lines)):
            found.append((pool, f"{path.name} was made for other requirements"))
    return found


def lock_requirements(repository: Repository) -> list[Path]:
    """Write every pool's file, keep versions that still fit, and remove files no longer needed."""
    written = []
    for pool in repository.pools:
        path = requirements_path(repository, pool)
        lines = wanted(repository, pool)
        if lines:
            path.write_text(_first_line(lines) + _resolved(lines, path, pool), encoding="utf-8")
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written


def _first_line(lines: list[str]) -> str:
    return f"# locked by `laneway models lock` for: {' '.join(lines)}\n"


def _resolved(lines: list[str], previous: Path, pool: str) -> str:
    with TemporaryDirectory(prefix="laneway-lock-") as folder:
        asked = Path(folder) / "asked.txt"
        asked.write_text("\n".join(lines) + "\n", encoding="utf-8")
        output = Path(folder) / "locked.txt"
        if previous.is_file():
            output.write_text(previous.read_text(encoding="utf-8"), encoding="utf-8")
        run_uv(
            ("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header",
             "--no-annotate", "--python-version", OLDEST_PYTHON, *_layer_arguments(),
             "--output-file", str(output), str(asked)),
            doing=f"locking the requirements of pool {pool!r}",
        )  # fmt: skip
        return output.read_text(encoding="utf-8")


def _layer_arguments() -> list[str]:
    """The layer's versions as constraints, and its packages left out of the result."""
    if not LAYER.is_file():
        return []
    pinned = [line for line in LAYER.read_text(encoding="utf-8").splitlines() if "==" in line]
    names = [line.split("==", 1)[0].strip() for line in pinned if not line.startswith((" ", "#"))]
    omitted = [argument for name in names for argument in ("--no-emit-package", name)]
    return ["--constraint", str(LAYER), *omitted]
