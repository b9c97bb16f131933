"""Ended jobs told to a real TLS receiver: signed, tried again on a schedule, and never to inside.

The queue, the store and the function are those that run on AWS, in one process; time is a clock that
the test moves.
"""

from __future__ import annotations

import socket
import time
from itertools import accumulate

import pytest
from standardwebhooks import Webhook

from shared.egress import EgressRules
from shared.egress.https import Answer, GuardedPoster, Unreachable
from shared.egress.memory import MemoryPoster
from shared.jobs.messages import event
from shared.jobs.webhook_schedule import ATTEMPTS, JITTER, WAITS_S
from shared.jobs.webhook_secrets import create_secret, rotate_secret
from shared.results.rows import JobKey
from tests.fixtures.hook_desk import BASE_URL, CANARY, MAX_RECEIVES, TENANT, HookDesk, lines
from tests.fixtures.job_rows import ManualClock
from tests.fixtures.receiver import NAME, drip, flood, receiver, reply

HOUR_S = 3600.0
TIMEOUT_S = 0.5


@pytest.fixture
def hooks(tmp_path):
    with receiver(tmp_path) as running:
        yield running


@pytest.fixture
def desk(hooks):
    """Sends to `hooks`; the time is now, because a receiver checks it."""
    return HookDesk(poster=guarded(hooks), clock=ManualClock(float(int(time.time()))))


def guarded(hooks, *, timeout_s=5.0, resolve=lambda _host, _port: ["127.0.0.1"]):
    return GuardedPoster(
        rules=EgressRules(loopback=frozenset({f"{NAME}:{hooks.port}"})),
        ca_file=hooks.ca_file,
        timeout_s=timeout_s,
        resolve=resolve,
    )


def secret(desk, index=0):
    return desk.secrets.get(TENANT)[index].value


def test_an_ended_job_is_told_once_signed_and_without_its_result(desk, hooks):
    row = desk.end_job(url=hooks.url)
    desk.pass_time(HOUR_S)
    [request] = hooks.received
    told = Webhook(secret(desk)).verify(request.body, request.headers)
    assert (told["type"], told["data"]["id"]) == ("job.succeeded", "job-1")
    assert told["data"]["urls"]["result"] == f"{BASE_URL}/v2/jobs/job-1/result"
    assert CANARY.encode() not in request.body
    assert request.headers["webhook-id"] == "evt_job-1_succeeded"
    assert request.headers["content-type"] == "application/json"
    assert desk.queue.depth() == 0
    assert desk.store.get(row.key) == row


@pytest.mark.parametrize("status", ["failed", "canceled", "expired"])
def test_every_ending_is_told(desk, hooks, status):
    desk.end_job(url=hooks.url, status=status)
    desk.source.drain()
    [request] = hooks.received
    assert Webhook(secret(desk)).verify(request.body, request.headers)["type"] == f"job.{status}"


def test_a_receiver_verifies_with_either_secret_after_a_rotation(desk, hooks):
    old = secret(desk)
    rotate_secret(desk.secrets, TENANT)
    desk.end_job(url=hooks.url)
    desk.source.drain()
    [request] = hooks.received
    for value in (old, secret(desk)):
        Webhook(value).verify(request.body, request.headers)
    assert old != secret(desk)


def test_an_attempt_that_failed_is_repeated_with_the_same_id_and_bytes_at_a_new_time(desk, hooks):
    hooks.answers = [reply(500), reply(503)]
    desk.end_job(url=hooks.url)
    desk.pass_time(HOUR_S, step_s=1)
    first, second, third = hooks.received
    assert {request.headers["webhook-id"] for request in hooks.received} == {"evt_job-1_succeeded"}
    assert first.body == second.body == third.body
    assert first.headers["webhook-timestamp"] < third.headers["webhook-timestamp"]
    Webhook(secret(desk)).verify(second.body, second.headers)
    assert desk.queue.depth() == 0
    assert desk.buried() == []


def test_a_receiver_that_is_gone_is_not_tried_again(desk, hooks, capsys):
    hooks.answers = [reply(410)]
    row = desk.end_job(url=hooks.url)
    desk.pass_time(HOUR_S)
    assert len(hooks.received) == 1
    assert (desk.queue.depth(), desk.buried()) == (0, [])
    assert [line["code"] for line in lines(capsys.readouterr().out)] == ["WEBHOOK_DISABLED"]
    assert desk.store.get(row.key) == row


