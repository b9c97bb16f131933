"""What `laneway models add` prints: what was found, what to know of it, what to do next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from cli.models.folders import human_size
from cli.models.show import form_words, stacking_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cli.models.add import Added
    from shared.schema.spec import TensorDeclaration


def summary(added: Added, repository: Path) -> Iterator[str]:
    """Lines for people."""
    manifest = added.manifest
    size_bytes = sum(file.size_bytes for file in manifest.files)
    yield f"added {manifest.model} version {manifest.version} ({human_size(size_bytes)}) to {added.folder}"
    yield from _tensors("takes", manifest.inputs)
    yield from _tensors("gives", manifest.outputs)
    ran = "did not run" if added.run_ms is None else f"{added.run_ms:.2g} ms for one row here"
    yield f"  runs   {ran}; stacking: {stacking_words(manifest)}"
    if manifest.forms:
        yield f"  form   {form_words(manifest)}"
    for note in added.notes:
        yield f"  note   {note}"
    yield "next:"
    for command in _next(added, repository):
        yield f"  {command}"


def _tensors(verb: str, tensors: Sequence[TensorDeclaration]) -> Iterator[str]:
    for tensor in tensors:
        yield f"  {verb}  {tensor.name}: {tensor.datatype} {list(tensor.shape)}"


def _next(added: Added, repository: Path) -> Iterator[str]:
    name, version = added.manifest.model, added.manifest.version
    is_default = repository.name == "models" and not repository.is_absolute()
    option = "" if is_default else f" --models {shlex.quote(str(repository))}"
    variable = "" if is_default else f" MODELS={shlex.quote(str(repository))}"
    if not added.is_new_model:
        yield f"laneway models use {name} {version}{option}"
    yield f"laneway models check {name}{option}"
    yield f"make dev{variable}"
