"""The calls about jobs and uploads as OpenAPI describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from shared.schema.status import JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAG: Final = {"name": "jobs", "description": "Ask now, fetch the answer later."}
_COMMON: Final = {"401": "Unauthorized", "403": "Forbidden", "429": "TooMany", "500": "Failed"}
_STORED: Final = _COMMON | {"503": "Unavailable"}
_OF_A_JOB: Final = _STORED | {"404": "NotFound"}
_OF_A_SUBMISSION: Final = _OF_A_JOB | {
    "400": "BadRequest",
    "409": "Conflict",
    "413": "TooLarge",
    "415": "MediaType",
}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _schema(name)}}


def _refusal(description: str) -> dict[str, Any]:
    return {"description": description, "content": _json("ErrorBody")}


JOB_RESPONSES: Final[dict[str, Any]] = {
    "Conflict": _refusal("The id or the Idempotency-Key belongs to another payload."),
    "NotFinished": {
        **_refusal("The job has not ended yet; `Retry-After` says when to ask again."),
        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
    },
    "Gone": _refusal("The job was canceled or expired, or its result was removed."),
    "Accepted": {
        "description": "The job is stored and will be run.",
        "headers": {
            "Location": {"schema": {"type": "string"}},
            "Retry-After": {"schema": {"type": "integer"}},
            "Preference-Applied": {"schema": {"type": "string"}},
        },
        "content": _json("Job"),
    },
}

_JOB: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}


def _in_query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_FILTERS: Final = (
    _in_query("cursor", {"type": "string"}, "That of the page before."),
    _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}, "Jobs."),
    _in_query("status", {"enum": list(get_args(JobStatus))}, "Only jobs that stand so."),
    _in_query("model", {"type": "string"}, "Only jobs of this model."),
)
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key makes the same job, once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": (
        "`respond-async` makes a job of the request (202); with `wait=N` the answer itself comes "
        "if it is there within N seconds, 20 at most (RFC 7240)."
    ),
    "schema": {"type": "string"},
}


def _operation(
    operation_id: str,
    summary: str,
    responses: Mapping[str, Any],
    refusals: Mapping[str, str],
    *,
    body: str | None = None,
    parameters: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    refused = {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in refusals.items()
    }
    described: dict[str, Any] = {
        "operationId": operation_id,
        "summary": summary,
        "tags": [TAG["name"]],
        "responses": dict(sorted({**responses, **refused}.items())),
    }
    if parameters:
        described["parameters"] = list(parameters)
    if body is not None:
        described["requestBody"] = {"required": body != "UploadRequest", "content": _json(body)}
    return described


def _ok(name: str, description: str = "OK") -> dict[str, Any]:
    return {"description": description, "content": _json(name)}


_ACCEPTED: Final = {
    "202": {"$ref": "#/components/responses/Accepted"},
    "200": _ok("Job", "It was accepted before, from the same payload."),
}
_ANSWER: Final = {
    "200": {
        "description": "What the call on the spot would have answered.",
        "headers": {
            "Inference-Header-Content-Length": {
                "$ref": "#/components/headers/InferenceHeaderContentLength"
            }
        },
        "content": _json("InferenceResponse")
        | {
            "application/octet-stream": {
                "schema": {"type": "string", "contentMediaType": "application/octet-stream"}
            }
        },
    },
    "307": {
        "description": "A large result: fetch its body there, without the API key.",
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
}

JOB_PATHS: Final[dict[str, Any]] = {
    "/v2/jobs": {
        "post": _operation(
            "create_job",
            "Submit a job",
            _ACCEPTED,
            _OF_A_SUBMISSION,
            body="JobSubmission",
            parameters=[_IDEMPOTENCY_KEY],
        ),
        "get": _operation(
            "jobs",
            "Jobs, newest first",
            {"200": _ok("JobPage")},
            _STORED | {"400": "BadRequest"},
            parameters=_FILTERS,
        ),
    },
    "/v2/jobs/{id}": {
        "parameters": [_JOB],
        "put": _operation(
            "put_job",
            "Submit a job under an id of one's own, once",
            _ACCEPTED,
            _OF_A_SUBMISSION,
            body="JobSubmission",
        ),
        "get": _operation("job", "How a job stands", {"200": _ok("Job")}, _OF_A_JOB),
    },
    "/v2/jobs/{id}/cancel": {
        "parameters": [_JOB],
        "post": _operation(
            "cancel_job", "Cancel a job that has not ended", {"200": _ok("Job")}, _OF_A_JOB
        ),
    },
    "/v2/jobs/{id}/result": {
        "parameters": [_JOB],
        "get": _operation(
            "job_result",
            "The answer; of a failed job the status and body of its failure",
            _ANSWER,
            _OF_A_JOB | {"400": "BadRequest", "409": "NotFinished", "410": "Gone"},
        ),
    },
    "/v2/uploads": {
        "post": _operation(
            "upload",
            "A place for an input too large for a body",
            {"201": _ok("Upload", "Usable for a quarter of an hour.")},
            _COMMON | {"400": "BadRequest"},
            body="UploadRequest",
        ),
    },
}
