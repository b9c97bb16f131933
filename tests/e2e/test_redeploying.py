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


def test_a_changed_transform_answers_without_a_restart(service):
    path = service.models / "page-orientation" / "transform.py"
    original = path.read_text()
    assert infer(service, "page-orientation", rows=5).status_code == 200
    with service.told_after_change("transform.py") as said:
        path.write_text(original.replace("MAX_IMAGES = 64", "MAX_IMAGES = 4"))
    assert "✓" in said[0]
    refused = infer(service, "page-orientation", rows=5)
    assert (refused.status_code, "send at most 4" in refused.text) == (400, True)

    with service.told_after_change("transform.py"):
        path.write_text(original)
    assert infer(service, "page-orientation", rows=5).status_code == 200


def test_a_transform_that_breaks_the_golden_answers_is_refused_and_the_service_goes_on(service):
    path = service.models / "page-orientation" / "transform.py"
    original = path.read_text()
    with service.told_after_change("transform.py") as said:
        path.write_text(original.replace("MAX_IMAGES = 64", "MAX_IMAGES = 0"))
    assert "✗ not redeployed" in said[0]
    assert "page-orientation" in service.output.split("✗ not redeployed")[-1]
    assert infer(service, "page-orientation").status_code == 200

    with service.told_after_change("transform.py"):
        path.write_text(original)


def test_a_redeploy_leaves_no_process_of_the_version_before(service):
    infer(service, "breast-cancer")
    path = service.models / "page-orientation" / "transform.py"
    with service.told_after_change("transform.py"):
        path.write_text(path.read_text() + "\n# changed\n")
    infer(service, "breast-cancer")
    realtime = [c for c in service.processes() if "shared-realtime" in c]
    assert len(realtime) == 1, realtime
    unpacked = [path for path in service.scratch() if "shared-realtime" in path.name]
    assert len(unpacked) == 1, unpacked


def test_another_default_version_answers_without_a_restart(service):
    assert infer(service, "breast-cancer").json()["model_version"] == "2"
    for version in ("1", "2"):
        with service.told_after_change("model.toml") as said:
            subprocess.run(
                [LANEWAY, "models", "use", "breast-cancer", version, "--models", service.models],
                check=True,
                timeout=60,
            )
        assert "✓" in said[0]
        assert infer(service, "breast-cancer").json()["model_version"] == version


def test_a_model_changed_after_locking_is_refused_and_the_service_goes_on(service):
    path = service.models / "breast-cancer" / "2" / "model.onnx"
    original = path.read_bytes()
    with service.told_after_change("model.onnx") as said:
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    assert "✗ not redeployed" in said[0]
    assert "breast-cancer" in service.output.split("✗ not redeployed")[-1]
    assert infer(service, "breast-cancer").status_code == 200

    with service.told_after_change("model.onnx"):
        path.write_bytes(original)
    assert infer(service, "breast-cancer").status_code == 200
