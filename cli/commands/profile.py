"""`laneway profile`: what a model costs as a function, measured here, and what to declare for it."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import CommandError, answer, answer_json, answer_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cli.profile.advice import Form, Size
    from cli.profile.measure import Profile
    from cli.profile.processes import Target
    from shared.repository import ModelEntry


def profile(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    *,
    models: Annotated[
        Path, typer.Option(envvar="LANEWAY_MODELS", help="The folder of models.")
    ] = Path("models"),
    version: Annotated[str | None, typer.Option(help="Default: the model's default.")] = None,
    request: Annotated[
        Path | None,
        typer.Option(help="A request's JSON; default: the model's golden request, else zeros."),
    ] = None,
    threads: Annotated[
        str,
        typer.Option(
            help="Intra-op threads to try, such as 1,2; default: 1, and 2 if they are here."
        ),
    ] = "",
    rounds: Annotated[
        int, typer.Option(min=1, max=50, help="Fresh processes for each number.")
    ] = 5,
    picture: Annotated[Path | None, typer.Option(help="Write an SVG to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Start a model's function again and again on this machine, and say what it costs.

    Starts and requests are measured from the package that would be deployed. Memory sizes below one
    vCPU, and anything about Lambda itself, are estimates.
    """
    from cli.profile.advice import advise, sizes
    from cli.profile.measure import default_threads
    from cli.profile.measure import profile as measure

    entry = _entry(models, model)
    counts = [int(count) for count in threads.split(",")] if threads else default_threads()
    with _target(models, entry, version, request) as target:
        measured = measure(target, threads=counts, rounds=rounds, told=say)
        form = _form(entry, target)
    promise_ms = entry.spec.target_p99_ms
    offered = sizes(
        measured.requests,
        start_ms=measured.start_ms,
        peak_mib=measured.peak_mib,
        target_p99_ms=promise_ms,
    )
    fetched = "fetch" in measured.stages_ms
    advice = advise(offered, measured.requests, form, target_p99_ms=promise_ms, fetched=fetched)
    if picture is not None:
        from cli.profile.picture import draw

        title = f"{model}, version {target.version}"
        picture.write_text(draw(measured, offered, title=title))
    if as_json:
        found = asdict(measured) | {"sizes": [asdict(size) for size in offered], "advice": advice}
        answer_json(found | {"form": form and form.measured.model_dump()})
    else:
        _show(measured, offered, advice)


def _entry(models: Path, model: str) -> ModelEntry:
    from shared.repository import read_repository

    if sys.platform != "linux":
        raise CommandError("a model is profiled on Linux: its package holds what runs on Lambda")
    entry = read_repository(models).models.get(model)
    if entry is None:
        raise CommandError(f"{models} has no model {model!r}")
    if entry.spec.compute == "gpu":
        raise CommandError(
            f"model {model!r} runs on gpu workers; a function's profile says nothing about it"
        )
    return entry


def _form(entry: ModelEntry, target: Target) -> Form | None:
    from cli.models.forms import recorded_or_measured
    from cli.profile.advice import Form
    from shared.catalog import load_catalog

    _, packaged = load_catalog(target.task / "catalog.json").find(target.model, target.version)
    if packaged.fetched:
        return None
    found = recorded_or_measured(entry.folder / target.version, entry.spec)
    if found is None:
        return None
    lock = f"laneway models lock {entry.name}"
    return Form(measured=found, shipped=packaged.form is not None, lock=lock)


@contextmanager
def _target(
    models: Path, entry: ModelEntry, version: str | None, request: Path | None
) -> Iterator[Target]:
    """The unpacked package with the request beside it, gone at the end."""
    from cli.profile.objects import ObjectStore
    from cli.profile.processes import Target, unpack

    scratch = Path(tempfile.mkdtemp(prefix="laneway-profile-"))
    name = entry.name
    try:
        say("building the package")
        task, python = unpack(models, name, scratch / "package")
        asked = scratch / "request.json"
        asked.write_text(request.read_text() if request else _example(task, models, name))
        left_out = _left_out(task, entry)
        with ObjectStore(left_out) if left_out else nullcontext() as store:
            yield Target(
                task=task,
                python=python,
                pool=entry.spec.pool,
                model=name,
                version=version or entry.spec.default_version,
                request=asked,
                scratch=scratch,
                env=store.env if store else {},
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _left_out(task: Path, entry: ModelEntry) -> dict[str, Path]:
    """The files that the package has not, by their keys on S3."""
    from shared.catalog import load_catalog

    versions = load_catalog(task / "catalog.json").models[entry.name].versions.values()
    return {
        file.key: entry.folder / version.version / file.path
        for version in versions
        if version.fetched
        for file in version.files
    }


def _example(task: Path, models: Path, name: str) -> str:
    from shared.catalog import load_catalog
    from shared.schema.examples import example_request, golden_requests

    example: dict[str, Any] | None = golden_requests(models).get(name)
    if example is None:
        example = example_request(load_catalog(task / "catalog.json").find(name)[1].inputs)
    if example is None:
        raise CommandError(
            f"no request could be made up for model {name!r}: name one with --request"
        )
    return json.dumps(example)


def _show(measured: Profile, offered: Sequence[Size], advice: Sequence[str]) -> None:
    from cli.profile.objects import MB_A_SECOND
    from shared.artifacts.ranges import STREAMS

    stages = [(name, f"{value:.1f}") for name, value in measured.stages_ms.items()]
    answer_table(
        ("a start", "ms"), [*stages, ("in all", f"{sum(measured.stages_ms.values()):.1f}")]
    )
    if "fetch" in measured.stages_ms:
        answer(
            f"fetch: {STREAMS} connections of {MB_A_SECOND:.0f} MB/s, which S3 is known to give, for the time "
            "beyond the imports; what a function's network gives was not measured"
        )
    if measured.start is not None:
        answer(
            f"through AWS's runtime client: ready after {measured.start.init_ms:.0f} ms, "
            f"answered after {measured.start.answered_ms:.0f} ms"
        )
    answer(
        f"memory: {measured.imported_mib:.0f} MiB with imports, {measured.loaded_mib:.0f} with the "
        f"model, {measured.peak_mib:.0f} at its highest\n"
    )
    parts = list(measured.requests[0].parts_ms)
    answer_table(
        ("threads", *(f"{part} ms" for part in parts), "p50 ms", "p99 ms"),
        [
            (
                str(item.threads),
                *(f"{item.parts_ms[part]:.3f}" for part in parts),
                f"{item.p50_ms:.2f}",
                f"{item.p99_ms:.2f}",
            )
            for item in measured.requests
        ],
    )
    answer_table(
        (
            "memory_mib",
            "start ms",
            "p50 ms",
            "p99 ms",
            "USD a million",
            "fits",
            "keeps the promise",
        ),
        [
            (
                f"{size.memory_mib}{' *' if size.estimated else ''}",
                f"{size.start_ms:.0f}",
                f"{size.p50_ms:.2f}",
                f"{size.p99_ms:.2f}",
                f"{size.million_usd:.2f}",
                "yes" if size.fits else "no",
                "yes" if size.meets else "no",
            )
            for size in offered
        ],
    )
    answer(
        "* estimated: a share of one vCPU. USD: of Lambda, by whole milliseconds; an HTTP API adds 1.00\n"
    )
    for line in advice:
        answer(f"- {line}")
