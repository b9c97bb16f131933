import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.unit.client.recording_server import recording_server


@pytest.fixture
def server():
    with recording_server() as running:
        yield running


@pytest.fixture
def laneway(monkeypatch, tmp_path):
    """Runs `laneway ARGS` in an empty folder, with nothing of this machine's settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("LANEWAY_ENDPOINT", "LANEWAY_API_KEY", "LANEWAY_STAGE", "LANEWAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def run(*args, stdin=None):
        return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)

    return run
