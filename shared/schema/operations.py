"""The calls of the API as OpenAPI describes them: addresses, answers, headers; no model of the catalog.

A call that the service refuses with 501 is not listed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.schema.described import idempotency_key
from shared.schema.job_operations import PREFER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAGS: Final[list[dict[str, Any]]] = [
    {"name": "inference", "description": "Ask a model."},
    {"name": "models", "description": "What is served, and whether it would answer."},
    {"name": "service", "description": "The service itself."},
]

GATEWAY_ERROR: Final[dict[str, Any]] = {
    "title": "GatewayError",
    "type": "object",
    "description": "A refusal by the gateway, before the service is reached.",
    "properties": {"message": {"type": "string"}},
    "required": ["message"],
}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refusal(description: str, *, gateway: bool = False) -> dict[str, Any]:
    ours = _schema("ErrorBody")
    schema = {"anyOf": [ours, _schema("GatewayError")]} if gateway else ours
    return {"description": description, "content": _json(schema)}


RESPONSES: Final[dict[str, Any]] = {
    "BadRequest": _refusal("Malformed, or not what the model takes; `field` says where."),
    "Unauthorized": _refusal("No API key came.", gateway=True),
    "Forbidden": _refusal("The API key is not known, or revoked.", gateway=True),
    "NotFound": _refusal("No such model, version or address."),
    "TooLarge": _refusal("The body, its decoded form or the answer is past a limit.", gateway=True),
    "MediaType": _refusal("An encoding that is not supported, or binary sent as text."),
    "TooMany": {
        **_refusal(
            "More than the tenant's limits allow, which `code` and the headers tell of, or more calls "
            "than the stage does; try again later.",
            gateway=True,
        ),
        "headers": {
            name: {"$ref": f"#/components/headers/{name.replace('-', '')}"}
            for name in ("Retry-After", "RateLimit", "RateLimit-Policy")
        },
    },
    "Failed": _refusal("A failure of the service or of the model.", gateway=True),
    "Unavailable": _refusal("Cannot be answered now; try again later.", gateway=True),
}

_COMMON: Final = {"401": "Unauthorized", "403": "Forbidden", "429": "TooMany", "500": "Failed"}
_OF_A_MODEL: Final = {"404": "NotFound"}
_OF_INFERENCE: Final = {
    "400": "BadRequest",
    "404": "NotFound",
    "413": "TooLarge",
    "415": "MediaType",
    "503": "Unavailable",
}
_OF_A_JOB: Final = {"202": "Accepted", "409": "Conflict"}
"""Of an inference that prefers an asynchronous answer."""

HEADERS: Final[dict[str, Any]] = {
    "InferenceHeaderContentLength": {
        "description": "Bytes of the JSON part of an answer with binary tensors.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RetryAfter": {
        "description": "Seconds to wait before the call is made again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimit": {
        "description": (
            "What is left of each limit of the tenant (`r`), and in how many seconds there is more (`t`); "
            "draft-ietf-httpapi-ratelimit-headers-10. Answers to tenants without limits have none."
        ),
        "schema": {"type": "string"},
        "example": '"requests";r=3;t=2, "bytes";r=1048576;t=3600',
    },
    "RateLimitPolicy": {
        "description": (
            "Each limit of the tenant (`q`), its window in seconds (`w`) and, where it is not requests, "
            "what is counted (`qu`); the same draft."
        ),
        "schema": {"type": "string"},
        "example": '"requests";q=10;w=2, "bytes";q=10485760;w=86400;qu="content-bytes"',
    },
}


def _responses(success: dict[str, Any], refusals: Mapping[str, str]) -> dict[str, Any]:
    named = {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in refusals.items()
    }
    return {"200": success} | dict(sorted(named.items()))


def _get(
    operation_id: str,
    summary: str,
    schema: str,
    *,
    tag: str = "models",
    refusals: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    success = {"description": "OK", "content": _json(_schema(schema))}
    return {
        "get": {
            "operationId": operation_id,
            "summary": summary,
            "tags": [tag],
            "responses": _responses(success, {**_COMMON, **(refusals or {})}),
        }
    }


_INDEX: Final[dict[str, Any]] = {
    "operationId": "repository_index",
    "summary": "Every version of every model, with its state",
    "tags": ["models"],
    "requestBody": {"required": False, "content": _json(_schema("RepositoryIndexRequest"))},
    "responses": _responses(
        {
            "description": "OK",
            "content": _json({"type": "array", "items": _schema("RepositoryIndexEntry")}),
        },
        _COMMON | {"400": "BadRequest"},
    ),
}

SERVICE_PATHS: Final[dict[str, Any]] = {
    "/v2": _get("server_metadata", "Name, version, extensions", "ServerMetadata", tag="service"),
    "/v2/health/live": _get("server_live", "Is it alive?", "LiveBody", tag="service"),
    "/v2/health/ready": _get(
        "server_ready",
        "Would every model answer?",
        "ReadyBody",
        tag="service",
        refusals={"503": "Unavailable"},
    ),
    "/v2/models": _get("models", "Names of the models", "ModelList"),
    "/v2/repository/index": {"post": _INDEX},
}


def model_paths() -> dict[str, Any]:
    """The calls about any model, without and with a version in the address."""
    return _paths_under("/v2/models/{model}", "", ["Model"]) | _paths_under(
        "/v2/models/{model}/versions/{version}", "_version", ["Model", "Version"]
    )


def _paths_under(address: str, suffix: str, names: Sequence[str]) -> dict[str, Any]:
    described = {
        "": _get(
            f"model_metadata{suffix}", "Inputs and outputs", "ModelMetadata", refusals=_OF_A_MODEL
        ),
        "/ready": _get(
            f"model_ready{suffix}",
            "Would it answer?",
            "ModelReadyBody",
            refusals=_OF_A_MODEL | {"503": "Unavailable"},
        ),
        "/config": _get(
            f"model_config{suffix}", "Configuration", "ModelConfig", refusals=_OF_A_MODEL
        ),
        "/infer": {
            "post": infer_operation(
                operation_id=f"infer{suffix}",
                summary="Ask a model",
                description="The answer, on the spot.",
                example=None,
            )
        },
    }
    parameters = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    return {address + path: {"parameters": parameters, **item} for path, item in described.items()}


def infer_operation(
    *, operation_id: str, summary: str, description: str, example: Mapping[str, Any] | None
) -> dict[str, Any]:
    """One inference call; `example` is a request that works, or None."""
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    request: dict[str, Any] = {"schema": _schema("InferenceRequest")}
    if example is not None:
        request["example"] = example
    success = {
        "description": "The outputs; binary where the request asks for it.",
        "headers": {
            "Inference-Header-Content-Length": {
                "$ref": "#/components/headers/InferenceHeaderContentLength"
            }
        },
        "content": _json(_schema("InferenceResponse")) | {"application/octet-stream": binary},
    }
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": ["inference"],
        "parameters": [
            {"$ref": "#/components/parameters/InferenceHeaderContentLength"},
            {"$ref": "#/components/parameters/Prefer"},
            {"$ref": "#/components/parameters/IdempotencyKey"},
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": request, "application/octet-stream": binary},
        },
        "responses": _responses(success, _OF_A_JOB | _COMMON | _OF_INFERENCE),
    }


def path_parameters(models: Sequence[str]) -> dict[str, Any]:
    """The parameters that calls refer to; `Model` lists the models that are served."""
    return {
        "Model": _in_path("model", {"type": "string"} | ({"enum": list(models)} if models else {})),
        "Version": _in_path("version", {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"}),
        "InferenceHeaderContentLength": {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "required": False,
            "description": (
                "Bytes of the JSON part when binary tensors follow it, before any "
                "Content-Encoding; 0: the body is the one input's data and nothing else."
            ),
            "schema": {"type": "integer", "minimum": 0},
        },
        "Prefer": PREFER,
        "IdempotencyKey": idempotency_key("job of a request that prefers an asynchronous answer"),
    }


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}