def test_a_receiver_may_ask_for_a_later_attempt(desk, hooks):
    hooks.answers = [reply(429, "Retry-After: 3600")]
    desk.end_job(url=hooks.url)
    desk.pass_time(HOUR_S - 60)
    assert len(hooks.received) == 1
    desk.pass_time(HOUR_S * (JITTER + 0.1))
    assert len(hooks.received) == 2


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), None, id="slow"),
        pytest.param(reply(302, "Location: https://www.example.com/"), 302, id="redirect"),
        pytest.param(reply(404), 404, id="not found"),
    ],
)
def test_a_receiver_that_does_not_accept_is_tried_again(hooks, answer, status, capsys):
    desk = HookDesk(poster=guarded(hooks, timeout_s=TIMEOUT_S))
    hooks.answers = [answer]
    desk.end_job(url=hooks.url)
    desk.pass_time(10, step_s=1)
    assert len(hooks.received) == 2
    told = [(line["code"], line["status"]) for line in lines(capsys.readouterr().out)]
    assert told == [("WEBHOOK_FAILED", status), ("WEBHOOK_DELIVERED", 200)]


def test_an_answer_without_end_is_cut_and_counts_by_its_status(desk, hooks):
    hooks.answers = [flood(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")]
    desk.end_job(url=hooks.url)
    desk.source.drain()
    assert (desk.queue.depth(), desk.buried()) == (0, [])
    assert hooks.cut.wait(5)


def test_a_slow_receiver_does_not_hold_up_the_others(hooks):
    desk = HookDesk(poster=guarded(hooks, timeout_s=2.0))
    hooks.answers = [drip(b"", b"")] * 5
    for number in range(10):
        desk.end_job(f"job-{number}", url=hooks.url)
    started = time.monotonic()
    poll = desk.source.poll()
    assert time.monotonic() - started < 8  # five one after the other would take ten
    assert len(poll.delivered) == 10
    assert len(poll.failed) == 5


def test_a_certificate_of_another_name_is_not_trusted(tmp_path, capsys):
    with receiver(tmp_path, names=("other.example.com",)) as hooks:
        desk = HookDesk(poster=guarded(hooks))
        desk.end_job(url=hooks.url)
        desk.source.drain()
        assert hooks.received == []
    [line] = lines(capsys.readouterr().out)
    assert (line["code"], line["reason"]) == ("WEBHOOK_FAILED", "tls")


INSIDE = [
    "https://169.254.169.254/latest/meta-data/",
    "https://0xA9FEA9FE/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://169.254.170.2/v2/credentials/",
    "https://[fd00:ec2::254]/",
    "https://localhost/",
    "https://user:pass@receiver.example.com/",
    "http://receiver.example.com/",
]


@pytest.mark.parametrize("url", INSIDE)
def test_a_url_inside_that_came_past_the_submission_is_blocked_for_good(url, capsys):
    desk = HookDesk(poster=GuardedPoster(resolve=lambda _host, _port: ["8.8.8.8"], timeout_s=1))
    row = desk.end_job(url=url)
    desk.pass_time(24 * HOUR_S)
    assert_blocked(desk, row, capsys)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "fd00:ec2::254"])
def test_a_name_that_leads_inside_is_blocked_for_good(hooks, address, capsys):
    rules = EgressRules(ports=frozenset({443, hooks.port}))
    desk = HookDesk(poster=GuardedPoster(rules=rules, resolve=lambda _host, _port: [address]))
    row = desk.end_job(url=hooks.url)
    desk.pass_time(24 * HOUR_S)
    assert_blocked(desk, row, capsys)
    assert hooks.connections == 0


def test_a_port_on_this_machine_gets_no_connection(capsys):
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0.1)
        port = inside.getsockname()[1]
        rules = EgressRules(ports=frozenset({443, port}))
        desk = HookDesk(poster=GuardedPoster(rules=rules))
        row = desk.end_job(url=f"https://127.0.0.1:{port}/")
        desk.source.drain()
        assert_blocked(desk, row, capsys)
        with pytest.raises(TimeoutError):
            inside.accept()


