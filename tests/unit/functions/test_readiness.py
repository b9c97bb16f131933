"""How the probe of a pool's alias reads what Lambda answers; the common contract is in tests/contract."""

from __future__ import annotations

import pytest
from botocore.exceptions import ConnectTimeoutError

from cli.testing.lambdas import LocalFunction, LocalLambda
from functions.ingress.readiness import LambdaReadiness
from shared.settings import PoolAlias


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


class Pool:
    """Answers probes and counts them."""

    def __init__(self):
        self.probes = []

    def __call__(self, event, _context):
        self.probes.append(event["laneway_probe"])
        return {"ready": True}


@pytest.fixture
def pool():
    return Pool()


@pytest.fixture
def lambdas():
    return LocalLambda()


def readiness(lambdas, *, provisioned=False, cache_s=5.0, clock=None):
    aliases = {"shared": PoolAlias(function="f", provisioned=provisioned)}
    return LambdaReadiness(lambdas, aliases=aliases, cache_s=cache_s, clock=clock or Clock())


def test_the_probe_asks_for_the_model_and_version(lambdas, pool):
    lambdas.add(LocalFunction("f", pool))
    readiness(lambdas).check("shared", model="scale", version="2")
    assert pool.probes == [{"model": "scale", "version": "2"}]


def test_an_answer_is_remembered_for_seconds_and_then_asked_for_again(lambdas, pool):
    lambdas.add(LocalFunction("f", pool))
    clock = Clock()
    asked = readiness(lambdas, clock=clock)
    asked.check("shared")
    clock.now_s += 4.9
    assert asked.check("shared").ready
    assert len(pool.probes) == 1
    clock.now_s += 0.2
    lambdas.remove("f")
    assert not asked.check("shared").ready


def test_an_alias_that_does_not_exist_is_not_ready(lambdas, pool):
    lambdas.add(LocalFunction("f", pool, alias="another"))
    assert "ResourceNotFoundException" in readiness(lambdas).check("shared").error


def test_a_pool_without_a_warm_environment_is_not_ready_and_is_not_woken(lambdas, pool):
    lambdas.add(LocalFunction("f", pool, warm=0))
    health = readiness(lambdas, provisioned=True).check("shared")
    assert "IN_PROGRESS" in health.error
    assert pool.probes == []


def test_a_pool_with_a_warm_environment_is_ready(lambdas, pool):
    lambdas.add(LocalFunction("f", pool, warm=1))
    assert readiness(lambdas, provisioned=True).check("shared").ready


def test_an_alias_that_lost_its_provisioned_concurrency_is_not_ready(lambdas, pool):
    lambdas.add(LocalFunction("f", pool))
    health = readiness(lambdas, provisioned=True).check("shared")
    assert "ProvisionedConcurrencyConfigNotFoundException" in health.error


def test_a_function_that_raises_is_not_ready(lambdas):
    def broken(_event, _context):
        raise MemoryError

    lambdas.add(LocalFunction("f", broken))
    assert "Unhandled" in readiness(lambdas).check("shared").error


def test_a_network_that_fails_is_not_ready():
    class Unreachable(LocalLambda):
        def invoke(self, **_):
            raise ConnectTimeoutError(endpoint_url="https://lambda")

    assert "ConnectTimeoutError" in readiness(Unreachable()).check("shared").error
