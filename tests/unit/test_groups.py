"""Where processes share the tests, a file stays in one of them, and so do those that share a service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import group_of

PROJECT = Path(__file__).parents[2]
FILES = (
    "tests/unit/test_version.py",
    "tests/unit/routing/test_lane.py",
    "tests/unit/test_settings.py",
)
PLUGINS = ("xdist", "pytest_timeout", "pytest_asyncio.plugin", "pytest_rerunfailures")
"""Those that the project's settings speak of; three processes load no others."""


def test_tests_that_share_a_service_are_one_group():
    assert group_of("tests/e2e/test_readiness.py") == group_of("tests/e2e/test_docs_page.py")
    assert group_of("tests/faults/test_rabbitmq.py") == group_of("tests/faults/test_matrix.py")
    assert group_of("tests/stacks/test_roles_on_rabbitmq.py") == group_of(
        "tests/stacks/test_app.py"
    )
    brokered = ("test_rabbitmq.py", "test_queues.py", "test_invoked.py", "test_rabbitmq_page.py")
    assert len({group_of(f"tests/contract/queues/{name}") for name in brokered}) == 1
    alone = ("tests/contract/queues/test_queue_edges.py", "tests/unit/test_errors.py")
    assert [group_of(name) for name in alone] == list(alone)


def test_two_processes_run_every_file_whole():
    plugins = [word for name in PLUGINS for word in ("-p", name)]
    shared = ["-v", "-n", "2", "--dist", "loadgroup"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *shared, *FILES],
        cwd=PROJECT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    ran = re.findall(r"^\[(gw\d)\].* PASSED (\S+?)::", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout
    assert len(ran) > 2 * len(FILES)
    for name in FILES:
        assert len({process for process, file in ran if file == name}) == 1
