"""A task is protected while it has jobs in hand, and not a moment longer than it says."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gpu_workers.protection import Protection
from tests.fixtures.worker_desk import wait_for


class Agent(HTTPServer):
    """ECS's agent, which refuses as long as it is told to."""

    refuses = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Asked)
        self.asked = []


class Asked(BaseHTTPRequestHandler):
    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        answer = {"failure": {}} if self.server.refuses else {"protection": body}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def agent():
    server = Agent()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def watching(agent, is_busy):
    address = f"http://127.0.0.1:{agent.server_address[1]}/api/abc"
    stop = threading.Event()
    protection = Protection(address, is_busy, look_s=0.01)
    thread = threading.Thread(target=lambda: protection.run(stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def told(agent):
    return [body["ProtectionEnabled"] for _, body in agent.asked]


def test_protection_follows_what_is_in_hand_and_is_asked_for_once(agent):
    busy = threading.Event()
    looks = []
    with watching(agent, lambda: looks.append(1) or busy.is_set()):
        busy.set()
        wait_for(lambda: told(agent) == [True])
        seen = len(looks)
        wait_for(lambda: len(looks) > seen + 5)
        busy.clear()
        wait_for(lambda: told(agent) == [True, False])
    assert agent.asked[0] == (
        "/api/abc/task-protection/v1/state",
        {"ProtectionEnabled": True, "ExpiresInMinutes": 5},
    )
    assert told(agent) == [True, False]


def test_a_worker_that_ends_is_not_protected_any_more(agent):
    with watching(agent, lambda: True):
        wait_for(lambda: told(agent) == [True])
    assert told(agent) == [True, False]


def test_a_refusal_is_asked_again(agent):
    agent.refuses = True
    with watching(agent, lambda: True):
        wait_for(lambda: len(agent.asked) > 2)
        agent.refuses = False
        asked = len(agent.asked)
        wait_for(lambda: len(agent.asked) > asked)
    assert told(agent)[-1] is False


def test_no_agent_stops_nobody():
    stop = threading.Event()
    looks = []

    def busy():
        looks.append(1)
        return True

    protection = Protection("http://127.0.0.1:1/api", busy, look_s=0.01)
    thread = threading.Thread(target=lambda: protection.run(stop))
    thread.start()
    wait_for(lambda: len(looks) > 2)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
