"""Records: which members they have, and that these hold names and ids and nothing of what was sent."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit import ACTS, VALUE_CHARACTERS_MAX, record
from shared.catalog import FileSpec, version_digest

WHO = {"principal": "key:0123", "tenant": "acme", "request_id": "r-1"}


def lines(act="submit", **named):
    written = []
    record(act, **WHO, write=written.append, **named)
    return [json.loads(line) for line in written]


def test_a_record_is_one_line_whose_member_audit_names_the_act():
    [line] = lines("cancel", model="iris", version="1", job_id="j-1")

    assert (line["audit"], line["outcome"], line["message"]) == ("cancel", "ok", "audit")
    assert (line["principal"], line["tenant"], line["request_id"]) == ("key:0123", "acme", "r-1")
    assert (line["model"], line["version"], line["job_id"]) == ("iris", "1", "j-1")
    assert {"digest", "batch_id", "key_id"}.isdisjoint(line)


def test_a_record_goes_to_stdout_which_is_a_functions_log(capsys):
    record("deploy", **WHO)

    assert json.loads(capsys.readouterr().out)["audit"] == "deploy"


@given(st.sampled_from(ACTS), st.text(max_size=3000))
def test_a_record_is_one_line_of_bounded_length_whatever_a_name_is(act, name):
    written = []
    record(act, **WHO, model=name, job_id=name, write=written.append)

    assert len(written[0].splitlines()) == 1
    found = json.loads(written[0])
    assert found.get("model", "") == name[:VALUE_CHARACTERS_MAX]


def test_a_version_of_one_file_is_named_by_that_files_digest():
    assert version_digest([FileSpec("model.onnx", "ab" * 32, 1)]) == "ab" * 32


@pytest.mark.parametrize("changed", [0, 1])
def test_a_version_of_several_files_is_named_as_sha256sum_lists_them(changed):
    files = [FileSpec("model.onnx", "ab" * 32, 1), FileSpec("weights/a.bin", "cd" * 32, 1)]
    listed = "".join(f"{file.sha256}  {file.path}\n" for file in files)
    other = list(files)
    other[changed] = FileSpec(files[changed].path, "ef" * 32, 1)

    assert version_digest(files) == hashlib.sha256(listed.encode()).hexdigest()
    assert version_digest(other) != version_digest(files)
