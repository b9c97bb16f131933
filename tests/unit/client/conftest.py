import pytest

from tests.unit.client.recording_server import recording_server


@pytest.fixture
def server():
    with recording_server() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("LANEWAY_ENDPOINT", "LANEWAY_API_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
