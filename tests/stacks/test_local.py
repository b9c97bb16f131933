"""The list of what stage `local` leaves out holds what is needed, and no more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stacks.local import REFUSED, Refusal

PROJECT = Path(__file__).parents[2]
IDS = [refusal.type.removeprefix("AWS::") for refusal in REFUSED]


@pytest.fixture(scope="module")
def emulator_source() -> str:
    """What the emulator's CloudFormation says of resource types."""
    found = list(PROJECT.glob(".venv-emulator/lib/python*/site-packages/ministack/services"))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("the emulator's environment is missing; make setup makes it")
        pytest.skip("the emulator's environment is not there; make setup makes it")
    sources = (found[0] / "cloudformation").glob("*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in sources)


def dropped(refusal: Refusal, synthesized) -> list[dict]:
    return [
        properties
        for properties in synthesized.properties(refusal.type)
        if refusal.property is None or refusal.property in properties
    ]


@pytest.mark.parametrize("refusal", REFUSED, ids=IDS)
def test_what_is_left_out_locally_is_deployed_elsewhere(refusal, local, dev, prod) -> None:
    assert dropped(refusal, local) == []
    assert dropped(refusal, dev)
    assert dropped(refusal, prod)
    assert refusal.because
    assert refusal.locally


@pytest.mark.parametrize("refusal", REFUSED, ids=IDS)
def test_the_emulator_still_refuses_what_is_left_out(refusal, emulator_source) -> None:
    if refusal.property is None:
        assert f'"{refusal.type}"' not in emulator_source
    else:
        assert "Properties.Metrics (metric math) is not supported" in emulator_source


def test_everything_else_is_deployed_locally_as_it_is_elsewhere(local, dev) -> None:
    left_out = {refusal.type for refusal in REFUSED if refusal.property is None}

    emptying = {"Custom::S3AutoDeleteObjects"}  # the emulator's bucket goes with the emulator
    archive = {  # the emulator delivers nothing to it: tests/stacks/test_audit.py
        "AWS::KinesisFirehose::DeliveryStream",
        "AWS::Logs::LogStream",
        "AWS::Logs::SubscriptionFilter",
    }
    assert dev.types() - local.types() == left_out | emptying | archive
    assert local.types() - dev.types() == set()
