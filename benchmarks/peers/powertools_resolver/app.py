"""A plain Powertools resolver with validation: no logger, no metrics, no tracer."""

from __future__ import annotations

from typing import Any

import model
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from wire import InferenceRequest, InferenceResponse

app = APIGatewayHttpResolver(enable_validation=True)


@app.post(f"/v2/models/{model.MODEL_NAME}/infer")
def infer(request: InferenceRequest) -> InferenceResponse:
    return model.infer(request)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)
