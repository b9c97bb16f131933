"""A task is protected while it has jobs in hand, and not a moment longer than it says."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gpu_workers.protection import PAUSE_S, RENEW_S, ROW_S, Protection
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


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@contextmanager
def watching(agent, is_busy, clock=time.monotonic):
    address = f"http://127.0.0.1:{agent.server_address[1]}/api/abc"
    stop = threading.Event()
    protection = Protection(address, is_busy, look_s=0.01, clock=clock)
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


class Steady:
    """A worker that always has something in hand, looked at so often that each look has been acted on."""

    def __init__(self):
        self.looks = 0
        self.busy = True

    def __call__(self):
        self.looks += 1
        return self.busy

    def is_seen(self):
        seen = self.looks
        wait_for(lambda: self.looks > seen + 2)


def test_a_worker_under_steady_load_pauses_its_protection_so_that_a_rollout_may_stop_it(agent):
    clock, steady = Clock(), Steady()
    with watching(agent, steady, clock):
        wait_for(lambda: told(agent) == [True])
        for renewed in range(2, int(ROW_S // (RENEW_S + 1)) + 2):
            clock.now_s += RENEW_S + 1
            wait_for(lambda count=renewed: told(agent) == [True] * count)
        before = len(agent.asked)

        clock.now_s = 1000.0 + ROW_S
        wait_for(lambda: told(agent)[before:] == [False])
        clock.now_s += PAUSE_S - 1
        steady.is_seen()
        assert told(agent)[before:] == [False]

        clock.now_s += 1
        wait_for(lambda: told(agent)[before:] == [False, True])
        clock.now_s += ROW_S - 1
        wait_for(lambda: told(agent)[before:] == [False, True, True])
        clock.now_s += 1
        wait_for(lambda: told(agent)[before:] == [False, True, True, False])


def test_a_moment_without_work_begins_no_new_row(agent):
    clock, steady = Clock(), Steady()
    with watching(agent, steady, clock):
        wait_for(lambda: told(agent) == [True])
        clock.now_s += ROW_S - 10
        wait_for(lambda: told(agent) == [True, True])
        steady.busy = False
        wait_for(lambda: told(agent) == [True, True, False])
        clock.now_s += 5
        steady.busy = True
        wait_for(lambda: told(agent) == [True, True, False, True])
        clock.now_s += 5
        wait_for(lambda: told(agent) == [True, True, False, True, False])


def test_a_pause_without_work_begins_a_new_row(agent):
    clock, steady = Clock(), Steady()
    with watching(agent, steady, clock):
        wait_for(lambda: told(agent) == [True])
        steady.busy = False
        wait_for(lambda: told(agent) == [True, False])
        clock.now_s += ROW_S
        steady.busy = True
        wait_for(lambda: told(agent) == [True, False, True])
        clock.now_s += ROW_S - 1
        wait_for(lambda: told(agent) == [True, False, True, True])
        steady.is_seen()
        assert told(agent) == [True, False, True, True]
