"""Records what tritonclient sends as the events that API Gateway makes of it: `python -m tests.events.record`.

The client is real and so is its connection; the event is made by the gateway of `cli.testing`, then
dressed with the headers that Amazon's edge adds. Run it again after an upgrade of tritonclient.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

from cli.testing import start_service
from shared.principal import DEFAULT_SCOPES, Principal, read_scopes, write_verdict
from tests.fixtures.small_models import write_repository

HERE = Path(__file__).parent
API = "a1b2c3d4e5"
HOST = f"{API}.execute-api.eu-west-1.amazonaws.com"
EDGE = {
    "host": HOST,
    "x-amzn-trace-id": "Root=1-65f1c0de-0123456789abcdef01234567",
    "x-forwarded-for": "203.0.113.7",
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https",
    "x-api-key": "lw_recorded",
}
KEY_ID = "0123456789abcdef"
CALLER = write_verdict(
    Principal("acme", f"key:{KEY_ID}", read_scopes(DEFAULT_SCOPES)), key_id=KEY_ID
)


def main() -> None:
    """Write one file for each form."""
    with tempfile.TemporaryDirectory() as folder:
        models = write_repository(Path(folder))
        with start_service(models) as service:
            recorder = Recorder(service)
            record_sync(recorder)
            asyncio.run(record_async(recorder))


class Recorder:
    """Keeps the last event that any function got."""

    def __init__(self, service):
        self.service = service
        self.last = None
        for function in set(service.gateway.routes.values()):
            function.handler = self._listening(function.handler)

    def _listening(self, handler):
        def listen(event, context):
            if "routeKey" in event:  # not a readiness probe of ingress
                self.last = event
            return handler(event, context)

        return listen

    def write(self, name):
        """Keep the last event as `name`.json."""
        event = self.last
        event["headers"] |= EDGE
        context = event["requestContext"]
        context |= {
            "accountId": "123456789012",
            "apiId": API,
            "domainName": HOST,
            "domainPrefix": API,
            "requestId": f"recorded-{name}",
            "authorizer": {"lambda": CALLER},
            "time": "21/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795262400000,
        }
        context["http"]["sourceIp"] = "203.0.113.7"
        text = json.dumps(event, indent=2, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def rows(module=triton, *, binary=True, shape=(1, 2)):
    tensor = module.InferInput("x", list(shape), "FP32")
    tensor.set_data_from_numpy(
        np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape), binary
    )
    return [tensor]


def record_sync(recorder: Recorder) -> None:
    service = recorder.service
    with triton.InferenceServerClient(service.address) as client:
        client.infer("scale", rows(), request_id="42", headers=service.headers)
        recorder.write("infer_binary")
        client.infer(
            "scale",
            rows(),
            model_version="1",
            outputs=[triton.InferRequestedOutput("y", binary_data=True)],
            priority=1,
            timeout=1000,
            parameters={"tenant": "a"},
            headers=service.headers,
        )
        recorder.write("infer_version_and_outputs")
        client.infer(
            "scale",
            rows(binary=False),
            outputs=[triton.InferRequestedOutput("y", binary_data=False)],
            headers=service.headers,
        )
        recorder.write("infer_json")
        client.infer(
            "scale",
            rows(shape=(200, 2)),
            request_compression_algorithm="gzip",
            response_compression_algorithm="gzip",
            headers=service.headers,
        )
        recorder.write("infer_gzip")
        client.infer("scale", rows(shape=(0, 2)), headers=service.headers)
        recorder.write("infer_no_rows")
        client.get_model_repository_index(headers=service.headers)
        recorder.write("repository_index")
        client.get_model_metadata("scale", "1", headers=service.headers)
        recorder.write("model_metadata")


async def record_async(recorder: Recorder) -> None:
    service = recorder.service
    async with triton_aio.InferenceServerClient(service.address) as client:
        await client.infer("scale", rows(triton_aio), headers=service.headers)
        recorder.write("infer_binary_aio")
        await client.infer(
            "scale",
            rows(triton_aio, binary=False),
            outputs=[triton_aio.InferRequestedOutput("y", binary_data=False)],
            headers=service.headers,
        )
        recorder.write("infer_json_aio")


if __name__ == "__main__":
    main()
