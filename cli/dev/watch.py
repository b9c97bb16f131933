"""Which files make a redeploy, and what a set of changes is called.

Watching runs in a thread of its own, so that the main thread stays free for signals and redeploys.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from watchfiles import watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from watchfiles import Change

WATCHED: Final = ("functions", "shared", "gpu_workers", "stacks", "layers", "app.py", "cdk.json")
QUIET_MS: Final = 300
"""Changes closer together than this are one: editors and exporters write in several steps."""
_TICK_MS: Final = 500
"""How often the thread looks whether it should stop; also when it is known to watch."""
_START_TIMEOUT_S: Final = 10.0
_NAMED_FILES_MAX: Final = 3
_IGNORED_NAMES: Final = ("__pycache__", "build", "cdk.out", "node_modules")
_IGNORED_SUFFIXES: Final = (".md", ".partial", ".pyc", ".swp", ".tmp", "~")


class Watcher:
    """Calls `on_change` with what changed, from a thread; inside its `with` block nothing is missed."""

    def __init__(self, project: Path, models: Path, on_change: Callable[[set[Path]], None]) -> None:
        self._paths = [models, *(project / name for name in WATCHED)]
        self._on_change = on_change
        self._stop = threading.Event()
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._watching.wait(_START_TIMEOUT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _matters(self, _change: Change, name: str) -> bool:
        path = Path(name)
        return any(
            matters(path.relative_to(root)) for root in self._paths if path.is_relative_to(root)
        )

    def _run(self) -> None:
        present = [path for path in self._paths if path.exists()]
        batches = watch(
            *present,
            watch_filter=self._matters,
            debounce=QUIET_MS,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
        )
        for changes in batches:
            self._watching.set()
            if changes:
                self._on_change(_paths(changes))


def matters(path: Path) -> bool:
    """Whether a file, named from the watched folder, can reach a package: no caches, drafts or prose."""
    hidden = any(part.startswith(".") or part in _IGNORED_NAMES for part in path.parts)
    return not hidden and not path.name.endswith(_IGNORED_SUFFIXES)


def describe(changed: set[Path], project: Path) -> str:
    """The changed files, as a person would name them."""
    names = sorted(_short(path, project) for path in changed)
    shown = ", ".join(names[:_NAMED_FILES_MAX])
    more = len(names) - _NAMED_FILES_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _paths(changes: set[tuple[Change, str]]) -> set[Path]:
    return {Path(path) for _, path in changes}


def _short(path: Path, project: Path) -> str:
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)
