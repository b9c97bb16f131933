"""The folder of a running service, and what is refused before anything starts."""

from __future__ import annotations

import json
import multiprocessing
import socket

import pytest

from cli.dev.failures import DevError
from cli.dev.processes import plain_environment
from cli.dev.state import AwsAccess, Running, State, require_free_port

ACCESS = AwsAccess(
    endpoint_url="http://127.0.0.1:1", access_key_id="1" * 12, secret_access_key="x", region="r"
)
RUNNING = Running(
    endpoint="http://127.0.0.1:1/api", api_key="lw_x", aws=ACCESS, tables={"keys": "t"}
)


def test_what_is_published_has_every_member_and_is_for_its_owner_alone(tmp_path):
    state = State(tmp_path)
    state.publish(RUNNING)
    assert json.loads(state.dev_json.read_text()) == {
        "endpoint": "http://127.0.0.1:1/api",
        "api_key": "lw_x",
        "aws": {
            "endpoint_url": "http://127.0.0.1:1",
            "access_key_id": "1" * 12,
            "secret_access_key": "x",
            "region": "r",
        },
        "queues": {},
        "broker": {},
        "buckets": {},
        "tables": {"keys": "t"},
    }
    assert state.dev_json.stat().st_mode & 0o077 == 0


def test_a_held_folder_is_cleaned_before_and_after(tmp_path):
    state = State(tmp_path)
    state.publish(RUNNING)
    (state.scratch("emulator") / "left-over").mkdir()
    with state.held():
        assert not state.dev_json.exists()
        assert list((tmp_path / "tmp").iterdir()) == []
        state.publish(RUNNING)
    assert not state.dev_json.exists()


def _hold(folder, started, done):
    with State(folder).held():
        started.set()
        done.wait(30)


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    started, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, started, done))
    other.start()
    try:
        assert started.wait(30)
        with pytest.raises(DevError, match=f"process {other.pid}"), State(tmp_path).held():
            pass
    finally:
        done.set()
        other.join(30)
    with State(tmp_path).held():
        pass


def test_a_port_in_use_is_refused_with_the_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DevError, match="LANEWAY_PORT="):
            require_free_port(taken.getsockname()[1])


def test_the_tools_see_nothing_of_the_callers_aws_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    environment = plain_environment(tmp_path / "home", tmp_path / "scratch")
    assert "mine" not in environment.values()
    assert (
        environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
    )
    assert environment["HOME"] == str(tmp_path / "home")
