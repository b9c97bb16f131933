"""Runs a model of a repository on disk through the real inference layer, with no service around it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from shared.catalog import parse_catalog
from shared.inference.encoder import encode
from shared.inference.loading import load_model
from shared.inference.pipeline import infer
from shared.repository import TRANSFORM_FILE, Repository, compile_catalog
from shared.schema.request import InferenceRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.catalog import Model, ModelVersion
    from shared.inference.pipeline import ServedModel
    from shared.repository import ModelEntry

RUN_TIMEOUT_S = 60.0


def load(entry: ModelEntry, version: str | None = None) -> ServedModel:
    """One served version of the model, its files verified; raises what the pool would raise."""
    model, found = declared(entry, version)
    # A package holds the repository as `models/`; here its folder may have any name.
    transform = f"{entry.name}/{TRANSFORM_FILE}" if model.transform else None
    return load_model(
        entry.folder.parent,
        replace(model, transform=transform),
        replace(found, folder=f"{entry.name}/{found.version}"),
    )


def declared(entry: ModelEntry, version: str | None = None) -> tuple[Model, ModelVersion]:
    """The model as a catalog has it, and one of its served versions."""
    repository = Repository(folder=entry.folder.parent, models={entry.name: entry}, pools={})
    return parse_catalog(compile_catalog(repository)).find(entry.name, version)


def answer(model: ServedModel, request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The outputs by name, in the protocol's JSON form, for a request in that form."""
    validated = InferenceRequest.model_validate(request)
    result = infer(model, validated, deadline_s=time.monotonic() + RUN_TIMEOUT_S)
    header, _ = encode(result)
    return {output["name"]: output for output in orjson.loads(header)["outputs"]}
