"""`laneway infer` and `laneway keys` against the whole service, as a user strings them together."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.testing.lambdas import REGION
from tests.fixtures.audit_log import make_audit_log
from tests.fixtures.one_address import one_address


@pytest.fixture(scope="module")
def address(laneway_service):  # noqa: ARG001  the service opens the fake account
    """All of its AWS at one address, as the emulator has it."""
    with one_address() as found:
        yield found


@pytest.fixture
def local(laneway_service, address, tmp_path, monkeypatch):
    """`laneway` in a folder where the service is described as `make dev` describes it."""
    monkeypatch.chdir(tmp_path)
    for name in ("LANEWAY_ENDPOINT", "LANEWAY_API_KEY", "LANEWAY_STAGE", "LANEWAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".laneway").mkdir()
    make_audit_log("local", REGION)
    aws = {
        "endpoint_url": address,
        "access_key_id": "testing",
        "secret_access_key": "testing",
        "region": REGION,
    }
    dev = {
        "endpoint": laneway_service.url,
        "api_key": laneway_service.api_key,
        "aws": aws,
        "tables": {"keys": laneway_service.keys._table},
    }
    (tmp_path / ".laneway" / "dev.json").write_text(json.dumps(dev))

    def run(*args, stdin=None):
        return CliRunner().invoke(app, args, input=stdin)

    return run


def test_a_model_answers_with_nothing_but_its_name_and_an_input(local):
    result = local("infer", "scale", "--input", "-", stdin="[[1, 2]]")

    assert result.exit_code == 0, result.output
    assert "[[3.0, 6.0]]" in result.stdout


@pytest.mark.parametrize("form", [(), ("--binary",)])
def test_lines_of_text_are_answered_line_by_line(local, form):
    result = local("infer", "shout", "--text", "--input", "-", *form, stdin="ab\ncd\n")

    assert result.exit_code == 0, result.output
    assert '["AB! 4", "CD! 4"]' in result.stdout


def test_a_refusal_shows_the_services_words_and_the_signature(local):
    result = local("infer", "scale", "--input", "-", stdin="[[1, 2, 3]]")

    assert result.exit_code == 1
    assert "signature_mismatch" in result.stderr
    assert "x: FP32 [-1, 2]" in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_model_points_to_those_that_there_are(local):
    result = local("infer", "absent", "--input", "-", stdin="[[1, 2]]")

    assert result.exit_code == 1
    assert "/v2/models" in result.stderr


def test_a_key_lets_in_from_creation_to_revocation(local):
    created = local("keys", "create", "--tenant", "acme", "--name", "flow")
    key, key_id = created.stdout.strip(), created.stderr.split()[1]

    def call():
        arguments = ("infer", "scale", "--api-key", key, "--input", "-")
        return local(*arguments, stdin="[[1, 2]]")

    before = call()
    revoked = local("keys", "revoke", key_id)
    after = call()

    assert before.exit_code == 0, before.output
    assert revoked.exit_code == 0, revoked.output
    assert after.exit_code == 1
    assert "403" in after.stderr
