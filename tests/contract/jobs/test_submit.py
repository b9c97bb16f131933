"""Accepting jobs: once for each id or key, committed before they are sent, or not at all.

Over each broker; AWS's calls are counted where AWS carries.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from shared.catalog import Catalog
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    ModelNotFoundError,
    QueueUnavailableError,
    SignatureError,
    StoreUnavailableError,
    UnavailableError,
    UnsupportedClassError,
    UriNotAllowedError,
    VersionNotFoundError,
)
from shared.jobs.messages import reference
from shared.jobs.submission import Submission
from shared.queues.memory import MemoryQueue
from shared.results.rows import JobKey
from shared.routing.lane import GPU_QUEUES

pytestmark = pytest.mark.rabbitmq

SMALL = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
ROWS = 4000
LARGE = {
    "inputs": [{"name": "x", "shape": [ROWS, 2], "datatype": "FP32", "data": [1.25, 2.5] * ROWS}]
}


def submission(request=SMALL, **members):
    return Submission(model="scale", **{"body": json.dumps(request).encode()} | members)


class Crash(BaseException):
    """The process ends here: nothing of ours may catch it."""


class Stops:
    """A part whose methods of one name end the process, before or after they did their work."""

    def __init__(self, part, method, *, after=False):
        self._part, self._method, self._after = part, method, after

    def __getattr__(self, name):
        found = getattr(self._part, name)
        if name != self._method:
            return found

        def stops(*arguments, **named):
            if self._after:
                found(*arguments, **named)
            raise Crash

        return stops


class Down:
    """A part that cannot be reached."""

    def __init__(self, error):
        self._error = error

    def __getattr__(self, name):
        def fails(*_, **__):
            raise self._error("it cannot be reached")

        return fails


def test_an_accepted_job_is_a_queued_row_and_one_message_that_names_it(house):
    accepted = house.jobs.submit(submission(metadata={"order": "7"}), tenant="acme")
    assert (accepted.created, accepted.sent) == (True, True)
    row = house.accepted.get(accepted.row.key)
    assert (row.status, row.model, row.version, row.pool) == ("queued", "scale", "2", "shared")
    assert (row.lane, row.latency_class, row.attempt) == ("queue", "async", 0)
    assert row.metadata == {"order": "7"}
    assert row.input.inline == json.dumps(SMALL).encode()
    assert house.messages() == [reference(row.key)]
    assert house.messages(latency_class="batch") == []
    assert house.store.unsent(before=house.clock.now + 1, limit=10) == []


def test_the_class_decides_queue_and_ttl(house):
    row = house.jobs.submit(submission(latency_class="batch"), tenant="acme").row
    assert row.ttl_at == house.clock.now + 86_400
    assert house.messages(latency_class="batch") == [reference(row.key)]
    own = house.jobs.submit(submission(ttl_s=60, timeout_s=5), tenant="acme").row
    assert (own.ttl_at, own.timeout_s) == (house.clock.now + 60, 5)


def test_somebody_looks_after_a_message_that_was_not_received(house):
    accepted = house.jobs.submit(submission(), tenant="acme")
    assert house.store.due(now=house.clock.now + 119, limit=10) == []
    [due] = house.store.due(now=house.clock.now + 121, limit=10)
    assert due.key == accepted.row.key


def test_ids_of_one_tenant_sort_by_time(house):
    first = house.jobs.submit(submission(), tenant="acme").row.key.id
    house.clock.now += 0.002
    second = house.jobs.submit(submission(), tenant="acme").row.key.id
    assert first < second
    assert [row.key.id for row in house.rows()] == [second, first]


def test_a_large_input_is_on_s3_before_the_row_names_it(house):
    with pytest.raises(Crash):
        house.with_parts(store=Stops(house.store, "create")).submit(
            submission(LARGE), tenant="acme", job_id="big"
        )
    assert house.rows() == []
    row = house.jobs.submit(submission(LARGE), tenant="acme", job_id="big").row
    assert row.input.inline is None
    assert row.input.s3_key.startswith("inputs/acme/big/")
    assert house.payloads.get(row.input.s3_key, max_bytes=10**6) == json.dumps(LARGE).encode()


def test_fifty_at_once_with_one_key_make_one_job_and_one_message(house):
    start = threading.Barrier(50)

    def submit(_):
        start.wait(timeout=30)
        return house.jobs.submit(submission(), tenant="acme", idempotency_key="k")

    with ThreadPoolExecutor(50) as threads:
        every = list(threads.map(submit, range(50)))
    assert len({accepted.row.key for accepted in every}) == 1
    assert sum(accepted.created for accepted in every) == 1
    assert len(house.rows()) == 1
    assert len(house.messages()) == 1


@pytest.mark.parametrize("name", ["job_id", "idempotency_key"])
def test_the_same_again_gives_the_same_job_and_sends_nothing(house, name):
    first = house.jobs.submit(submission(), tenant="acme", **{name: "same"})
    house.clock.now += 5
    again = house.jobs.submit(submission(), tenant="acme", **{name: "same"})
    assert again.created is False
    assert again.row == house.accepted.get(first.row.key)
    assert len(house.messages()) == 1


@pytest.mark.parametrize("name", ["job_id", "idempotency_key"])
def test_the_same_name_with_another_payload_is_a_conflict_and_changes_nothing(house, name):
    first = house.jobs.submit(submission(LARGE), tenant="acme", **{name: "same"}).row
    other = {"inputs": [{**LARGE["inputs"][0], "data": [3.25, 4.5] * ROWS}]}
    with pytest.raises(ConflictError):
        house.jobs.submit(submission(other), tenant="acme", **{name: "same"})
    kept = house.accepted.get(first.key)
    assert house.payloads.get(kept.input.s3_key, max_bytes=10**6) == json.dumps(LARGE).encode()


@pytest.mark.parametrize("name", ["job_id", "idempotency_key"])
def test_the_same_name_of_another_tenant_is_another_job(house, name):
    first = house.jobs.submit(submission(), tenant="acme", **{name: "same"})
    other = house.jobs.submit(submission(version="1"), tenant="other", **{name: "same"})
    assert other.created is True
    assert other.row.key != first.row.key


def test_a_broker_that_is_down_changes_nothing_and_the_row_stays_in_the_outbox(house):
    queues = {key: Down(QueueUnavailableError) for key in house.queues}
    accepted = house.with_parts(queues=queues).submit(submission(), tenant="acme")
    assert (accepted.created, accepted.sent) == (True, False)
    [unsent] = house.store.unsent(before=house.clock.now, limit=10)
    assert unsent.key == accepted.row.key
    assert house.accepted.get(accepted.row.key).status == "queued"


@pytest.mark.parametrize("part", ["store", "payloads"])
def test_a_store_that_is_down_means_that_no_job_exists(house, part):
    with pytest.raises(StoreUnavailableError):
        house.with_parts(**{part: Down(StoreUnavailableError)}).submit(
            submission(LARGE), tenant="acme", job_id="big"
        )
    assert house.rows() == []
    assert house.messages() == []


@pytest.mark.parametrize(
    ("point", "in_outbox", "sent"),
    [
        (("store", "create", True), True, 0),
        (("queue", "send", False), True, 0),
        (("queue", "send", True), True, 1),
        (("store", "sent", False), True, 1),
        (("store", "sent", True), False, 1),
    ],
)
def test_a_crash_at_any_point_after_the_row_loses_nothing(house, point, in_outbox, sent):
    part, method, after = point
    changed = (
        {"store": Stops(house.store, method, after=after)}
        if part == "store"
        else {"queues": {k: Stops(q, method, after=after) for k, q in house.queues.items()}}
    )
    with pytest.raises(Crash):
        house.with_parts(**changed).submit(submission(), tenant="acme", job_id="a")
    unsent = house.store.unsent(before=house.clock.now, limit=10)
    assert [row.key for row in unsent] == ([JobKey("acme", "a")] if in_outbox else [])
    assert len(house.messages()) == sent
    assert house.jobs.submit(submission(), tenant="acme", job_id="a").created is False


@pytest.mark.parametrize(
    ("request_", "extra"), [(SMALL, set()), (LARGE, {"PutObject"})], ids=["small", "large"]
)
def test_a_job_takes_three_calls_and_a_large_one_a_fourth(house, request_, extra):
    house.calls.clear()
    house.jobs.submit(submission(request_), tenant="acme")
    expected = {"PutItem", "SendMessage", "UpdateItem"} | extra if house.on_aws else set()
    assert house.calls == dict.fromkeys(expected, 1)


def test_the_same_again_takes_one_call(house):
    house.jobs.submit(submission(), tenant="acme", job_id="twice")
    house.calls.clear()
    house.jobs.submit(submission(), tenant="acme", job_id="twice")
    assert house.calls == ({"PutItem": 1} if house.on_aws else {})


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Submission(model="absent", body=b"{}"), ModelNotFoundError),
        (submission(version="9"), VersionNotFoundError),
        (submission(latency_class="never"), UnsupportedClassError),
        (submission(priority="high"), InvalidRequestError),
        (submission(result_alias="swamp"), InvalidRequestError),
        (submission({"inputs": [{**SMALL["inputs"][0], "name": "y"}]}), SignatureError),
        (submission(body=None, uri="s3://elsewhere/a"), UriNotAllowedError),
    ],
)
def test_what_can_be_known_to_fail_is_refused_and_leaves_nothing(house, wrong, error):
    with pytest.raises(error):
        house.jobs.submit(wrong, tenant="acme")
    assert house.rows() == []
    assert house.messages() == []


def with_gpu(house):
    """A submitter whose one model runs on a gpu, and its pool's queues."""
    scale = replace(house.catalog.models["scale"], compute="gpu")
    queues = {("shared", name): MemoryQueue(clock=house.clock) for name in GPU_QUEUES}
    return house.with_parts(catalog=Catalog(models={"scale": scale}), queues=queues), queues


