"""docs/rabbitmq.md is true: its Python publishes a job that runs, and its numbers are the code's."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path

import pytest

from cli.models.pull import pull
from shared.limits import JOB_TIMEOUT_S_MAX
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.queues.rabbitmq.topology import CONSUMER_TIMEOUT_MS, RETRY_S, declarations
from tests.fixtures.job_desk import Desk

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "rabbitmq.md").read_text()


def python_block(holding):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    [block] = [block for block in blocks if holding in block]
    return block


@pytest.mark.rabbitmq
def test_the_job_of_the_page_runs(rabbitmq):
    pull(PROJECT / "models")
    name = f"page-{uuid.uuid4().hex}"
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as broker:
        broker.declare([name])
        exec(python_block("basic_publish"), {"amqp_url": rabbitmq.url, "queue_name": name})  # noqa: S102  the page's own code
        queue = broker.queue(name)
        desk = Desk(PROJECT / "models", queues={("shared", "async"): queue}, clock=time.time)
        source = desk.start()
        end = time.monotonic() + 20
        while not source.poll():
            assert time.monotonic() < end
    assert desk.row("order-42").status == "succeeded"


def test_the_fixture_of_the_page_can_be_imported():
    exec(python_block("PrivateBroker"), {})  # noqa: S102  the page's own code


def test_every_queue_and_its_numbers_are_on_the_page():
    for longest_s in RETRY_S:
        assert f"-{longest_s}`" in PAGE
    main = next(item for item in declarations("n", max_receives=20) if item.name == "n")
    assert f"delivery limit {main.arguments['x-delivery-limit']}" in PAGE
    assert f"consumer timeout {CONSUMER_TIMEOUT_MS // 3_600_000} h" in PAGE


def test_the_longest_run_fits_the_consumer_timeout_with_room():
    assert CONSUMER_TIMEOUT_MS >= 2 * JOB_TIMEOUT_S_MAX * 1000


def test_every_queue_that_the_broker_moves_from_moves_at_least_once():
    """Either alone falls back to at most once, and RabbitMQ says nothing."""
    moving = [
        item.arguments
        for item in declarations("n", max_receives=20)
        if "x-dead-letter-exchange" in item.arguments
    ]
    assert len(moving) == 1 + len(RETRY_S)
    for arguments in moving:
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"


def test_no_queue_is_left_to_the_brokers_own_delivery_limit():
    for item in declarations("n", max_receives=20):
        consumed = "-retry-" not in item.name
        assert ("x-delivery-limit" in item.arguments) is consumed
