"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.testing.rabbitmq import PrivateBroker

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and commands fold their tables by it

ONE_GROUP = ("e2e", "faults", "stacks")
"""Folders whose tests share what is costly to make, a service or stages: one process runs all of a folder."""
ON_THE_CLOCK = ("e2e", "faults", "performance", "test_fairness.py")
"""Folders and files whose tests start processes or take times. A summary names each that needed its second try."""
RABBITMQ = "rabbitmq"
"""Marks tests that share a broker: one process runs all files with one of them, but for those above."""
TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest starts first; what is on the clock has a second try beside other tests."""
    items.sort(key=lambda item: [folder not in item.path.parts for folder in ONE_GROUP])
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if any(folder in item.path.parts for folder in ON_THE_CLOCK):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Where processes share the tests: what belongs together runs in one of them.

    pytest-xdist 3.8 groups by a mark that it writes into names of tests; pytest 9.2 does not let it,
    and tells nobody.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only there where tests are shared

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid.partition("::")[0])

    config.option.loadscopereorder = False  # the order above, not that of the number of tests
    return ByGroup(config, log)


@cache
def group_of(file: str) -> str:
    """What runs together with a file of tests, which is named from the project: a folder, or itself."""
    path = TESTS.parent / file
    folder, *_ = path.relative_to(TESTS).parts
    if folder in ONE_GROUP:
        return folder
    return RABBITMQ if f"pytest.mark.{RABBITMQ}" in path.read_text() else file


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository of a few small graphs; not to be changed by a test."""
    from tests.fixtures.small_models import write_repository  # noqa: PLC0415 - onnx is only loaded where asked for

    return write_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def served_models(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same less what no synth lets through: a loop without end."""
    folder = tmp_path_factory.mktemp("served") / "models"
    return Path(shutil.copytree(small_models, folder, ignore=shutil.ignore_patterns("stuck")))


@pytest.fixture(scope="session")
def rabbitmq_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who vouches for the broker's certificate, which lies beside it."""
    import trustme  # noqa: PLC0415 - loaded where asked for

    folder = tmp_path_factory.mktemp("authority")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    issued = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    issued.write_to_path(str(folder / "broker.pem"))
    return folder / "authority.pem"


@pytest.fixture(scope="session")
def rabbitmq(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq_authority: Path
) -> Iterator[PrivateBroker]:
    """A broker that these tests have for themselves; each takes queues of names of its own."""
    from cli.testing.rabbitmq import PrivateBroker, is_installed  # noqa: PLC0415 - loaded where asked for

    if not is_installed():
        message = "RabbitMQ is not installed; on Debian: apt install rabbitmq-server"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    folder = tmp_path_factory.mktemp("rabbitmq")
    with PrivateBroker(folder, certificate=rabbitmq_authority.with_name("broker.pem")) as broker:
        yield broker
