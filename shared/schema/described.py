"""What the descriptions of jobs and of batches are made of: one call, its answers, its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COMMON: Final = {"401": "Unauthorized", "403": "Forbidden", "429": "TooMany", "500": "Failed"}
STORED: Final = _COMMON | {"503": "Unavailable"}
OF_ONE: Final = STORED | {"404": "NotFound"}
"""Of a call that names a job or a batch."""
OF_A_SUBMISSION: Final = OF_ONE | {
    "400": "BadRequest",
    "409": "Conflict",
    "413": "TooLarge",
    "415": "MediaType",
}
OF_AN_UPLOAD: Final = _COMMON | {"400": "BadRequest"}
CURSOR: Final[dict[str, Any]] = {
    "name": "cursor",
    "in": "query",
    "schema": {"type": "string"},
    "description": "That of the page before.",
}


def json_of(name: str) -> dict[str, Any]:
    """The content of a body in JSON, by the name of its schema."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def ok(name: str, description: str = "OK") -> dict[str, Any]:
    """An answer in JSON."""
    return {"description": description, "content": json_of(name)}


def refusal(description: str) -> dict[str, Any]:
    """An answer that says why not."""
    return ok("ErrorBody", description)


def accepted(name: str, description: str, *headers: str) -> dict[str, Any]:
    """A 202: what was stored, where it is and when to look; `headers`: further ones, of text."""
    described = {header: {"schema": {"type": "string"}} for header in ("Location", *headers)}
    described["Retry-After"] = {"schema": {"type": "integer"}}
    return {**ok(name, description), "headers": described}


def in_path(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The id in the address."""
    return {"name": "id", "in": "path", "required": True, "schema": schema}


def in_query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    """A member of the query."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def limit_of(what: str) -> dict[str, Any]:
    """How many of them a page holds."""
    return in_query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}, what)


def idempotency_key(what: str) -> dict[str, Any]:
    """The header that makes a call safe to repeat."""
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": f"The same key makes the same {what}, once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }


def operation(
    tag: str,
    operation_id: str,
    summary: str,
    responses: Mapping[str, Any],
    refusals: Mapping[str, str],
    *,
    body: str | None = None,
    parameters: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """One call. `refusals`: status -> name of a described response; `body`: name of a schema."""
    refused = {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in refusals.items()
    }
    described: dict[str, Any] = {
        "operationId": operation_id,
        "summary": summary,
        "tags": [tag],
        "responses": dict(sorted({**responses, **refused}.items())),
    }
    if parameters:
        described["parameters"] = list(parameters)
    if body is not None:
        described["requestBody"] = {"required": body != "UploadRequest", "content": json_of(body)}
    return described
