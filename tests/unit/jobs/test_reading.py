"""A message that names a job is read quickly where we wrote it, and to the same end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.delivery import PoisonError, read_message
from shared.jobs.messages import read_reference, reference
from shared.results.store import JobKey
from shared.schema.job import ReferenceMessage

KEY = JobKey("acme.eu:1@x=+-", "Job_1-a")
texts = st.text(alphabet='aZ09_-.:@=+ "\\{}\né', max_size=8)


def test_a_reference_is_read_without_its_json():
    assert read_reference(reference(KEY)) == KEY == read_message(reference(KEY))


def test_one_that_is_written_otherwise_names_the_same_job():
    spaced = json.dumps(json.loads(reference(KEY)), indent=1)

    assert read_reference(spaced) is None
    assert read_message(spaced) == KEY


@given(texts, texts)
def test_what_is_read_quickly_is_what_the_schema_reads(tenant, job):
    body = json.dumps(
        {"schema_version": 1, "job": {"tenant": tenant, "id": job}}, separators=(",", ":")
    )
    quick = read_reference(body)
    if quick is not None:
        named = ReferenceMessage.model_validate_json(body).job
        assert quick == (named.tenant, named.id)
    else:
        with pytest.raises(PoisonError):
            read_message(body)


@pytest.mark.parametrize("length", [64, 65])
def test_an_id_is_as_long_as_the_schema_allows(length):
    body = reference(JobKey("acme", "x" * length))

    assert (read_reference(body) is not None) is (length == 64)
