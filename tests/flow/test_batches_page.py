"""docs/batches.md is true: its Python prints what its comments say, and it names every call and member."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cli.models.pull import pull
from cli.testing import start_service
from shared.schema.batch import BatchFiles, BatchSubmission
from shared.schema.batch_operations import BATCH_PATHS
from shared.schema.batch_status import BatchStatus
from stacks.recurring_batch import RecurringBatch
from stacks.stages import STAGES

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "batches.md").read_text()


BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def service():
    pull(PROJECT / "models")
    with start_service(PROJECT / "models") as running:
        yield running


def test_the_pythons_comments_say_what_it_prints(service, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANEWAY_ENDPOINT", service.url)
    monkeypatch.setenv("LANEWAY_API_KEY", service.api_key)
    block = BLOCKS[0]

    with service.working():
        exec(block, {})  # noqa: S102  the page's own code

    printed = capsys.readouterr().out.splitlines()
    told = [words.strip() for words in re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)]
    assert len(told) == 4
    assert [text for text in printed if not text.startswith("{")] == told


def test_the_schedule_is_one_that_a_stage_may_list():
    [written] = BLOCKS[1:]
    schedule = eval(written, {"RecurringBatch": RecurringBatch})  # noqa: S307  as above
    assert replace(STAGES["prod"], recurring_batches=(schedule,)).recurring_batches == (schedule,)


def test_every_call_state_file_and_member_is_named():
    named = set(re.findall(r"`([a-z_.]+)`", PAGE))

    assert set(BatchSubmission.model_fields) <= named
    assert set(BatchStatus.__args__) <= named
    assert all(any(name in word for word in named) for name in BatchFiles.model_fields)
    for path, calls in BATCH_PATHS.items():
        for method in set(calls) - {"parameters"}:
            assert f"`{method.upper()} {path}" in PAGE
