"""What the service says about itself has the form that the schema, and so the API's description, gives."""

from __future__ import annotations

import pytest

from functions.ingress import descriptions
from shared.errors import InvalidRequestError
from shared.schema.model import (
    ErrorBody,
    ModelConfig,
    ModelMetadata,
    RepositoryIndexEntry,
    ServerMetadata,
)
from tests.unit.schema.test_openapi import CATALOG

MODELS = sorted(CATALOG.models)


def same(schema, answer):
    """Whether the schema reads every member of the answer, and has none that the answer lacks."""
    return schema.model_validate(answer).model_dump(mode="json") == answer


@pytest.mark.parametrize("name", MODELS)
def test_a_models_metadata_and_configuration_are_as_described(name):
    found = CATALOG.find(name)

    assert same(ModelMetadata, descriptions.model_metadata(*found))
    assert same(ModelConfig, descriptions.model_config(*found))


def test_the_servers_metadata_is_as_described():
    assert same(ServerMetadata, descriptions.server_metadata())


@pytest.mark.parametrize("reason", [None, "the pool has no alias"])
def test_an_entry_of_the_repository_index_is_as_described(reason):
    assert same(RepositoryIndexEntry, descriptions.index_entry("iris", "1", reason=reason))


@pytest.mark.parametrize("field", [None, "inputs[0].shape"])
def test_a_refusal_is_as_described(field):
    body = InvalidRequestError("wrong", field=field).body("request-1")

    read = ErrorBody.model_validate(body)

    assert read.model_dump(exclude_none=True) == body
