"""When AWS throttles, breaks, refuses or is silent: few tries, a short time, and our own error."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import boto3
import botocore.exceptions
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from shared.aws import ATTEMPTS, make_client, make_client_config, translated
from shared.errors import (
    InternalError,
    QueueUnavailableError,
    StoreUnavailableError,
    UnavailableError,
)
from shared.queues.protocol import Delivery, Message
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.results.s3 import S3PayloadStore
from tests.fixtures.job_rows import START, ManualClock, new_row

KEY = new_row().key


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    asked = 0

    def was_asked(self, times):
        """The calls so far; on a busy machine a client gives up before its last call is counted."""
        deadline = time.monotonic() + 5
        while self.asked < times and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.asked


class _Answers(BaseHTTPRequestHandler):
    """Answers every call of one AWS client alike."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("content-length") or 0))
        status, code = self.server.answer
        if status is None:
            self.server.released.wait(10)
            self.close_connection = True
            return
        if status == "cut":
            self.close_connection = True
            return
        body = json.dumps({"__type": f"com.amazonaws#{code}", "message": "no"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815  the names that http.server looks for

    def log_message(self, *_):
        """Nobody reads it."""


@contextmanager
def aws(status, code="x"):
    """An AWS that answers everything with this; `None` never answers, "cut" hangs up."""
    server = _Server(("127.0.0.1", 0), _Answers)
    server.answer, server.released = (status, code), threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()


def client_of(service, server):
    session = boto3.Session(
        aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
    )
    port = server.server_address[1]
    return make_client(
        service, session=session, endpoint_url=f"http://127.0.0.1:{port}", read_timeout_s=0.2
    )


STORE_CALLS = {
    "create": lambda store: store.create(new_row()),
    "claim": lambda store: store.claim(KEY, owner="a", lease_until=START + 9, now=START),
    "get": lambda store: store.get(KEY),
    "list": lambda store: store.list("acme"),
    "due": lambda store: store.due(now=START, limit=1),
}
FAILURES = {
    "throttled": (400, "ProvisionedThroughputExceededException"),
    "too many requests": (400, "ThrottlingException"),
    "broken": (500, "InternalServerError"),
    "silent": (None, ""),
    "hanging up": ("cut", ""),
}


@pytest.mark.parametrize(
    ("call", "failure"),
    [*((call, "broken") for call in STORE_CALLS), *(("claim", failure) for failure in FAILURES)],
)
def test_a_job_store_gives_up_after_few_tries(call, failure):
    with aws(*FAILURES[failure]) as server:
        store = DynamoJobStore(client_of("dynamodb", server), table="t", clock=ManualClock())
        with pytest.raises(StoreUnavailableError, match="try again later"):
            STORE_CALLS[call](store)
        assert server.was_asked(ATTEMPTS) == ATTEMPTS


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_what_a_retry_cannot_mend_at_once_is_asked_once(code):
    with aws(400, code) as server:
        store = DynamoJobStore(client_of("dynamodb", server), table="t", clock=ManualClock())
        with pytest.raises(StoreUnavailableError, match=code):
            store.get(KEY)
        assert server.was_asked(1) == 1


def test_a_request_that_we_should_not_have_made_is_our_defect():
    with aws(400, "ValidationException") as server:
        store = DynamoJobStore(client_of("dynamodb", server), table="t", clock=ManualClock())
        with pytest.raises(InternalError, match="ValidationException"):
            store.get(KEY)
        with pytest.raises(InternalError):
            store.list("acme", limit=0)


def test_a_condition_that_failed_without_an_item_is_an_unknown_job():
    with aws(400, "ConditionalCheckFailedException") as server:
        store = DynamoJobStore(client_of("dynamodb", server), table="t", clock=ManualClock())
        assert store.cancel(KEY, now=START) is None
        assert store.extend(KEY, fence=1, lease_until=START) is False
        assert server.was_asked(2) == 2


DELIVERY = Delivery(body="{}", message_id="m", receipt="r")
QUEUE_CALLS = {
    "send": lambda queue: queue.send("{}", tenant="acme"),
    "receive": lambda queue: queue.receive(limit=1, wait_s=0),
    "acknowledge": lambda queue: queue.acknowledge(DELIVERY),
    "hand back": lambda queue: queue.hand_back(DELIVERY),
    "hand back many": lambda queue: queue.hand_back_many([DELIVERY], delays_s=[1]),
    "bury": lambda queue: queue.bury(DELIVERY, reason="x"),
    "depth": lambda queue: queue.depth(),
}


def queue_of(server):
    url = f"http://127.0.0.1:{server.server_address[1]}/0/q"
    return SqsQueue(client_of("sqs", server), url=url, dead_letter_url=url)


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        *((call, ("cut", "")) for call in QUEUE_CALLS),
        ("send", (400, "RequestThrottled")),
        ("send", (503, "x")),
        ("send", (None, "")),
    ],
)
def test_a_queue_gives_up_after_few_tries(call, failure):
    with aws(*failure) as server:
        with pytest.raises(QueueUnavailableError, match="try again later"):
            QUEUE_CALLS[call](queue_of(server))
        assert server.was_asked(ATTEMPTS) == ATTEMPTS


