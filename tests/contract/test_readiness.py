"""What every `Readiness` must tell; each implementation runs the same tests."""

from __future__ import annotations

import pytest

from cli.testing.lambdas import LocalFunction, LocalLambda
from functions.ingress.readiness import Health, LambdaReadiness, MemoryReadiness
from shared.settings import PoolAlias

BROKEN = "broken/1: file 'model.onnx' is missing"


def pool_handler(event, _context):
    """Answers a probe as a pool does of which one model cannot be loaded."""
    model = event["laneway_probe"]["model"]
    if model == "good":
        return {"ready": True}
    return {"ready": False, "error": BROKEN, "failed": {"broken/1": "missing"}}


@pytest.fixture(params=["memory", "lambda"])
def readiness(request):
    if request.param == "memory":
        bad = Health(BROKEN, {"broken/1": "missing"})
        return MemoryReadiness(
            {
                ("shared", None, None): bad,
                ("shared", "good", "1"): Health(),
                ("shared", "broken", "1"): bad,
            }
        )
    lambdas = LocalLambda()
    lambdas.add(LocalFunction("shared-realtime", pool_handler))
    aliases = {"shared": PoolAlias(function="shared-realtime")}
    return LambdaReadiness(lambdas, aliases=aliases, cache_s=0)


def test_a_model_with_a_session_is_ready(readiness):
    health = readiness.check("shared", model="good", version="1")
    assert health.ready
    assert health.error is None


def test_a_model_that_cannot_be_loaded_is_not_ready_with_the_reason(readiness):
    health = readiness.check("shared", model="broken", version="1")
    assert not health.ready
    assert health.error == BROKEN


def test_a_pool_names_the_models_that_failed(readiness):
    assert readiness.check("shared").failed == {"broken/1": "missing"}


def test_a_pool_that_is_not_deployed_is_not_ready(readiness):
    assert "not deployed" in readiness.check("absent").error
