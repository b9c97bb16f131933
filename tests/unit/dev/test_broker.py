"""What is said where RabbitMQ was asked for and is not there."""

from __future__ import annotations

import pytest

from cli.dev import rabbitmq
from cli.dev.broker import require_installed
from cli.dev.failures import DevError


def test_without_rabbitmq_the_way_out_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(rabbitmq, "SERVER", tmp_path / "rabbitmq-server")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DevError, match="apt-get install rabbitmq-server"):
        require_installed()


def test_a_server_on_the_path_will_do(monkeypatch, tmp_path):
    monkeypatch.setattr(rabbitmq, "SERVER", tmp_path / "elsewhere" / "rabbitmq-server")
    server = tmp_path / "rabbitmq-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    require_installed()
