"""What `laneway dev` prints: steps with their times, the commands to paste, and the log."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from typing import TYPE_CHECKING, Final

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from cli.dev.examples import Example
    from cli.dev.state import Running

_INLINE_MAX_CHARS: Final = 400
"""A longer request is pasted as the name of a file."""


class Terminal:
    """Writes lines to a console; safe to call from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: Text | str, style: str = "") -> None:
        """One line, however wide."""
        self._console.print(
            Text(text, style=style) if isinstance(text, str) else text, soft_wrap=True
        )

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Says what begins, and how long it took when it is done."""
        self.line(f"· {what}", style="dim")
        begin = time.monotonic()
        yield
        self.line(f"✓ {what}: {time.monotonic() - begin:.1f} s")

    def ready(self, running: Running, commands: list[str], *, after_s: float) -> None:
        """The service answers: where, and what to paste."""
        self.line("")
        self.line(f"ready after {after_s:.1f} s", style="bold green")
        self.line(running.endpoint)
        for command in commands:
            self.line("")
            self.line(command)
        self.line("")
        self.line(f"A page to try it: {running.endpoint}/docs", style="dim")
        self.line("Ctrl-C stops everything.", style="dim")


def pasted(running: Running, found: list[Example], folder: Path, laneway: str) -> list[str]:
    """Three commands: those of the first example; where a model takes jobs alone, a call of it for the second."""
    infer, ready, by_laneway = commands(running, found[0], folder, laneway)
    later = [example for example in found[1:] if not example.is_realtime]
    second = commands(running, later[0], folder, laneway)[0] if later else ready
    return [infer, second, by_laneway]


def commands(running: Running, example: Example, folder: Path, laneway: str) -> list[str]:
    """An inference by curl, whether the service is ready, an inference by `laneway`.

    The example's request is written to a file in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{example.model}.json"
    path.write_text(json.dumps(example.request))
    inline = json.dumps(example.request, ensure_ascii=False)
    data = inline if len(inline) <= _INLINE_MAX_CHARS else f"@{path}"
    key = f"-H {shlex.quote(f'x-api-key: {running.api_key}')}"
    infer = f"{running.endpoint}/v2/models/{example.model}/infer"
    more = "".join(
        f" -H {shlex.quote(f'{name}: {value}')}" for name, value in example.headers.items()
    )
    laneway += " infer" if example.is_realtime else " submit --wait"
    settings = f"LANEWAY_ENDPOINT={running.endpoint} LANEWAY_API_KEY={running.api_key}"
    return [
        f"curl -sS {infer} {key}{more} -H 'content-type: application/json' -d {shlex.quote(data)}",
        f"curl -sS -w '%{{http_code}}\\n' {running.endpoint}/v2/health/ready {key}",
        f"{settings} {laneway} {example.model} --input {shlex.quote(str(path))}",
    ]