def test_a_model_on_a_gpu_is_refused_plainly_while_there_is_no_gpu_lane(house):
    scale = replace(house.catalog.models["scale"], compute="gpu")
    jobs = house.with_parts(catalog=Catalog(models={"scale": scale}), queues={})
    for priority in ("normal", "high"):
        with pytest.raises(UnsupportedClassError, match="no gpu lane"):
            jobs.submit(submission(priority=priority), tenant="acme")
    assert house.rows() == []


@pytest.mark.parametrize("priority", ["normal", "high"])
@pytest.mark.parametrize("latency_class", ["async", "batch"])
def test_a_job_of_a_gpu_waits_on_the_queue_of_its_class_and_priority(
    house, latency_class, priority
):
    jobs, queues = with_gpu(house)
    asked = submission(latency_class=latency_class, priority=priority)
    accepted = jobs.submit(asked, tenant="acme", job_id="g")
    assert accepted.sent
    assert (accepted.row.lane, accepted.row.priority) == ("gpu", priority)
    kept = house.store.get(accepted.row.key)
    assert (kept.priority, kept.queue) == (priority, accepted.row.queue)
    waiting = {name: queue.depth() for (_, name), queue in queues.items() if queue.depth()}
    assert waiting == {accepted.row.queue: 1}
    assert [row.priority for row in house.rows()] == [priority]


