"""The guarded POST against a real TLS server on this machine, which behaves badly in every way."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from shared.egress import EgressRules
from shared.egress.https import ANSWER_BYTES_MAX, Answer, Blocked, GuardedPoster, Unreachable
from tests.fixtures.receiver import NAME, drip, flood, receiver, reply

BODY = b'{"type":"job.succeeded"}'
TIMEOUT_S = 0.5
PATIENCE_S = 3.0
"""Far above the timeout, far below what any of the bad servers would take."""


def make_poster(hooks, *, timeout_s=5.0, resolve=None, rules=None, ca_file=None):
    return GuardedPoster(
        rules=rules or EgressRules(loopback=frozenset({f"{NAME}:{hooks.port}"})),
        ca_file=ca_file or hooks.ca_file,
        timeout_s=timeout_s,
        resolve=resolve or (lambda _host, _port: ["127.0.0.1"]),
    )


def post(poster, url):
    return poster.post(url, body=BODY, headers={"Content-Type": "application/json"})


def timed(poster, url):
    started = time.monotonic()
    outcome = post(poster, url)
    assert time.monotonic() - started < PATIENCE_S
    return outcome


def test_the_body_arrives_as_it_is_under_the_name_of_the_url(hooks):
    assert post(make_poster(hooks), hooks.url) == Answer(status=200)
    [request] = hooks.received
    assert (request.path, request.body) == ("/hook", BODY)
    assert request.headers["host"] == f"{NAME}:{hooks.port}"


def test_no_header_is_sent_beyond_those_that_are_needed(hooks, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text(f"machine {NAME} login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary")
    post(make_poster(hooks), hooks.url)
    [request] = hooks.received
    assert set(request.headers) == {
        "host",
        "user-agent",
        "content-type",
        "content-length",
        "accept-encoding",
    }


def test_a_proxy_of_the_environment_is_not_used(hooks, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.1)
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert post(make_poster(hooks), hooks.url) == Answer(status=200)
        with pytest.raises(TimeoutError):
            proxy.accept()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(hooks, tmp_path, status):
    with receiver(tmp_path, host="127.0.0.2") as elsewhere:
        location = f"https://127.0.0.2:{elsewhere.port}/latest/meta-data"
        hooks.answers = [reply(status, f"Location: {location}")]
        assert post(make_poster(hooks), hooks.url) == Answer(status=status, location=location)
        assert elsewhere.connections == 0
    assert hooks.connections == 1


def test_the_wait_that_a_receiver_asks_for_is_told(hooks):
    hooks.answers = [reply(429, "Retry-After: 120")]
    assert post(make_poster(hooks), hooks.url) == Answer(status=429, retry_after="120")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), id="headers"),
        pytest.param(drip(b"", b"H"), id="status line"),
        pytest.param(drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="interim answers"),
        pytest.param(drip(b"", b""), id="nothing"),
    ],
)
def test_an_answer_that_drips_is_cut_at_the_deadline(hooks, answer):
    hooks.answers = [answer]
    outcome = timed(make_poster(hooks, timeout_s=TIMEOUT_S), hooks.url)
    assert outcome in {Unreachable("timeout"), Unreachable("protocol")}
    assert len(hooks.received) == 1


def test_a_body_that_drips_is_cut_at_the_deadline_and_the_status_counts(hooks):
    hooks.answers = [drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x")]
    assert timed(make_poster(hooks, timeout_s=TIMEOUT_S), hooks.url) == Answer(status=200)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_body_without_end_is_cut_after_a_little(hooks, head):
    hooks.answers = [flood(head)]
    assert timed(make_poster(hooks), hooks.url) == Answer(status=200)
    assert hooks.cut.wait(PATIENCE_S)
    # what both kernels hold beyond what was read
    assert hooks.sent_bytes < 16 * 1024 * 1024
    assert hooks.sent_bytes > ANSWER_BYTES_MAX


def test_headers_without_end_are_no_answer(hooks):
    hooks.answers = [drip(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 50)]
    assert timed(make_poster(hooks), hooks.url) == Unreachable("protocol")


def test_an_answer_that_is_no_http_is_no_answer(hooks):
    hooks.answers = [b"SSH-2.0-OpenSSH_9.6\r\n"]
    assert post(make_poster(hooks), hooks.url) == Unreachable("protocol")


def test_a_host_that_never_speaks_tls_is_given_up_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        poster = GuardedPoster(
            rules=EgressRules(loopback=frozenset({f"{NAME}:{port}"})),
            timeout_s=TIMEOUT_S,
            resolve=lambda _host, _port: ["127.0.0.1"],
        )
        assert timed(poster, f"https://{NAME}:{port}/") == Unreachable("timeout")


def test_a_certificate_of_an_unknown_authority_is_refused(hooks, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with receiver(other) as stranger:
        poster = make_poster(hooks, ca_file=stranger.ca_file)
    assert post(poster, hooks.url) == Unreachable("tls")
    assert hooks.received == []


def test_a_certificate_of_another_name_is_refused(tmp_path):
    with receiver(tmp_path, names=("other.example.com", "127.0.0.1")) as hooks:
        assert post(make_poster(hooks), hooks.url) == Unreachable("tls")
        assert hooks.received == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fd00:ec2::254"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["fe80::1%eth0"],
    ],
)
def test_a_name_with_an_address_inside_is_blocked_before_a_connection(hooks, addresses):
    rules = EgressRules(ports=frozenset({443, hooks.port}))
    poster = make_poster(hooks, rules=rules, resolve=lambda _host, _port: addresses)
    assert isinstance(post(poster, hooks.url), Blocked)
    assert hooks.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_an_address_inside_is_blocked_before_a_connection(hooks, host):
    poster = make_poster(hooks, rules=EgressRules(ports=frozenset({443, hooks.port})))
    assert isinstance(post(poster, f"https://{host}:{hooks.port}/"), Blocked)
    assert hooks.connections == 0


def test_a_listed_name_leads_to_this_machine_and_nowhere_else(hooks):
    poster = make_poster(hooks, resolve=lambda _host, _port: ["10.0.0.1"])
    assert isinstance(post(poster, hooks.url), Blocked)


def test_the_connection_goes_to_the_address_that_was_vetted_whatever_the_name_says_later(
    hooks, tmp_path, monkeypatch
):
    asked, looked_up = [], []
    real = socket.getaddrinfo

    def rebinding(host, port):
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    def recording(host, *args, **kwargs):
        looked_up.append(host)
        return real(host, *args, **kwargs)

    with receiver(tmp_path, host="127.0.0.2", port=hooks.port) as inside:
        monkeypatch.setattr(socket, "getaddrinfo", recording)
        assert post(make_poster(hooks, resolve=rebinding), hooks.url) == Answer(status=200)
        assert inside.connections == 0
    assert asked == [(NAME, hooks.port)]
    assert set(looked_up) <= {"127.0.0.1"}


def test_the_next_address_is_tried_while_nothing_was_sent(hooks):
    poster = make_poster(hooks, resolve=lambda _host, _port: ["127.0.0.9", "127.0.0.1"])
    assert post(poster, hooks.url) == Answer(status=200)


def test_a_closed_port_is_told(hooks):
    poster = make_poster(hooks, resolve=lambda _host, _port: ["127.0.0.9"])
    assert post(poster, hooks.url) == Unreachable("connect")


def test_a_name_that_does_not_resolve_is_told(hooks):
    def unknown(_host, _port):
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    assert post(make_poster(hooks, resolve=unknown), hooks.url) == Unreachable("dns")
    empty = make_poster(hooks, resolve=lambda _host, _port: [])
    assert post(empty, hooks.url) == Unreachable("dns")


def test_a_resolver_that_hangs_is_left_behind_at_the_deadline(hooks):
    release = threading.Event()

    def hanging(_host, _port):
        release.wait(PATIENCE_S * 2)
        return ["127.0.0.1"]

    outcome = timed(make_poster(hooks, timeout_s=TIMEOUT_S, resolve=hanging), hooks.url)
    release.set()
    assert outcome == Unreachable("timeout")
    assert hooks.connections == 0


def test_nothing_of_the_url_is_logged(hooks, caplog):
    caplog.set_level("DEBUG")
    hooks.answers = [b"HTTP/1.1 500 X\r\nnot a header\r\n\r\n"]
    post(make_poster(hooks), f"{hooks.url}/canary")
    assert hooks.received[0].path == "/hook/canary"
    assert "canary" not in caplog.text
