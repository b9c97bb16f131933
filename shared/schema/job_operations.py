"""The calls about jobs and uploads as OpenAPI describes them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, get_args

from shared.schema import described
from shared.schema.status import JobStatus

TAG: Final = {"name": "jobs", "description": "Ask now, fetch the answer later."}
ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": (
        "`respond-async` makes a job of the request (202); with `wait=N` the answer itself comes "
        "if it is there within N seconds, 20 at most (RFC 7240)."
    ),
    "schema": {"type": "string"},
}
JOB_RESPONSES: Final[dict[str, Any]] = {
    "Conflict": described.refusal("The id or the Idempotency-Key belongs to another payload."),
    "NotFinished": {
        **described.refusal("It has not ended yet; `Retry-After` says when to ask again."),
        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
    },
    "Gone": described.refusal("The job was canceled or expired, or its result was removed."),
    "Accepted": described.accepted(
        "Job", "The job is stored and will be run.", "Preference-Applied"
    ),
}

_JOB: Final = described.in_path(ID)
_FILTERS: Final = (
    described.CURSOR,
    described.limit_of("Jobs."),
    described.in_query("status", {"enum": list(get_args(JobStatus))}, "Only jobs that stand so."),
    described.in_query("model", {"type": "string"}, "Only jobs of this model."),
)
_ACCEPTED: Final = {
    "202": {"$ref": "#/components/responses/Accepted"},
    "200": described.ok("Job", "It was accepted before, from the same payload."),
}
_ANSWER: Final = {
    "200": {
        "description": "What the call on the spot would have answered.",
        "headers": {
            "Inference-Header-Content-Length": {
                "$ref": "#/components/headers/InferenceHeaderContentLength"
            }
        },
        "content": described.json_of("InferenceResponse")
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
_operation = partial(described.operation, TAG["name"])

JOB_PATHS: Final[dict[str, Any]] = {
    "/v2/jobs": {
        "post": _operation(
            "create_job",
            "Submit a job",
            _ACCEPTED,
            described.OF_A_SUBMISSION,
            body="JobSubmission",
            parameters=[described.idempotency_key("job")],
        ),
        "get": _operation(
            "jobs",
            "Jobs, newest first",
            {"200": described.ok("JobPage")},
            described.STORED | {"400": "BadRequest"},
            parameters=_FILTERS,
        ),
    },
    "/v2/jobs/{id}": {
        "parameters": [_JOB],
        "put": _operation(
            "put_job",
            "Submit a job under an id of one's own, once",
            _ACCEPTED,
            described.OF_A_SUBMISSION,
            body="JobSubmission",
        ),
        "get": _operation(
            "job", "How a job stands", {"200": described.ok("Job")}, described.OF_ONE
        ),
    },
    "/v2/jobs/{id}/cancel": {
        "parameters": [_JOB],
        "post": _operation(
            "cancel_job",
            "Cancel a job that has not ended",
            {"200": described.ok("Job")},
            described.OF_ONE,
        ),
    },
    "/v2/jobs/{id}/result": {
        "parameters": [_JOB],
        "get": _operation(
            "job_result",
            "The answer; of a failed job the status and body of its failure",
            _ANSWER,
            described.OF_ONE | {"400": "BadRequest", "409": "NotFinished", "410": "Gone"},
        ),
    },
    "/v2/uploads": {
        "post": _operation(
            "upload",
            "A place for an input too large for a body",
            {"201": described.ok("Upload", "Usable for a quarter of an hour.")},
            described.OF_AN_UPLOAD,
            body="UploadRequest",
        ),
    },
}
