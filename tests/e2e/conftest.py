"""The deployed service, started once and shared by the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.local_service import (
    HOSTILE_AWS_SETTINGS,
    LANEWAY,
    PROJECT,
    START_TIMEOUT_S,
    LocalService,
    assert_nothing_left,
    free_port,
    local_service,
)
from tests.fixtures.receiver import Receiver, receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def copied_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of this repository, in a folder that tests may change."""
    folder = tmp_path_factory.mktemp("repository") / "models"
    shutil.copytree(PROJECT / "models", folder, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([LANEWAY, "models", "pull", "--models", folder], check=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver of webhooks on this machine, whose certificates the service was told of."""
    names = ("localhost", "127.0.0.1")
    with receiver(tmp_path_factory.mktemp("hooks"), names=names) as running:
        yield running


@pytest.fixture(scope="session")
def service(
    tmp_path_factory: pytest.TempPathFactory, copied_models: Path, hooks: Receiver
) -> Iterator[LocalService]:
    """The deployed service that all tests of this folder share; in the end nothing of it may be left."""
    state = tmp_path_factory.mktemp("laneway")
    told = {"LANEWAY_WEBHOOK_CA_FILE": hooks.ca_file}
    with local_service(state, copied_models, free_port(), **told) as service:
        service.wait_for("ready after", timeout_s=START_TIMEOUT_S)
        yield service
        assert service.stop() == 0
        assert_nothing_left(service)


@pytest.fixture
def laneway(service, tmp_path):
    """Runs the installed command in a folder where `.laneway/` is the service's."""
    (tmp_path / ".laneway").symlink_to(service.state, target_is_directory=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}

    def run(*args, stdin=None, **env):
        return subprocess.run(
            [LANEWAY, *args], input=stdin, cwd=tmp_path, env=clean | HOSTILE_AWS_SETTINGS | env,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run
