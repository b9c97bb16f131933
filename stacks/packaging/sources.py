"""Finds the project's own modules that an entry point needs, by reading its imports.

A package holds exactly these, so that a change elsewhere neither rebuilds nor redeploys it. Imports
under `if TYPE_CHECKING:` do not count; imports inside functions do.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from stacks.errors import PackagingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN_PACKAGES: Final = ("functions", "gpu_workers", "shared")


def modules_needed(root: Path, *entries: Path) -> list[Path]:
    """Every own source that the entries load, with the `__init__.py` of each package on the way.

    Paths are absolute; `root` is the project. An entry may lie outside the root (a model's
    transform): it is read for its imports, but is not in the answer. PackagingError for a source that
    is not Python.
    """
    found: set[Path] = set()
    waiting = list(entries)
    while waiting:
        source = waiting.pop()
        if source in found:
            continue
        found.add(source)
        waiting += [path for name in _named_by(source) for path in _files_of(root, name)]
        waiting += _packages_above(root, source)
    return sorted(path for path in found if path.is_relative_to(root) and _is_own(root, path))


def _named_by(source: Path) -> tuple[str, ...]:
    try:
        return _imported(source.read_bytes())
    except SyntaxError as error:
        raise PackagingError(f"{source}, line {error.lineno}: {error.msg}") from error


@lru_cache(maxsize=1024)
def _imported(content: bytes) -> tuple[str, ...]:
    """What a source of this content may import; packages have most modules in common."""
    return tuple(_imports(ast.parse(content).body))


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """Dotted names that running these statements may import; `from a import b` gives a and a.b."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not _is_type_checking(node):
            yield from _imports(_nested(node))
        elif isinstance(node, ast.If):
            yield from _imports(node.orelse)


def _nested(node: ast.stmt) -> list[ast.stmt]:
    inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ExceptHandler, ast.match_case)):
            inner += child.body
    return inner


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _files_of(root: Path, name: str) -> list[Path]:
    if name.split(".", maxsplit=1)[0] not in OWN_PACKAGES:
        return []
    base = root.joinpath(*name.split("."))
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]


def _packages_above(root: Path, source: Path) -> list[Path]:
    if not (source.is_relative_to(root) and _is_own(root, source)):
        return []
    parents = [folder for folder in source.parents if folder != root and root in folder.parents]
    return [path for folder in parents if (path := folder / "__init__.py").is_file()]


def _is_own(root: Path, path: Path) -> bool:
    return path.relative_to(root).parts[0] in OWN_PACKAGES
