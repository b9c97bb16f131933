"""Our handler as a careful Powertools user writes it: every decorator and the validating resolver.

One log line a request with the same facts as ours, and the same metrics in the same dimensions of
stage, pool, model and version. Annotations are evaluated here: `capture_method` hides the module in
which the resolver would have to look up the names of postponed ones.
"""

import time
from typing import Any

import model
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from wire import InferenceRequest, InferenceResponse

logger = Logger(service="peer")
metrics = Metrics(namespace="Peer", service="peer")
tracer = Tracer(service="peer")
app = APIGatewayHttpResolver(enable_validation=True)


@app.post(f"/v2/models/{model.MODEL_NAME}/infer")
@tracer.capture_method(capture_response=False)
def infer(request: InferenceRequest) -> InferenceResponse:
    started = time.perf_counter()
    answer = model.infer(request)
    metrics.add_metric("model_ms", MetricUnit.Milliseconds, (time.perf_counter() - started) * 1000)
    return answer


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    started = time.perf_counter()
    answer = app.resolve(event, context)
    latency_ms = (time.perf_counter() - started) * 1000
    for name, value in {"stage": "bench", "pool": "shared", "version": "1"}.items():
        metrics.add_dimension(name, value)
    metrics.add_dimension("model", model.MODEL_NAME)
    metrics.add_metric("requests", MetricUnit.Count, 1)
    metrics.add_metric("latency_ms", MetricUnit.Milliseconds, latency_ms)
    metrics.add_metric("request_bytes", MetricUnit.Bytes, len(event["body"]))
    metrics.add_metric("response_bytes", MetricUnit.Bytes, len(answer["body"]))
    logger.info(
        "request",
        model=model.MODEL_NAME,
        version="1",
        status=answer["statusCode"],
        latency_ms=latency_ms,
        request_bytes=len(event["body"]),
        response_bytes=len(answer["body"]),
    )
    return answer
