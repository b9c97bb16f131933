"""The API described for machines: JSON Schemas and an OpenAPI 3.1 document, made from the models.

Made at synth, where the catalog is known; imports Pydantic. Lists only what this service answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from shared.principal import INFER
from shared.schema import batch_operations, job_operations, operations
from shared.schema.batch import AnswerLine, Batch, BatchLine, BatchPage, BatchSubmission
from shared.schema.examples import example_request
from shared.schema.job import Job, JobPage, JobSubmission, ReferenceMessage, SubmissionMessage
from shared.schema.model import (
    ErrorBody,
    LiveBody,
    ModelConfig,
    ModelList,
    ModelMetadata,
    ModelReadyBody,
    ReadyBody,
    RepositoryIndexEntry,
    RepositoryIndexRequest,
    ServerMetadata,
)
from shared.schema.request import InferenceRequest, InferenceResponse
from shared.schema.scopes import NEEDED, NONE, SECURITY_SCHEMES, secured
from shared.schema.upload import Upload, UploadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from shared.schema.examples import DescribedCatalog, DescribedModel, DescribedTensor

API_VERSION: Final = "2"
"""Of the Open Inference Protocol."""
JSON_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

PUBLIC_MODELS: Final[tuple[type[BaseModel], ...]] = (
    InferenceRequest,
    InferenceResponse,
    ServerMetadata,
    LiveBody,
    ReadyBody,
    ModelList,
    ModelMetadata,
    ModelReadyBody,
    ModelConfig,
    RepositoryIndexRequest,
    RepositoryIndexEntry,
    ErrorBody,
    JobSubmission,
    Job,
    JobPage,
    UploadRequest,
    Upload,
    BatchSubmission,
    Batch,
    BatchPage,
    BatchLine,
    AnswerLine,
)
QUEUE_MODELS: Final[tuple[type[BaseModel], ...]] = (SubmissionMessage, ReferenceMessage)
"""What may be on a queue: public too, but no body of a call."""

_ABOUT: Final = (
    "Inference over HTTP in the Open Inference Protocol (V2): JSON and binary tensors, gzip and "
    "deflate. Any client of the protocol works, Triton's among them. Work that can wait becomes a "
    "job: `POST /v2/jobs`, or `Prefer: respond-async` on a request. A file of requests becomes a "
    "batch: `POST /v2/batches`. Refusals carry `error`, `code`, `request_id` and, where there is "
    "one, `field`."
)


def json_schemas() -> dict[str, Any]:
    """One self-contained JSON Schema (draft 2020-12) for every public body and message, by its name."""
    return {
        model.__name__: {"$schema": JSON_SCHEMA_DIALECT, **model.model_json_schema()}
        for model in (*PUBLIC_MODELS, *QUEUE_MODELS)
    }


def build_openapi(
    catalog: DescribedCatalog,
    *,
    server_url: str | None = None,
    examples: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a service with these models.

    `examples` are requests that are known to work, by model; a model without one gets a request
    made from its declared inputs. `server_url` None leaves the server to whoever serves it.
    """
    known = examples or {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Laneway", "version": API_VERSION, "description": _ABOUT},
        "jsonSchemaDialect": JSON_SCHEMA_DIALECT,
        **({"servers": [{"url": server_url}]} if server_url else {}),
        "security": secured(NONE),
        "tags": [*operations.TAGS, job_operations.TAG, batch_operations.TAG],
        "paths": _with_scopes(
            operations.SERVICE_PATHS
            | job_operations.JOB_PATHS
            | batch_operations.BATCH_PATHS
            | operations.model_paths()
        )
        | {
            f"/v2/models/{model.name}/infer": _model_path(model, known.get(model.name))
            for model in catalog.models.values()
            if "realtime" in model.latency_classes
        },
        "components": {
            "schemas": _component_schemas(),
            "responses": operations.RESPONSES
            | job_operations.JOB_RESPONSES
            | batch_operations.BATCH_RESPONSES,
            "parameters": operations.path_parameters(list(catalog.models)),
            "headers": operations.HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _with_scopes(paths: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Each operation with the scope that it needs."""
    return {
        path: {
            name: {**member, "security": secured(NEEDED[path][name.upper()])}
            if name.upper() in NEEDED[path]
            else member
            for name, member in item.items()
        }
        for path, item in paths.items()
    }


def _component_schemas() -> dict[str, Any]:
    _, schema = models_json_schema(
        [(model, "validation") for model in PUBLIC_MODELS],
        ref_template="#/components/schemas/{model}",
    )
    definitions: dict[str, Any] = schema["$defs"]
    return definitions | {"GatewayError": operations.GATEWAY_ERROR}


def _model_path(model: DescribedModel, known: Mapping[str, Any] | None) -> dict[str, Any]:
    version = model.versions[model.default_version]
    example = known if known is not None else example_request(version.inputs)
    about = [
        model.description,
        f"Version {version.version} unless another is named.",
        "Inputs: " + "; ".join(_told(item) for item in version.inputs) + ".",
        "Outputs: " + "; ".join(_told(item) for item in version.outputs) + ".",
    ]
    operation = operations.infer_operation(
        operation_id=f"infer_{model.name.replace('-', '_')}",
        summary=f"Ask {model.name}",
        description="\n\n".join(part for part in about if part),
        example=example,
    )
    return {"post": operation | {"x-laneway-model": model.name, "security": secured(INFER)}}


def _told(tensor: DescribedTensor) -> str:
    shape = ", ".join("any" if size < 0 else str(size) for size in tensor.shape)
    return f"`{tensor.name}` {tensor.datatype} [{shape}]"
