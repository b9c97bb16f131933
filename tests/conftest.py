"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.testing.rabbitmq import PrivateBroker

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and commands fold their tables by it

ONE_GROUP = ("e2e", "faults")
"""Folders whose tests share a service that is costly to start: one process runs all of a folder."""
RABBITMQ = "rabbitmq"
"""Marks tests that share a broker: one process runs all files with one of them, but for those above."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two processes share the tests: a file stays whole, and what takes longest starts first."""
    root = Path(__file__).parent
    brokered = {item.path for item in items if item.get_closest_marker(RABBITMQ)}
    for item in items:
        folder, *_ = item.path.relative_to(root).parts
        whole_file = RABBITMQ if item.path in brokered else str(item.path)
        group = folder if folder in ONE_GROUP else whole_file
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: ONE_GROUP[0] not in item.path.parts)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository of a few small graphs; not to be changed by a test."""
    from tests.fixtures.small_models import write_repository  # noqa: PLC0415 - onnx is only loaded where asked for

    return write_repository(tmp_path_factory.mktemp("models"))


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
