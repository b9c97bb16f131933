"""Models and transforms changed under a running service, and what cannot be deployed."""

from __future__ import annotations

import subprocess

import httpx
import pytest

from shared.inference.golden import GOLDEN_FILE, read_cases
from tests.e2e.local_service import LANEWAY, PROJECT

pytestmark = pytest.mark.deployed


def infer(service, model, *, rows=1):
    """The answer to the model's golden request, its rows as often as this."""
    request = read_cases(PROJECT / "models" / model / GOLDEN_FILE)[0].request
    repeated = [
        {
            **tensor,
            "shape": [tensor["shape"][0] * rows, *tensor["shape"][1:]],
            "data": tensor["data"] * rows,
        }
        for tensor in request["inputs"]
    ]
    return httpx.post(
        f"{service.endpoint}/v2/models/{model}/infer",
        json={**request, "inputs": repeated},
        headers=service.headers,
        timeout=60,
    )


TRANSFORM = PROJECT / "models" / "page-orientation" / "transform.py"
ORIGINAL = TRANSFORM.read_text()


def put_back(service):
    """Write all that these tests change as it was, within a moment: that is one redeploy."""
    for name in ("page-orientation/transform.py", "breast-cancer/model.toml"):
        (service.models / name).write_bytes((PROJECT / "models" / name).read_bytes())


def test_changed_transforms_and_defaults_answer_without_a_restart_and_nothing_of_before_is_left(
    service,
):
    path = service.models / "page-orientation" / "transform.py"
    assert infer(service, "page-orientation", rows=5).status_code == 200
    with service.told_after_change("transform.py") as said:
        path.write_text(ORIGINAL.replace("MAX_IMAGES = 64", "MAX_IMAGES = 4"))
    assert "✓" in said[0]
    refused = infer(service, "page-orientation", rows=5)
    assert (refused.status_code, "send at most 4" in refused.text) == (400, True)

    assert infer(service, "breast-cancer").json()["model_version"] == "2"
    with service.told_after_change("model.toml") as said:
        subprocess.run(
            [LANEWAY, "models", "use", "breast-cancer", "1", "--models", service.models],
            check=True,
            timeout=60,
        )
    assert "✓" in said[0]
    assert infer(service, "breast-cancer").json()["model_version"] == "1"

    with service.told_after_change("model.toml") as said:
        put_back(service)
    assert "✓" in said[0]
    assert infer(service, "breast-cancer").json()["model_version"] == "2"
    assert infer(service, "page-orientation", rows=5).status_code == 200
    realtime = [c for c in service.processes() if "shared-realtime" in c]
    assert len(realtime) == 1, realtime
    unpacked = [path for path in service.scratch() if "shared-realtime" in path.name]
    assert len(unpacked) == 1, unpacked


def test_what_breaks_golden_answers_or_changed_after_locking_is_refused_and_the_service_goes_on(
    service,
):
    transform = service.models / "page-orientation" / "transform.py"
    with service.told_after_change("transform.py") as said:
        transform.write_text(ORIGINAL.replace("MAX_IMAGES = 64", "MAX_IMAGES = 0"))
    assert "✗ not redeployed" in said[0]
    assert "page-orientation" in service.output.split("✗ not redeployed")[-1]
    assert infer(service, "page-orientation").status_code == 200

    graph = service.models / "breast-cancer" / "2" / "model.onnx"
    locked = graph.read_bytes()
    with service.told_after_change("model.onnx") as said:
        transform.write_text(ORIGINAL)
        graph.write_bytes(locked[:-1] + bytes([locked[-1] ^ 1]))
    assert "✗ not redeployed" in said[0]
    assert "breast-cancer" in service.output.split("✗ not redeployed")[-1]
    assert infer(service, "breast-cancer").status_code == 200

    with service.told_after_change("model.onnx"):
        graph.write_bytes(locked)
    assert infer(service, "breast-cancer").status_code == 200
