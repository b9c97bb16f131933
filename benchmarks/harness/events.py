"""The requests that everybody is asked: one row of a model's golden request, as API Gateway sends it."""

from __future__ import annotations

import json
import marshal
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.packages import BUILD, ROOT
from shared.principal import DEFAULT_SCOPES, Principal, read_scopes, write_verdict

_VERDICT = write_verdict(
    Principal("default", "key:0123456789abcdef", read_scopes(DEFAULT_SCOPES)),
    key_id="0123456789abcdef",
)
_NUMPY_NAMES = {"FP32": "float32", "FP64": "float64", "INT64": "int64"}


def one_row_request(model: str) -> dict[str, Any]:
    """The model's first golden request, cut to its first row, in the protocol's JSON."""
    golden = json.loads((ROOT / "models" / model / "golden.json").read_text())
    first = golden[0] if isinstance(golden, list) else golden
    return {"id": "bench", "inputs": [_first_row(tensor) for tensor in first["request"]["inputs"]]}


def _first_row(tensor: dict[str, Any]) -> dict[str, Any]:
    rows, *rest = tensor["shape"]
    data = tensor["data"]
    return {
        "name": tensor["name"],
        "shape": [1, *rest],
        "datatype": tensor["datatype"],
        "data": data[: len(data) // rows],
    }


def infer_event(model: str, request: dict[str, Any], *, version: str | None = None) -> Path:
    """A file with the gateway's event (marshal) that asks `model` this; JSON arrives as text."""
    suffix = f"/versions/{version}" if version else ""
    path = f"/v2/models/{model}{suffix}/infer"
    route = f"/v2/models/{model}/versions/{{version}}/infer" if version else path
    event = {
        "version": "2.0",
        "routeKey": f"POST {route}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            "content-type": "application/json",
            "host": "bench.execute-api.eu-west-1.amazonaws.com",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "bench",
            "authorizer": {"lambda": _VERDICT},
            "domainName": "bench.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "bench",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "bench",
            },
            "requestId": "bench-request",
            "routeKey": f"POST {route}",
            "stage": "$default",
            "time": "21/Nov/2026:00:00:00 +0000",
            "timeEpoch": 1795219200000,
        },
        "body": json.dumps(request),
        "isBase64Encoded": False,
    }
    if version:
        event["pathParameters"] = {"version": version}
    target = BUILD / "events" / f"{model}-{version or 'default'}.marshal"
    return _written(target, event)


def raw_inputs(model: str, request: dict[str, Any]) -> Path:
    """A file (marshal) with the request's tensors as `name -> (dtype, shape, bytes)` for the floor."""
    tensors = {}
    for tensor in request["inputs"]:
        dtype = _NUMPY_NAMES[tensor["datatype"]]
        data = np.array(tensor["data"], dtype).tobytes()
        tensors[tensor["name"]] = (dtype, tensor["shape"], data)
    return _written(BUILD / "events" / f"{model}.inputs.marshal", tensors)


def _written(target: Path, value: Any) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(marshal.dumps(value))
    return target
