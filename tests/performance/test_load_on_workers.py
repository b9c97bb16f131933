"""Load on the long-lived worker over a real broker: whatever the broker took has one end."""

from __future__ import annotations

import uuid

import pytest

from benchmarks.harness import arriving_jobs
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker

pytestmark = pytest.mark.rabbitmq


def test_every_job_that_the_broker_took_ends_once(rabbitmq):
    with arriving_jobs.working(rabbitmq.url, "breast-cancer", processes=1) as group:
        outcomes = [group.hold("breast-cancer", rate=rate, seconds=1.0) for rate in (20.0, 200.0)]

    for outcome in outcomes:
        assert outcome.asked == pytest.approx(outcome.rate, rel=0.5)
        assert (outcome.refused, outcome.errors, outcome.lost, outcome.twice) == (0, 0, 0, 0)
        assert 0 < outcome.percentile_ms(50) <= outcome.percentile_ms(99)


def test_what_the_broker_does_not_take_is_refused_and_not_lost(rabbitmq):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as broker:
        nowhere = arriving_jobs.Workers(broker.queue(f"nowhere-{uuid.uuid4().hex}"))

        outcome = nowhere.hold("breast-cancer", rate=20.0, seconds=1.0)

    assert outcome.refused == outcome.asked > 0
    assert (outcome.sent, outcome.lost) == (0, 0)
