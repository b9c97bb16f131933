"""What many serverless models look like: Powertools with its decorators, and an S3 client at import.

The client is where such a function would fetch its model or write its results; here it is made and
not used, and the model lies in the package, which is the faster of the two.
"""

from __future__ import annotations

from typing import Any

import boto3
import model
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.metrics import MetricUnit
from wire import InferenceRequest, InferenceResponse

logger = Logger(service="peer")
metrics = Metrics(namespace="Peer", service="peer")
tracer = Tracer(service="peer")
s3 = boto3.client("s3")
app = APIGatewayHttpResolver(enable_validation=True)


@app.post(f"/v2/models/{model.MODEL_NAME}/infer")
def infer(request: InferenceRequest) -> InferenceResponse:
    return model.infer(request)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    metrics.add_metric("requests", MetricUnit.Count, 1)
    logger.info("request", model=model.MODEL_NAME)
    return app.resolve(event, context)
