"""Composes layers and packages into the `Assets` of a stage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from shared.catalog import parse_catalog
from shared.repository import Repository, compile_catalog
from shared.schema.compile import export_validators
from shared.schema.docs_page import DOCS_FILE
from shared.schema.examples import golden_requests
from shared.schema.openapi import build_openapi
from stacks.auth import issuers
from stacks.packaging.assets import PROJECT, Asset, Assets, BuildContext
from stacks.packaging.budget import check_size, fits
from stacks.packaging.content import Content, build_package
from stacks.packaging.fetched import Fetched, add_keys, fetched_of
from stacks.packaging.forms import Forms, add_forms, forms_of
from stacks.packaging.image import build_image_context
from stacks.packaging.layers import CONTROL, ONNX_RUNTIME, build_layer
from stacks.packaging.models import add_models, add_requirements
from stacks.packaging.sources import modules_needed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from stacks.stages import Stage

_POOL_HANDLERS: Final = ("functions/realtime/handler.py", "functions/queue_worker/handler.py")


def build_assets(repository: Repository, context: BuildContext, *, stage: Stage) -> Assets:
    """Everything to deploy of this repository; raises PackagingError for what cannot be."""
    onnx_runtime = build_layer(ONNX_RUNTIME, context)
    control = build_layer(CONTROL, context)
    layers = (onnx_runtime, control)
    fetched = {
        pool: fetched_of(repository.models_of(pool), layers) for pool in _function_pools(repository)
    }
    return Assets(
        pools={
            pool: build_fitting_pool(repository, pool, context, layers=layers) for pool in fetched
        },
        fetched={pool: found for pool, found in fetched.items() if found},
        ingress=build_ingress(repository, context),
        authorizer=build_function("authorizer", context, with_lock=bool(issuers(stage.auth))),
        sweeper=build_function("sweeper", context),
        webhooks=build_function("webhooks", context),
        batch_splitter=build_function(
            "batch_splitter", context, {"catalog.json": _catalog(repository, None)}
        ),
        batch_finisher=build_function("batch_finisher", context),
        fleet_scaler=build_function("fleet_scaler", context),
        deployments=build_function("deployments", context),
        send=build_function("send", context) if stage.broker == "rabbitmq" else None,
        images=build_images(repository, context, stage=stage),
        onnx_runtime=onnx_runtime,
        control=control,
    )


def _function_pools(repository: Repository) -> list[str]:
    """The pools that Lambda runs; a gpu pool is an image."""
    return [
        pool
        for pool in repository.pools
        if any(entry.spec.compute == "cpu" for entry in repository.models_of(pool))
    ]


def build_images(
    repository: Repository, context: BuildContext, *, stage: Stage
) -> dict[str, Asset]:
    """What the images of long-lived workers are built from, by pool; none on one's own machine."""
    if stage.emulated or not stage.fleet.enabled:
        return {}
    queued = {
        entry.spec.pool: entry.spec.compute
        for entry in repository.models.values()
        if set(entry.spec.latency_classes) - {"realtime"}
    }
    return {
        pool: build_image_context(
            repository, pool, context, device="cuda" if compute == "gpu" else "cpu"
        )
        for pool, compute in queued.items()
        if compute == "gpu" or stage.broker == "rabbitmq"
    }


def build_fitting_pool(
    repository: Repository, pool: str, context: BuildContext, *, layers: Sequence[Asset]
) -> Asset:
    """The package of one pool, with the offline-optimised forms that there is room for beside the layers.

    Raises PackagingError where there is none for the plain files either.
    """
    fetched = fetched_of(repository.models_of(pool), layers)
    forms = forms_of(repository.models_of(pool), context, without=fetched)
    while True:
        package = build_pool(repository, pool, context, forms, fetched)
        grown = [key for key, form in forms.items() if form.grows_bytes > 0]
        if fits(package, layers) or not grown:
            check_size(pool, package, layers, repository)
            return package
        del forms[max(grown, key=lambda key: forms[key].grows_bytes)]


def build_pool(
    repository: Repository,
    pool: str,
    context: BuildContext,
    forms: Forms | None = None,
    fetched: Fetched | None = None,
) -> Asset:
    """The package of one pool: both of its functions, its models in these forms, and their catalog.

    Without the versions that are `fetched`.
    """
    content = Content()
    entries = repository.models_of(pool)
    transforms = [entry.transform for entry in entries if entry.transform is not None]
    for handler in _POOL_HANDLERS:
        _add_sources(content, handler, *transforms)
    add_models(content, entries, forms, fetched)
    add_requirements(content, repository, pool)
    content.written["catalog.json"] = _catalog(repository, pool, forms, fetched)
    return build_package(pool, content, context)


def build_ingress(repository: Repository, context: BuildContext) -> Asset:
    """The package of ingress: the catalog of every model, and the API described."""
    content = Content()
    _add_sources(content, "functions/ingress/handler.py")
    content.written["catalog.json"] = _catalog(repository, None)
    content.written["openapi.json"] = _openapi(repository)
    content.copy(DOCS_FILE, to=DOCS_FILE.relative_to(PROJECT).as_posix())
    return build_package("ingress", content, context)


def build_function(
    name: str,
    context: BuildContext,
    written: Mapping[str, bytes] | None = None,
    *,
    with_lock: bool = True,
) -> Asset:
    """The package of a function that runs no models: its sources, what they import, and its own lock.

    `with_lock`: False where the stage asks nothing of the function that the lock is for.
    """
    lock = PROJECT / "functions" / name / "requirements.txt"
    content = Content(
        written=dict(written or {}),
        requirements=lock.read_text() if with_lock and lock.is_file() else "",
    )
    _add_sources(content, f"functions/{name}/handler.py")
    return build_package(name, content, context)


def _add_sources(content: Content, handler: str, *others: Path) -> None:
    for path in modules_needed(PROJECT, PROJECT / handler, *others):
        content.copy(path, to=path.relative_to(PROJECT).as_posix())


def _catalog(
    repository: Repository,
    pool: str | None,
    forms: Forms | None = None,
    fetched: Fetched | None = None,
) -> bytes:
    catalog: dict[str, Any] = compile_catalog(repository, pool=pool)
    add_forms(catalog, forms or {})
    add_keys(catalog, fetched or {})
    catalog["validators"] = export_validators()
    return json.dumps(catalog, separators=(",", ":")).encode()


def _openapi(repository: Repository) -> bytes:
    """Without a server: ingress puts in the address that it is served at."""
    catalog = parse_catalog(compile_catalog(repository))
    examples = golden_requests(repository.folder)
    return json.dumps(build_openapi(catalog, examples=examples), separators=(",", ":")).encode()
