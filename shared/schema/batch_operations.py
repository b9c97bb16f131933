"""The calls about batches as OpenAPI describes them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from shared.schema import described
from shared.schema.job_operations import ID

TAG: Final = {
    "name": "batches",
    "description": "Run a model over a file of lines; `BatchLine` is a line of it, `AnswerLine` one of the output.",
}
BATCH_RESPONSES: Final[dict[str, Any]] = {
    "BatchAccepted": described.accepted("Batch", "The batch is stored and will be run."),
}

_BATCH: Final = described.in_path(ID)
_ACCEPTED: Final = {
    "202": {"$ref": "#/components/responses/BatchAccepted"},
    "200": described.ok("Batch", "It was accepted before, from the same payload."),
}
_operation = partial(described.operation, TAG["name"])

BATCH_PATHS: Final[dict[str, Any]] = {
    "/v2/batches": {
        "post": _operation(
            "create_batch",
            "Run a model over every line of a file on S3",
            _ACCEPTED,
            described.OF_A_SUBMISSION,
            body="BatchSubmission",
            parameters=[described.idempotency_key("batch")],
        ),
        "get": _operation(
            "batches",
            "Batches, newest first",
            {"200": described.ok("BatchPage")},
            described.STORED | {"400": "BadRequest"},
            parameters=[described.CURSOR, described.limit_of("Batches.")],
        ),
    },
    "/v2/batches/{id}": {
        "parameters": [_BATCH],
        "get": _operation(
            "batch",
            "How a batch stands, and where its files are",
            {"200": described.ok("Batch")},
            described.OF_ONE,
        ),
    },
    "/v2/batches/{id}/cancel": {
        "parameters": [_BATCH],
        "post": _operation(
            "cancel_batch",
            "Cancel a batch; what is done of it is joined and kept",
            {"200": described.ok("Batch")},
            described.OF_ONE,
        ),
    },
    "/v2/batches/{id}/retry": {
        "parameters": [_BATCH],
        "post": _operation(
            "retry_batch",
            "Run the lines that failed again, as a new batch",
            _ACCEPTED,
            described.OF_ONE | {"400": "BadRequest", "409": "NotFinished"},
        ),
    },
}