def test_messages_that_a_broker_did_not_take_are_not_confirmed():
    with aws(503) as server:
        messages = [Message(body=str(n), tenant="acme") for n in range(11)]
        assert list(queue_of(server).send_many(messages)) == [None] * 11


@pytest.mark.parametrize(
    "lapsed",
    ["ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"],
)
def test_a_delivery_that_is_in_flight_no_more_is_no_error(lapsed):
    with aws(400, lapsed) as server:
        queue_of(server).hand_back(DELIVERY)
        queue_of(server).acknowledge(DELIVERY)
        assert server.was_asked(2) == 2


PAYLOAD_CALLS = {
    "put": lambda store: store.put("k", b"x", content_type="text/plain"),
    "get": lambda store: store.get("k", max_bytes=1),
    "delete": lambda store: store.delete("k"),
    "copy": lambda store: store.copy_to("k", "s3://other/k"),
}


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        *((call, ("cut", "")) for call in PAYLOAD_CALLS),
        ("get", (503, "SlowDown")),
        ("get", (None, "")),
    ],
)
def test_a_payload_store_gives_up_after_few_tries(call, failure):
    with aws(*failure) as server:
        store = S3PayloadStore(client_of("s3", server), bucket="bucket")
        with pytest.raises(StoreUnavailableError, match="try again later"):
            PAYLOAD_CALLS[call](store)
        assert server.was_asked(ATTEMPTS) == ATTEMPTS


BOTOCORE_ERRORS = sorted(
    (
        kind
        for kind in vars(botocore.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, (BotoCoreError, ClientError))
    ),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", BOTOCORE_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_botocore_gets_our_name(kind):
    error = kind.__new__(kind)
    error.response = {"Error": {"Code": "x"}}
    with (
        pytest.raises((StoreUnavailableError, InternalError)) as raised,
        translated(StoreUnavailableError, "the table"),
    ):
        raise error
    assert raised.value.__cause__ is error


def test_our_own_errors_pass_untouched():
    with (
        pytest.raises(UnavailableError) as raised,
        translated(StoreUnavailableError, "the table"),
    ):
        raise QueueUnavailableError("mine")
    assert type(raised.value) is QueueUnavailableError


@pytest.mark.parametrize("service", ["dynamodb", "s3", "sqs"])
def test_the_time_that_a_call_can_take_is_bounded(service):
    config = make_client_config(service)
    assert config.retries == {"mode": "standard", "total_max_attempts": ATTEMPTS}
    assert ATTEMPTS * (config.connect_timeout + config.read_timeout) < 20
