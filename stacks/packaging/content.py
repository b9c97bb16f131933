"""What goes into one package, as a list of files before anything is written: it keys the build."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stacks.packaging.bytecode import compile_tree
from stacks.packaging.cache import built, digest_of, file_digest
from stacks.packaging.prune import INSTALLER_TRACES, prune
from stacks.packaging.requirements import install

if TYPE_CHECKING:
    from pathlib import Path

    from stacks.packaging.assets import Asset, BuildContext

PACKAGE_ROOT = "/var/task"
"""Where Lambda unpacks a function's package."""
_RECIPE = "3"
"""Raised when the way a package is made changes."""


@dataclass(slots=True)
class Content:
    """Files by their place in the package: copied, written, or installed from a lock."""

    copied: dict[str, Path] = field(default_factory=dict)
    known_digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of copied files that were read already."""
    written: dict[str, bytes] = field(default_factory=dict)
    requirements: str = ""

    def copy(self, path: Path, *, to: str, digest: str | None = None) -> None:
        """Put the file there; `digest` spares reading it again."""
        self.copied[to] = path
        if digest is not None:
            self.known_digests[to] = digest

    def digest(self, context: BuildContext) -> str:
        """Of every file and its place, and of the machine it is made for."""
        parts: list[str | bytes] = [_RECIPE, context.key, self.requirements]
        for place, path in sorted(self.copied.items()):
            parts += [place, self.known_digests.get(place) or file_digest(path)]
        for place, data in sorted(self.written.items()):
            parts += [place, data]
        return digest_of(parts)


def build_package(name: str, content: Content, context: BuildContext) -> Asset:
    """The package with this content, with bytecode, built unless it was already."""

    def build(folder: Path) -> None:
        install(content.requirements, folder, context)
        prune(folder, INSTALLER_TRACES)
        for place, path in content.copied.items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        for place, data in content.written.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(data)
        compile_tree(folder, deployed_at=PACKAGE_ROOT)

    return built(context.root, f"package-{name}", content.digest(context), build)
