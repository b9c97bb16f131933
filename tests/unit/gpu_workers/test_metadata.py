from __future__ import annotations

import socket
import threading
from http.client import HTTPConnection
from types import SimpleNamespace

import pytest

from cli.testing.metadata import FakeMetadata, serve_metadata
from gpu_workers.metadata import InstanceMetadata, MemoryMetadata, MetadataError

SPOT = "/latest/meta-data/spot/instance-action"
INSTANCE_ID = "/latest/meta-data/instance-id"
TOKEN = "/latest/api/token"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"


@pytest.fixture
def fake():
    with serve_metadata() as metadata:
        yield metadata


@pytest.fixture
def now():
    return SimpleNamespace(s=1000.0)


@pytest.fixture
def ask(fake):
    """One raw request to the fake service: status and text."""

    def send(method, path, **headers):
        host, port = fake.url.removeprefix("http://").split(":")
        connection = HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return send


@pytest.fixture(params=["memory", "http"])
def metadata(request, fake):
    if request.param == "http":
        fake.texts["/latest/meta-data/a"] = "text"
        return InstanceMetadata(fake.url)
    return MemoryMetadata({"/latest/meta-data/a": "text"})


def test_a_path_that_is_there_gives_its_text(metadata):
    assert metadata.get("/latest/meta-data/a") == "text"


def test_a_path_without_anything_gives_none(metadata):
    assert metadata.get(SPOT) is None


def test_metadata_in_memory_can_be_out_of_reach():
    metadata = MemoryMetadata({"/latest/meta-data/a": "text"})
    metadata.reachable = False

    with pytest.raises(MetadataError):
        metadata.get("/latest/meta-data/a")


def test_one_token_serves_many_questions(fake):
    metadata = InstanceMetadata(fake.url)

    for _ in range(3):
        metadata.get(INSTANCE_ID)

    assert fake.requests == [("PUT", TOKEN, 200), *[("GET", INSTANCE_ID, 200)] * 3]


def test_a_token_is_replaced_before_it_lapses(fake, now):
    metadata = InstanceMetadata(fake.url, token_ttl_s=21_600, monotonic=lambda: now.s)
    metadata.get(INSTANCE_ID)

    now.s += 21_600 - 301
    metadata.get(INSTANCE_ID)
    assert [item[0] for item in fake.requests].count("PUT") == 1

    now.s += 2
    metadata.get(INSTANCE_ID)
    assert [item[0] for item in fake.requests].count("PUT") == 2
    assert 401 not in [status for _, _, status in fake.requests]


def test_a_refused_token_costs_a_new_one_and_one_more_try(fake):
    metadata = InstanceMetadata(fake.url)
    metadata.get(INSTANCE_ID)
    fake.forget_tokens()

    assert metadata.get(INSTANCE_ID) == fake.instance_id
    assert fake.requests[2:] == [
        ("GET", INSTANCE_ID, 401),
        ("PUT", TOKEN, 200),
        ("GET", INSTANCE_ID, 200),
    ]


def test_a_service_that_refuses_every_token_is_no_endless_loop(fake):
    fake.clock = iter(
        range(0, 10**9, 10**6)
    ).__next__  # each look at the clock is past every lifetime

    with pytest.raises(MetadataError, match="401"):
        InstanceMetadata(fake.url).get(INSTANCE_ID)

    assert len(fake.requests) == 4


def test_no_token_is_asked_for_longer_than_the_service_grants(fake):
    with pytest.raises(MetadataError, match="400"):
        InstanceMetadata(fake.url, token_ttl_s=21_601).get(INSTANCE_ID)


def test_an_error_of_the_service_is_told_with_its_path_and_status(fake):
    fake.failing = frozenset({SPOT})

    with pytest.raises(MetadataError, match=f"GET {SPOT} answered 500"):
        InstanceMetadata(fake.url).get(SPOT)


def test_a_slow_service_is_given_up_on(fake):
    fake.delay_s = 2.0

    with pytest.raises(MetadataError, match="TimeoutError"):
        InstanceMetadata(fake.url, timeout_s=0.1).get(SPOT)


def test_a_closed_port_is_an_error_of_the_metadata():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(MetadataError, match="ConnectionRefusedError"):
            InstanceMetadata(url).get(SPOT)


@pytest.mark.parametrize(
    "reply",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe"],
    ids=["nothing", "no-http", "no-ascii"],
)
def test_an_answer_that_is_none_is_an_error_of_the_metadata(reply):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(MetadataError, match="got no answer"):
            InstanceMetadata(f"http://127.0.0.1:{server.getsockname()[1]}").get(SPOT)
        thread.join()


def test_the_metadata_is_never_asked_through_a_proxy(fake, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert InstanceMetadata(fake.url).get(INSTANCE_ID) == fake.instance_id


@pytest.mark.parametrize("url", ["https://169.254.169.254", "169.254.169.254", "http://"])
def test_an_address_that_is_no_plain_http_is_refused(url):
    with pytest.raises(ValueError, match="metadata service"):
        InstanceMetadata(url)


# The fake service itself: a test against a kinder one would show nothing.


def test_the_fake_answers_nobody_without_a_token(ask):
    assert ask("GET", SPOT)[0] == 401
    assert ask("GET", SPOT, **{"X-aws-ec2-metadata-token": "made-up"})[0] == 401


def test_the_fake_forgets_a_token_after_its_lifetime(fake, ask, now):
    fake.clock = lambda: now.s
    _, token = ask("PUT", TOKEN, **{TTL: "60"})
    of_token = {"X-aws-ec2-metadata-token": token}

    assert ask("GET", INSTANCE_ID, **of_token)[0] == 200
    now.s += 60
    assert ask("GET", INSTANCE_ID, **of_token)[0] == 401


@pytest.mark.parametrize("ttl", [None, "0", "-1", "21601", "an hour"])
def test_the_fake_grants_no_token_for_an_impossible_lifetime(ask, ttl):
    headers = {} if ttl is None else {TTL: ttl}

    assert ask("PUT", TOKEN, **headers)[0] == 400


@pytest.mark.parametrize("ttl", ["1", "21600"])
def test_the_fake_grants_tokens_for_the_shortest_and_the_longest_lifetime(ask, ttl):
    status, token = ask("PUT", TOKEN, **{TTL: ttl})

    assert status == 200
    assert len(token) >= 40


def test_the_fake_grants_no_token_to_what_came_through_a_proxy(ask):
    assert ask("PUT", TOKEN, **{TTL: "60", "X-Forwarded-For": "10.0.0.7"})[0] == 403


def test_the_fake_has_no_notice_until_one_is_put_in():
    fake = FakeMetadata(clock=lambda: 0.0)
    _, token = fake.answer("PUT", TOKEN, {TTL.lower(): "60"})
    of_token = {"x-aws-ec2-metadata-token": token}
    assert fake.answer("GET", SPOT, of_token) == (404, "Not Found")

    fake.interrupt()

    text = '{"action": "terminate", "time": "1970-01-01T00:02:00Z"}'
    assert fake.answer("GET", SPOT, of_token) == (200, text)


def test_the_fake_takes_no_other_methods(ask):
    assert ask("GET", TOKEN)[0] == 405
    assert ask("POST", SPOT)[0] == 405
