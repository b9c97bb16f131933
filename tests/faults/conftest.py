"""The emulator and the models that the fault tests share, and a stage for each test."""

from __future__ import annotations

import os

import pytest

from tests.faults.models import write_fault_models
from tests.faults.stage import Stage, running_emulator
from tests.fixtures.receiver import receiver

LONGER = [
    "test_outages.py",
    "test_rabbitmq_outages.py",
    "test_edges.py",
    "test_hooks.py",
    "test_flood.py",
]
collect_ignore = [] if "LANEWAY_FAULT_JOBS" in os.environ else LONGER
"""Those are of `make test-faults` alone; other folders have each of these cases in memory or on moto."""


@pytest.fixture(scope="session")
def fault_models(tmp_path_factory):
    return write_fault_models(tmp_path_factory.mktemp("faults") / "models")


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """An emulator of AWS that these tests have for themselves."""
    with running_emulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.fixture
def aws(emulated):
    """How to reach it."""
    return emulated[0]


@pytest.fixture
def emulator_pids(emulated):
    """Its processes, to be stopped and continued."""
    return emulated[1]


@pytest.fixture
def hooks(tmp_path):
    with receiver(tmp_path) as running:
        yield running


@pytest.fixture
def stage(tmp_path, fault_models, aws, hooks):
    stage = Stage(tmp_path, fault_models, aws, receiver=hooks)
    try:
        yield stage
    finally:
        stage.stop()
