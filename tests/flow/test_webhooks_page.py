"""docs/webhooks.md is true: its receiver verifies a real event, its example has a real event's members."""

from __future__ import annotations

import json
import re
import shlex
import time
import uuid
from pathlib import Path

import pytest
from moto import mock_aws
from standardwebhooks import WebhookVerificationError
from typer.testing import CliRunner

import shared.jobs.webhooks as codes
from cli.main import app
from shared.egress.memory import MemoryPoster
from shared.jobs.webhook_secrets import make_secret
from tests.fixtures.audit_log import make_audit_log
from tests.fixtures.hook_desk import TENANT, HookDesk
from tests.fixtures.job_rows import ManualClock

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()


def block(language, after):
    found = re.search(
        rf"^```{language}\n(.*?)^```", PAGE.partition(after)[2], re.DOTALL | re.MULTILINE
    )
    return found[1]


@pytest.fixture
def sent():
    """An event as it is sent, twice, and the secret that signed it."""
    poster = MemoryPoster()
    desk = HookDesk(poster=poster, clock=ManualClock(float(int(time.time()))))
    desk.end_job()
    desk.source.drain()
    return poster.posted[0], desk.secrets.get(TENANT)[0].value


def test_the_receiver_takes_an_event_once_and_refuses_a_forged_one(sent, capsys):
    event, secret = sent
    namespace = {}
    exec(block("python", "## A receiver"), namespace)  # noqa: S102  the page's own code
    receive = namespace["receive"]
    assert [receive(secret, event.headers, event.body) for _ in range(2)] == [204, 204]
    told = capsys.readouterr().out.split()
    assert told == ["job.succeeded", "https://api.example.com/v2/jobs/job-1/result"]
    with pytest.raises(WebhookVerificationError):
        receive(make_secret(), event.headers, event.body)


def test_the_example_has_members_that_an_event_has(sent):
    shown, real = json.loads(block("json", "## What arrives")), json.loads(sent[0].body)
    assert set(shown) == set(real)
    assert set(shown["data"]) <= set(real["data"])
    assert set(shown["data"]["urls"]) == set(real["data"]["urls"])


def test_the_commands_about_secrets_run_in_order(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    stage = f"dev{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("LANEWAY_STAGE", stage)
    commands = block("bash", "## Secrets").splitlines()
    assert len(commands) == 4
    with mock_aws():
        make_audit_log(stage, "eu-west-1")
        for command in commands:
            _, *arguments = shlex.split(command, comments=True)
            result = CliRunner().invoke(app, [*arguments, "--region", "eu-west-1"])
            assert result.exit_code == 0, result.output


def test_every_code_of_a_line_is_explained():
    written = {value for value in vars(codes).values() if str(value).startswith("WEBHOOK_")}
    assert written == set(re.findall(r"`(WEBHOOK_[A-Z]+)`", PAGE.partition("## What is logged")[2]))
