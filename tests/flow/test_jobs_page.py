"""docs/jobs.md is true: its Python runs in order, its tables have every member and every call."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.models.pull import pull
from cli.testing import start_service
from shared.schema.job import JobSubmission, SubmissionMessage
from shared.schema.job_operations import JOB_PATHS

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "jobs.md").read_text()


def blocks():
    return re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def service():
    pull(PROJECT / "models")
    with start_service(PROJECT / "models") as running:
        yield running


def test_the_pythons_comments_say_what_it_prints(service, monkeypatch, capsys):
    monkeypatch.setenv("LANEWAY_ENDPOINT", service.url)
    monkeypatch.setenv("LANEWAY_API_KEY", service.api_key)
    names = {
        "sqs": service.resources.sqs,
        "s3": service.resources.s3,
        "bucket": service.resources.bucket,
        "queue_url": service.resources.queues["shared"]["async"],
    }
    with service.working():
        exec("\n".join(blocks()), names)  # noqa: S102  the page's own code
    service.run_jobs()
    printed = capsys.readouterr().out
    for expected in ("202 queued", "[1, 384]", "202 200 409", "True 202"):
        assert f"# {expected}" in PAGE
        assert f"{expected}\n" in printed
    assert "True respond-async, wait=" in printed
    for job in ("night-1", "night-2", names["large"].json()["id"]):
        answer = service.request("GET", f"/v2/jobs/{job}")
        assert answer.json()["status"] == "succeeded"
    names["api"].close()


def test_the_job_test_of_the_page_about_testing_passes(service):
    page = (PROJECT / "docs" / "testing.md").read_text()
    [block] = re.findall(r"^```python\n(# test_jobs\.py\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    names = {}
    exec(block, names)  # noqa: S102  the page's own code
    service.run_jobs()
    names["test_a_job_gets_the_answer_of_the_call"](service)


def test_every_member_of_a_submission_is_in_the_table():
    named = set(re.findall(r"`([a-z0-9_]+)`", PAGE))
    assert set(JobSubmission.model_fields) <= named
    assert set(SubmissionMessage.model_fields) - named == set()


def test_every_call_is_in_the_table():
    for path, calls in JOB_PATHS.items():
        for method in set(calls) - {"parameters"}:
            assert f"`{method.upper()} {path}" in PAGE
