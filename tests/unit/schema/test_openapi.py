"""The API's description is valid, complete for what is served, and its examples are requests that pass."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from shared.catalog import Catalog, FileSpec, Model, ModelVersion, SessionSpec, TensorSpec
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.schema.examples import example_request, golden_requests
from shared.schema.openapi import build_openapi, json_schemas

VALIDATORS = load_validators(export_validators())
MODELS = Path(__file__).parents[3] / "models"


def model(name, *, inputs, classes=("realtime",)):
    version = ModelVersion(
        model=name,
        version="1",
        folder=f"models/{name}/1",
        files=(FileSpec(path="model.onnx", sha256="0" * 64, size_bytes=1),),
        graph_inputs=inputs,
        graph_outputs=(),
        inputs=inputs,
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
        row_independent=True,
        stacking_tolerance=None,
    )
    return Model(
        name=name,
        description="Says something.",
        pool="shared",
        latency_classes=tuple(classes),
        compute="cpu",
        default_version="1",
        target_p99_ms=100,
        allow_non_finite=False,
        transform=None,
        session=SessionSpec(
            intra_op_threads=1, inter_op_threads=1, optimization="all", memory_arena=True
        ),
        max_batch_size=1,
        max_delay_ms=0,
        versions={"1": version},
    )


def tensor(name="x", datatype="FP32", shape=(-1, 4)):
    return TensorSpec(name=name, datatype=datatype, shape=shape)


CATALOG = Catalog(
    models={
        item.name: item
        for item in (
            model("iris-lr", inputs=(tensor(),)),
            model("texts", inputs=(tensor(datatype="BYTES", shape=(-1,)), tensor("n", "BOOL", ()))),
            model("half", inputs=(tensor(datatype="FP16"),)),
            model("nightly", inputs=(tensor(),), classes=("batch",)),
        )
    }
)
GOLDEN = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]
}


def document(**arguments):
    return build_openapi(
        CATALOG, server_url="http://127.0.0.1:1/base", examples={"iris-lr": GOLDEN}, **arguments
    )


def operations_of(described):
    return [
        (method, path, operation)
        for path, item in described["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]


def test_the_document_is_valid_openapi_3_1():
    described = json.loads(json.dumps(document()))

    assert described["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


def test_the_document_of_an_empty_catalog_is_valid_too():
    described = build_openapi(Catalog(models={}))

    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []
    assert "servers" not in described


def test_it_lists_the_calls_that_are_answered_and_no_others():
    called = {f"{method.upper()} {path}" for method, path, _ in operations_of(document())}
    of_models = {
        f"GET /v2/models/{{model}}{version}{call}"
        for version in ("", "/versions/{version}")
        for call in ("", "/ready", "/config")
    }

    assert called == of_models | {
        "GET /v2",
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "GET /v2/models",
        "POST /v2/repository/index",
        "POST /v2/models/{model}/infer",
        "POST /v2/models/{model}/versions/{version}/infer",
        "POST /v2/jobs",
        "GET /v2/jobs",
        "PUT /v2/jobs/{id}",
        "GET /v2/jobs/{id}",
        "POST /v2/jobs/{id}/cancel",
        "GET /v2/jobs/{id}/result",
        "POST /v2/uploads",
        "POST /v2/batches",
        "GET /v2/batches",
        "GET /v2/batches/{id}",
        "POST /v2/batches/{id}/cancel",
        "POST /v2/batches/{id}/retry",
        "POST /v2/models/iris-lr/infer",
        "POST /v2/models/texts/infer",
        "POST /v2/models/half/infer",
    }


def test_a_call_needs_a_key_a_token_or_a_signature_with_the_scope_of_the_call():
    described = document()

    schemes = described["components"]["securitySchemes"]
    assert described["security"] == [{name: []} for name in schemes]
    assert schemes["apiKey"]["name"] == "x-api-key"
    assert schemes["token"]["scheme"] == "bearer"
    for _, path, operation in operations_of(described):
        [scopes] = {tuple(next(iter(way.values()))) for way in operation["security"]}
        assert len(operation["security"]) == len(schemes)
        assert (scopes == ("infer",)) is path.endswith("/infer")


def test_a_golden_request_is_the_example_where_there_is_one():
    assert example_in(document(), "iris-lr") == GOLDEN


def test_a_made_example_has_the_declared_inputs():
    assert example_in(document(), "texts") == {
        "inputs": [
            {"name": "x", "datatype": "BYTES", "shape": [1], "data": ["text"]},
            {"name": "n", "datatype": "BOOL", "shape": [], "data": [False]},
        ]
    }


def test_a_datatype_that_json_cannot_carry_gets_no_example():
    content = document()["paths"]["/v2/models/half/infer"]["post"]["requestBody"]["content"]

    assert "example" not in content["application/json"]
    assert example_request([tensor(shape=(1000, 1000))]) is None


def example_in(described, name):
    operation = described["paths"][f"/v2/models/{name}/infer"]["post"]
    assert operation["x-laneway-model"] == name
    return operation["requestBody"]["content"]["application/json"]["example"]


def test_every_example_passes_the_validator_and_the_published_schema():
    described = document()
    published = jsonschema.Draft202012Validator(json_schemas()["InferenceRequest"])

    for name in ("iris-lr", "texts"):
        example = example_in(described, name)
        assert VALIDATORS.inference_request(example).inputs
        published.validate(example)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in MODELS.glob("*/golden.json")))
def test_the_golden_request_of_a_model_in_the_repository_is_a_request(name):
    assert VALIDATORS.inference_request(golden_requests(MODELS)[name]).inputs


def test_a_model_without_a_readable_golden_request_is_left_out(tmp_path):
    for name, text in (
        ("none", None),
        ("other", "{}"),
        ("huge", '{"request":"%s"}' % ("x" * 600_000)),
    ):
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "golden.json").write_text(text)

    assert golden_requests(tmp_path) == {}


@pytest.mark.parametrize("name", sorted(json_schemas()))
def test_a_published_schema_is_valid_json_schema_2020_12(name):
    schema = json_schemas()[name]

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": []},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "float"}]},
        {"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32"}]},
        {**GOLDEN, "parameters": {"a": {}}},
    ],
)
def test_the_published_schema_refuses_what_the_validator_refuses(body):
    published = jsonschema.Draft202012Validator(json_schemas()["InferenceRequest"])

    assert not published.is_valid(body)
