"""Accepting jobs of a tenant that may have only so many unfinished ones."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from shared.errors import ConflictError, TooManyJobsError
from shared.jobs.submission import Submission

BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
).encode()


# Which broker carries the jobs is no matter here.
pytestmark = pytest.mark.parametrize("house", ["memory", "aws"], indirect=True)


def submit(house, tenant="acme", **options):
    return house.jobs.submit(
        Submission(model="scale", body=options.pop("body", BODY)), tenant=tenant, **options
    )


def test_a_job_past_the_limit_is_refused_and_nothing_is_kept_of_it(house):
    for _ in range(3):
        submit(house, jobs_max=3)
    house.messages()

    with pytest.raises(TooManyJobsError) as refused:
        submit(house, jobs_max=3)

    assert len(house.rows()) == 3
    assert house.messages() == []
    assert refused.value.headers == {
        "ratelimit-policy": '"jobs";q=3',
        "ratelimit": '"jobs";r=0',
        "retry-after": "5",
    }


def test_a_job_that_ends_makes_room_for_another(house):
    first = submit(house, jobs_max=1).row
    with pytest.raises(TooManyJobsError):
        submit(house, jobs_max=1)

    house.store.cancel(first.key, now=house.clock())

    assert submit(house, jobs_max=1).created


def test_another_tenant_s_jobs_take_no_room(house):
    submit(house, "other", jobs_max=1)

    assert submit(house, jobs_max=1).created


def test_a_job_that_was_accepted_before_is_the_same_job_also_when_there_is_no_room(house):
    first = submit(house, jobs_max=1, idempotency_key="k")

    again = submit(house, jobs_max=1, idempotency_key="k")

    assert (again.created, again.row.key) == (False, first.row.key)
    other = BODY.replace(b"2.0", b"3.0")
    with pytest.raises(ConflictError):
        submit(house, jobs_max=1, idempotency_key="k", body=other)


def test_a_submitter_that_ends_before_the_row_is_written_takes_no_room(house):
    class Ends(BaseException):
        """The process ends."""

    class Stops:
        def __getattr__(self, name):
            if name == "create":
                raise Ends
            return getattr(house.store, name)

    with pytest.raises(Ends):
        house.with_parts(store=Stops()).submit(
            Submission(model="scale", body=BODY), tenant="acme", jobs_max=1
        )

    assert submit(house, jobs_max=1).created


def test_submitters_at_once_overshoot_by_one_job_each_at_most(house):
    """Each counts before any of them has written: one job for each environment, as it has one call at a time."""
    environments, jobs_max = 6, 2
    counted = threading.Barrier(environments, timeout=10)

    class Counts:
        def __getattr__(self, name):
            return getattr(house.store, name)

        def counted(self, tenant, *, up_to):
            found = house.store.counted(tenant, up_to=up_to)
            counted.wait()
            return found

    def accepted(number):
        jobs = house.with_parts(store=Counts())
        found = 0
        for turn in range(jobs_max + 1):
            body = BODY.replace(b"2.0", b"%d.%d" % (number, turn))
            with suppress(TooManyJobsError):
                found += jobs.submit(
                    Submission(model="scale", body=body), tenant="acme", jobs_max=jobs_max
                ).created
        return found

    with ThreadPoolExecutor(environments) as pool:
        let_through = sum(pool.map(accepted, range(environments)))

    assert jobs_max < let_through <= jobs_max + environments


def test_counting_is_one_call_and_tenants_without_a_limit_pay_none(house):
    submit(house)
    assert house.calls["Query"] == 0

    submit(house, jobs_max=10)

    assert house.calls["Query"] == (1 if house.on_aws else 0)
