"""Which scope each call of the API needs: the one table, for ingress, the API's description and the docs.

A scope may be granted for single models; a call about a model asks for that model's. Inference on the
spot is checked where it runs, in the realtime function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.principal import INFER, READ, SUBMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

NONE: Final = "none"
"""Whoever the stage knows may call."""
ANY: Final = "any"
"""Whoever has any scope at all may call: what is served is no secret between tenants."""

_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = f"{_MODEL}/versions/{{version}}"

NEEDED: Final[Mapping[str, Mapping[str, str]]] = {
    "/v2": {"GET": NONE},
    "/v2/health/live": {"GET": NONE},
    "/v2/health/ready": {"GET": NONE},
    "/v2/models": {"GET": ANY},
    _MODEL: {"GET": ANY},
    f"{_MODEL}/ready": {"GET": ANY},
    f"{_MODEL}/config": {"GET": ANY},
    f"{_MODEL}/infer": {"POST": INFER},
    _VERSION: {"GET": ANY},
    f"{_VERSION}/ready": {"GET": ANY},
    f"{_VERSION}/config": {"GET": ANY},
    f"{_VERSION}/infer": {"POST": INFER},
    "/v2/repository/index": {"POST": ANY},
    "/v2/jobs": {"GET": READ, "POST": SUBMIT},
    "/v2/jobs/{id}": {"GET": READ, "PUT": SUBMIT},
    "/v2/jobs/{id}/cancel": {"POST": SUBMIT},
    "/v2/jobs/{id}/result": {"GET": READ},
    "/v2/uploads": {"POST": SUBMIT},
    "/v2/batches": {"GET": READ, "POST": SUBMIT},
    "/v2/batches/{id}": {"GET": READ},
    "/v2/batches/{id}/cancel": {"POST": SUBMIT},
    "/v2/batches/{id}/retry": {"POST": SUBMIT},
}
"""By address and method. An inference with `Prefer: respond-async` makes a job and needs `submit`."""

SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "A key, in a stage that takes no tokens.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of one of the stage's issuers, or a key in a stage that takes both.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4 for `execute-api`, in a stage that takes IAM.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
}
"""Which of them a stage takes is the stage's; what a call needs is the same with each."""


def secured(needed: str) -> list[dict[str, list[str]]]:
    """OpenAPI's `security` of a call: any of the schemes, with the scope that it needs."""
    scopes = [] if needed in (NONE, ANY) else [needed]
    return [{scheme: scopes} for scheme in SECURITY_SCHEMES]
