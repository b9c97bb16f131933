"""Queues beside their common suite: many threads, long waits, and what Lambda hands over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.queues.memory import MemoryQueue
from shared.queues.protocol import Delivery, Message
from shared.queues.sqs import SqsQueue, from_record
from tests.fixtures.job_rows import ManualClock


def test_every_message_is_received_by_one_of_many_threads():
    queue = MemoryQueue(clock=ManualClock())
    queue.send_many([Message(body=str(n), tenant="acme") for n in range(500)])

    def drain(_):
        taken = []
        while batch := queue.receive(limit=3, wait_s=0):
            taken += [delivery.body for delivery in batch]
        return taken

    with ThreadPoolExecutor(8) as pool:
        received = [body for bodies in pool.map(drain, range(8)) for body in bodies]
    assert sorted(received, key=int) == [str(n) for n in range(500)]


def test_a_receiver_that_waits_is_woken_by_a_message():
    queue = MemoryQueue(clock=ManualClock())
    sender = threading.Timer(0.05, queue.send, ["{}"], {"tenant": "acme"})
    sender.start()
    assert [delivery.body for delivery in queue.receive(limit=1, wait_s=30)] == ["{}"]
    sender.join()


def test_an_unchecked_message_arrives_as_another_program_sent_it():
    queue = MemoryQueue(clock=ManualClock())
    queue.put(Message(body="\x00☃", tenant="acme"))
    assert [delivery.body for delivery in queue.receive(limit=1, wait_s=0)] == ["\x00☃"]


def test_a_wait_that_the_client_would_not_sit_out_is_refused():
    with mock_aws():
        client = make_client(
            "sqs", session=boto3.Session(region_name="us-east-1"), read_timeout_s=20
        )
        queue = SqsQueue(client, url=client.create_queue(QueueName="q")["QueueUrl"])
        with pytest.raises(ValueError, match="read timeout"):
            queue.receive(limit=1, wait_s=20)


RECORD = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    "body": '{"schema_version": 1}',
    "attributes": {
        "ApproximateReceiveCount": "2",
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
        "MessageGroupId": "acme",
    },
    "messageAttributes": {
        "forwarded": {
            "stringValue": "1",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String",
        },
        "picture": {
            "binaryValue": "AAEC",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "Binary",
        },
    },
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:laneway-dev-shared-async",
    "awsRegion": "us-east-1",
}


def test_a_record_of_lambda_is_read_as_a_delivery():
    assert from_record(RECORD) == Delivery(
        body='{"schema_version": 1}',
        message_id="059f36b4-87a3-44ab-83d2-661975830a7d",
        receipt="AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        receive_count=2,
        attributes={"forwarded": "1", "picture": ""},
        sent_at=1545082649.183,
        first_received_at=1545082649.185,
        tenant="acme",
    )


def test_a_record_with_foreign_attributes_can_be_buried():
    with mock_aws():
        client = make_client("sqs", session=boto3.Session(region_name="us-east-1"))
        url = client.create_queue(QueueName="q")["QueueUrl"]
        dead_url = client.create_queue(QueueName="dead")["QueueUrl"]
        client.send_message(
            QueueUrl=url,
            MessageBody="☃",
            MessageAttributes={
                "picture": {"DataType": "Binary", "BinaryValue": b"\x00"},
                "size": {"DataType": "Number", "StringValue": "3"},
            },
        )
        queue = SqsQueue(client, url=url, dead_letter_url=dead_url)
        [delivery] = queue.receive(limit=1, wait_s=0)
        queue.bury(delivery, reason="no JSON")
        [dead] = SqsQueue(client, url=dead_url).receive(limit=1, wait_s=0)
    assert dead.body == "☃"
    assert dead.attributes == {"size": "3", "reason": "no JSON"}