def test_the_same_job_with_another_priority_is_another_job(house):
    jobs, _ = with_gpu(house)
    jobs.submit(submission(), tenant="acme", job_id="g")
    with pytest.raises(ConflictError):
        jobs.submit(submission(priority="high"), tenant="acme", job_id="g")


def test_a_pool_without_a_queue_is_503_and_no_job(house):
    with pytest.raises(UnavailableError, match="has no async queue"):
        house.with_parts(queues={}).submit(submission(), tenant="acme")
    assert house.rows() == []


def test_an_upload_can_be_named_once_it_is_there(house):
    uri, expires_at, place = house.jobs.upload("acme", max_bytes=1000)
    assert uri.startswith(f"s3://{house.rules.bucket}/uploads/acme/")
    assert expires_at == house.clock.now + 900
    assert place.fields["key"] == uri.removeprefix(f"s3://{house.rules.bucket}/")
    other, _, _ = house.jobs.upload("acme", max_bytes=1000)
    assert other != uri
    row = house.jobs.submit(submission(body=None, uri=uri, header_length=7), tenant="acme").row
    assert (row.input.s3_key, row.input.header_length) == (place.fields["key"], 7)
    with pytest.raises(UriNotAllowedError):
        house.jobs.submit(submission(body=None, uri=uri), tenant="other")
