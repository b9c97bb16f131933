"""Builds the layers: locked packages for the function's machine, pruned, with bytecode that stays valid."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stacks.packaging import prune
from stacks.packaging.assets import PROJECT
from stacks.packaging.bytecode import compile_tree
from stacks.packaging.cache import built, digest_of
from stacks.packaging.requirements import install, locked, without

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacks.packaging.assets import Asset, BuildContext

LAYER_ROOT: Final = "/opt"
"""Where Lambda unpacks layers; `/opt/python` is on the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecipe:
    """How one layer is made of its locked requirements."""

    name: str
    drop_packages: frozenset[str] = frozenset()
    """Locked because somebody requires them, but never imported when serving."""
    patterns: tuple[str, ...]
    finish: Callable[[Path], None] = field(default=lambda _: None)

    @property
    def lock(self) -> Path:
        """The layer's locked requirements."""
        return PROJECT / "layers" / self.name / "requirements.txt"

    @property
    def requirements(self) -> str:
        """The lock's text, without what is dropped."""
        return without(self.lock.read_text(encoding="utf-8"), self.drop_packages)


ONNX_RUNTIME: Final = LayerRecipe(
    name="onnx_runtime",
    # onnxruntime needs them for its converters and quantizers only
    drop_packages=frozenset({"flatbuffers", "packaging", "protobuf"}),
    patterns=(*prune.EVERYWHERE, *prune.ONNX_RUNTIME),
)
CONTROL: Final = LayerRecipe(
    name="control",
    patterns=(*prune.EVERYWHERE, *prune.CONTROL),
    finish=prune.prune_botocore,
)


def build_layer(recipe: LayerRecipe, context: BuildContext) -> Asset:
    """The layer for the context's machine and interpreter, built unless it was already."""
    text = recipe.requirements
    digest = digest_of([_recipe_digest(), context.key, recipe.name, text])

    def build(folder: Path) -> None:
        target = folder / "python"
        install(text, target, context)
        prune.prune(target, recipe.patterns)
        recipe.finish(target)
        compile_tree(folder, deployed_at=LAYER_ROOT)

    return built(context.root, f"layer-{recipe.name}-{context.architecture}", digest, build)


def packages_in(recipe: LayerRecipe) -> dict[str, str]:
    """Versions of what the layer holds, by name."""
    return locked(recipe.requirements)


def _recipe_digest() -> str:
    """A change of the recipe's own sources makes a new layer."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return digest_of(
        source.read_bytes()
        for source in sources
        if source.name in ("layers.py", "prune.py", "bytecode.py", "requirements.py")
    )
