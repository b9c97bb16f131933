"""What the sweeper does about jobs that were forgotten, and that it does no harm to the others."""

from __future__ import annotations

import json

import pytest

from shared.errors import QueueUnavailableError
from shared.queues.memory import MemoryQueue
from tests.fixtures.job_desk import TENANT, Desk, tensor_body

BODY = tensor_body([[1.0, 2.0]])


class DownQueue(MemoryQueue):
    """A broker that takes messages only while `up`."""

    up = False

    def put(self, message):
        if not self.up:
            raise QueueUnavailableError("the queue cannot be reached now")
        return super().put(message)


def test_a_job_that_no_broker_took_is_sent_after_ten_seconds_and_runs(queue_models):
    desk = Desk(queue_models)
    down = DownQueue(clock=desk.clock)
    desk.queues["shared", "async"] = down
    key = desk.submit(BODY)
    assert desk.row(key).unsent_at is not None

    desk.clock.advance(9)
    assert desk.sweeper().sweep().total() == 0
    desk.clock.advance(2)
    assert desk.sweeper().sweep() == {"not_confirmed": 1}
    down.up = True
    assert desk.sweeper().sweep() == {"sent": 1}
    assert desk.sweeper().sweep().total() == 0
    desk.start().drain()

    assert desk.check_settled([key]) == {"succeeded": 1}


def test_a_message_that_was_lost_is_sent_again_after_twice_the_target(desk):
    key = desk.submit(BODY)
    desk.lose_messages()

    desk.clock.advance(119)
    assert desk.sweeper().sweep().total() == 0
    desk.clock.advance(1)
    assert desk.sweeper().sweep() == {"sent": 1}
    assert desk.sweeper().sweep().total() == 0
    desk.start().drain()

    assert desk.check_settled([key]) == {"succeeded": 1}


def test_a_job_whose_ttl_passes_expires(desk):
    key = desk.submit(BODY, ttl_s=60)
    desk.lose_messages()

    desk.clock.advance(60)

    assert desk.sweeper().sweep() == {"expired": 1}
    assert desk.check_settled([key]) == {"expired": 1}


def test_a_job_whose_worker_died_is_taken_over_by_another(desk):
    key = desk.submit(BODY)
    desk.store.claim(key, owner="killed", lease_until=desk.clock() + 30, now=desk.clock())
    desk.lose_messages()

    desk.clock.advance(29)
    assert desk.sweeper().sweep().total() == 0
    desk.clock.advance(1)
    assert desk.sweeper().sweep() == {"sent": 1}
    assert desk.sweeper().sweep().total() == 0
    desk.start().drain()

    assert desk.row(key).attempt == 2
    assert desk.check_settled([key]) == {"succeeded": 1}


def test_a_job_that_kills_every_worker_fails_after_its_last_attempt(desk):
    key = desk.submit(BODY)
    for _ in range(3):
        desk.store.claim(key, owner="killed", lease_until=desk.clock() + 30, now=desk.clock())
        desk.clock.advance(31)
    desk.lose_messages()

    assert desk.sweeper().sweep() == {"exhausted": 1}

    assert desk.row(key).failure.code == "attempts_exhausted"
    assert desk.check_settled([key]) == {"failed": 1}


def test_a_job_of_a_pool_that_is_gone_fails(desk):
    key = desk.submit(BODY)
    desk.lose_messages()
    del desk.queues["shared", "async"]
    desk.clock.advance(120)

    assert desk.sweeper().sweep() == {"given_up": 1}

    assert desk.row(key).failure.code == "model_unavailable"


def test_the_event_of_an_expired_job_is_sent(desk):
    key = desk.submit(BODY, ttl_s=60, webhook="https://example.org/hook")
    desk.lose_messages()
    desk.clock.advance(60)
    desk.sweeper().sweep()

    desk.clock.advance(10)
    assert desk.sweeper().sweep() == {"events": 1}

    [message] = desk.events.receive(limit=10, wait_s=0)
    assert json.loads(message.body)["event"] == {"tenant": TENANT, "id": key.id}
    assert desk.sweeper().sweep().total() == 0


def test_a_pass_is_bounded_and_the_next_one_meets_the_others(desk):
    keys = [desk.submit(BODY) for _ in range(7)]
    desk.lose_messages()
    desk.clock.advance(120)

    passes = [desk.sweeper(rows_max=3).sweep()["sent"] for _ in range(4)]
    desk.start().drain()

    assert passes == [3, 3, 1, 0]
    assert desk.check_settled(keys) == {"succeeded": 7}


def test_two_sweepers_at_once_send_twice_and_the_job_runs_once(desk):
    key = desk.submit(BODY)
    desk.lose_messages()
    desk.clock.advance(120)
    rows = desk.store.due(now=desk.clock(), limit=10)
    assert len(rows) == 1

    one, other = desk.sweeper(), desk.sweeper()
    one.sweep()
    other._look_at(rows, desk.clock(), done := other.sweep())
    assert done["sent"] == 1
    desk.start().drain()

    outcomes = [facts.outcome for facts in desk.reporter.jobs]
    assert outcomes.count("succeeded") == 1
    desk.clock.advance(100)
    desk.start().drain()
    assert desk.check_settled([key]) == {"succeeded": 1}


@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_a_job_that_has_ended_is_left_alone(desk, status):
    key = desk.submit(BODY)
    if status == "canceled":
        desk.store.cancel(key, now=desk.clock())
    desk.start().drain()
    before = desk.row(key)

    desk.clock.advance(3600)

    assert desk.sweeper().sweep().total() == 0
    assert desk.row(key) == before
