"""A webhook's URL is checked when a job is accepted, whichever way it came."""

from __future__ import annotations

import pytest

from shared.errors import InvalidRequestError
from shared.settings import SettingError
from shared.settings.jobs import JobSettings
from tests.fixtures.job_desk import Desk, tensor_body

BODY = tensor_body([[1.0, 2.0]])
INSIDE = [
    "https://169.254.169.254/",
    "https://2852039166/",
    "https://localhost/",
    "https://10.0.0.1/",
]


@pytest.mark.parametrize("url", INSIDE)
def test_a_job_with_a_webhook_inside_is_refused_and_not_made(small_models, url):
    desk = Desk(small_models)
    with pytest.raises(InvalidRequestError) as refusal:
        desk.submit(BODY, webhook=url)
    assert refusal.value.field == "webhook"
    assert desk.rows() == []


def test_a_dropped_job_with_a_webhook_inside_fails_with_the_reason(small_models):
    desk = Desk(small_models)
    given = {"model": "scale", "input_base64": "e30=", "webhook": INSIDE[0]}
    desk.drop({"schema_version": 1, "id": "dropped", **given})
    desk.start().drain()
    row = desk.row("dropped")
    assert (row.status, row.failure.code) == ("failed", "invalid_request")
    assert "webhook" in row.failure.error


def test_a_local_stage_may_list_receivers_on_its_own_machine(small_models):
    settings = JobSettings(stage="local", bucket="memory", webhook_loopback="127.0.0.1:*, ")
    desk = Desk(small_models, settings=settings)
    key = desk.submit(BODY, webhook="https://127.0.0.1:8443/hook")
    assert desk.row(key).webhook == "https://127.0.0.1:8443/hook"


def test_a_deployed_stage_may_not(small_models):
    settings = JobSettings(stage="prod", bucket="memory", webhook_loopback="127.0.0.1:*")
    with pytest.raises(SettingError, match="local alone"):
        Desk(small_models, settings=settings)
