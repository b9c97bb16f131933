"""The lines of a worker's log, as they come and when its file begins anew."""

from __future__ import annotations

import json

import pytest

from cli.dev.tail import Tails
from tests.e2e.local_service import eventually


@pytest.fixture
def shown():
    return []


@pytest.fixture
def tails(shown):
    tails = Tails(lambda line: shown.append(line.plain))
    tails.start()
    yield tails
    tails.stop()


def test_whole_lines_are_told_with_who_wrote_them(tmp_path, tails, shown):
    log = tmp_path / "worker.log"
    log.write_text("plain words\nnot yet a li")
    tails.follow(log, "heavy-worker")
    assert eventually(lambda: len(shown) == 1, timeout_s=5)
    assert shown[0].endswith("plain words")
    assert "heavy-worker" in shown[0]

    with log.open("a") as file:
        file.write("ne\n")
    assert eventually(lambda: len(shown) == 2, timeout_s=5)
    assert shown[1].endswith("not yet a line")


def test_a_job_is_told_as_the_functions_tell_it(tmp_path, tails, shown):
    log = tmp_path / "worker.log"
    line = {"message": "job", "outcome": "succeeded", "model": "m", "version": "1", "job_id": "j7"}
    log.write_text(json.dumps(line) + "\n")
    tails.follow(log, "heavy-worker")
    assert eventually(lambda: bool(shown), timeout_s=5)
    assert "succeeded m 1" in shown[0]
    assert "j7" in shown[0]


def test_what_was_written_last_is_told_before_the_file_begins_anew(tmp_path, tails, shown):
    log = tmp_path / "worker.log"
    log.write_text("of the first\n")
    tails.follow(log, "heavy-worker")
    tails.drop(log)
    log.write_text("of the second\n")
    tails.follow(log, "heavy-worker")
    tails.stop()
    assert [line.rpartition("  ")[2].strip() for line in shown] == ["of the first", "of the second"]