@pytest.mark.parametrize(
    "location",
    [
        "https://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/",
        "https://127.0.0.1:9001/",
        "https://[::1]/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_to_inside_is_blocked_for_good(desk, hooks, location, capsys):
    hooks.answers = [reply(307, f"Location: {location}")]
    row = desk.end_job(url=hooks.url)
    desk.pass_time(24 * HOUR_S)
    assert_blocked(desk, row, capsys)
    assert hooks.connections == 1


def assert_blocked(desk, row, capsys):
    """One attempt, told and buried with its reason; the job stays as it is."""
    assert desk.queue.depth() == 0
    [reason] = desk.buried()
    assert reason.startswith("WEBHOOK_BLOCKED: ")
    [line] = lines(capsys.readouterr().out)
    assert (line["code"], line["webhook_failures"]) == ("WEBHOOK_BLOCKED", 1)
    assert desk.store.get(row.key) == row


def test_a_name_that_moves_inside_between_two_attempts_is_blocked(hooks):
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    desk = HookDesk(poster=guarded(hooks, resolve=lambda _host, _port: answers.pop(0)))
    hooks.answers = [reply(500)]
    desk.end_job(url=hooks.url)
    desk.pass_time(10, step_s=1)
    assert hooks.connections == 1
    [reason] = desk.buried()
    assert reason.startswith("WEBHOOK_BLOCKED: ")


def test_the_same_event_twice_arrives_under_one_id(desk, hooks):
    row = desk.end_job(url=hooks.url)
    desk.queue.send(event(row.key), tenant=TENANT)
    desk.source.drain()
    assert len(hooks.received) == 2
    assert len({request.headers["webhook-id"] for request in hooks.received}) == 1


def test_a_function_that_dies_after_sending_sends_again_under_the_same_id(desk, hooks):
    def dies(incoming, context):
        desk.handler(incoming, context)
        raise SystemError("stopped before Lambda deleted the message")

    desk.end_job(url=hooks.url)
    assert desk.start(dies).poll().error is not None
    assert desk.source.poll() is None
    desk.pass_time(10 * 60)
    assert [request.headers["webhook-id"] for request in hooks.received] == [
        "evt_job-1_succeeded"
    ] * 2
    assert desk.queue.depth() == 0


@pytest.mark.parametrize("random", [0.0, 1.0])
def test_an_event_is_tried_ten_times_in_about_three_days_and_then_buried(random, capsys):
    poster = MemoryPoster([Answer(status=500), Unreachable("timeout")] * ATTEMPTS)
    desk = HookDesk(poster=poster, random=random)
    began = desk.clock()
    row = desk.end_job()
    desk.pass_time(1.2 * sum(WAITS_S), step_s=5)
    ages = [int(post.headers["webhook-timestamp"]) - began for post in poster.posted]
    assert len(ages) == ATTEMPTS
    for age, start in zip(ages, accumulate(WAITS_S), strict=True):
        assert start <= age <= start * (1 + JITTER) + 120
    assert len({post.headers["webhook-id"] for post in poster.posted}) == 1
    assert desk.buried() == ["WEBHOOK_EXHAUSTED: no success in 10 attempts, the last: timeout"]
    assert len(desk.source.polls) < MAX_RECEIVES
    assert desk.store.get(row.key) == row
    told = lines(capsys.readouterr().out)
    tried = [line["attempt"] for line in told if line["attempt"]]
    assert tried == list(range(1, ATTEMPTS + 1))
    assert sum(line["webhook_failures"] for line in told) == ATTEMPTS


def test_a_tenant_without_a_secret_is_told_of_as_soon_as_it_has_one(hooks, capsys):
    desk = HookDesk(poster=guarded(hooks), signs=False)
    desk.end_job(url=hooks.url)
    desk.source.drain()
    assert hooks.connections == 0
    [line] = lines(capsys.readouterr().out)
    assert line["code"] == "WEBHOOK_UNSIGNED"
    create_secret(desk.secrets, TENANT)
    desk.pass_time(60, step_s=1)
    assert len(hooks.received) == 1


def test_a_message_that_cannot_be_read_is_buried_and_holds_up_nobody(desk, hooks):
    desk.queue.send("not an event", tenant=TENANT)
    desk.end_job(url=hooks.url)
    desk.source.drain()
    assert len(hooks.received) == 1
    assert desk.queue.depth() == 0
    assert desk.buried() == ["the message is no event of this service"]


def test_a_job_that_was_removed_is_told_to_nobody(desk, hooks):
    desk.queue.send(event(JobKey(TENANT, "job-9")), tenant=TENANT)
    desk.source.drain()
    assert (hooks.connections, desk.queue.depth(), desk.buried()) == (0, 0, [])


def test_neither_secret_nor_payload_nor_url_is_logged(desk, hooks, capsys):
    hooks.answers = [reply(500, body=f"answer {CANARY}".encode())]
    desk.end_job(url=f"{hooks.url}/{CANARY}", metadata={"note": CANARY})
    desk.pass_time(60, step_s=1)
    assert len(hooks.received) == 2
    written = "".join(capsys.readouterr())
    assert len(lines(written)) == 2
    for hidden in (CANARY, "whsec_", secret(desk), hooks.url, "v1,"):
        assert hidden not in written


def test_a_line_tells_the_job_the_attempt_and_its_metrics(desk, hooks, capsys):
    desk.end_job(url=hooks.url)
    desk.source.drain()
    [line] = lines(capsys.readouterr().out)
    told = {name: line[name] for name in ("tenant", "job_id", "attempt", "status", "code", "stage")}
    assert told == {
        "tenant": TENANT,
        "job_id": "job-1",
        "attempt": 1,
        "status": 200,
        "code": "WEBHOOK_DELIVERED",
        "stage": "dev",
    }
    assert line["ms"] > 0
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Laneway", [["stage"]])
    counted = {item["Name"]: line[item["Name"]] for item in directive["Metrics"]}
    assert counted == {"webhook_deliveries": 1, "webhook_failures": 0}
