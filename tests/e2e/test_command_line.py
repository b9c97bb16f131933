"""`laneway keys` and `laneway infer` against the deployed service, beside a caller's own AWS settings."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.deployed


def test_a_new_key_is_let_in_and_listed_without_itself(laneway):
    created = laneway("keys", "create", "--tenant", "acme", "--name", "e2e")
    assert created.returncode == 0, created.stderr
    key = created.stdout.strip()

    listed = laneway("keys", "list")
    asked = laneway(
        "infer", "breast-cancer", "--input", "-", "--json", stdin=json.dumps([[1.0] * 30]),
        LANEWAY_API_KEY=key,
    )  # fmt: skip

    assert "acme" in listed.stdout
    assert key not in listed.stdout
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["model_name"] == "breast-cancer"


def test_a_revoked_key_is_refused(laneway):
    created = laneway("keys", "create")
    key, key_id = created.stdout.strip(), created.stderr.split()[1]
    revoked = laneway("keys", "revoke", key_id)

    # The key was not used before, so the gateway has no earlier answer of the authorizer's to keep.
    asked = laneway(
        "infer", "breast-cancer", "--input", "-", stdin=json.dumps([[1.0] * 30]), LANEWAY_API_KEY=key
    )  # fmt: skip

    assert revoked.returncode == 0, revoked.stderr
    assert asked.returncode == 1
    assert "403" in asked.stderr


@pytest.mark.parametrize("form", [(), ("--binary",)])
def test_lines_of_text_get_embeddings_from_the_local_service(laneway, form):
    asked = laneway(
        "infer", "sentence-embedding", "--text", "--input", "-", *form, stdin="a cat\na dog\n"
    )

    assert asked.returncode == 0, asked.stderr
    assert "[2, 384]" in asked.stdout


def test_a_refusal_comes_with_the_models_signature(laneway):
    asked = laneway("infer", "breast-cancer", "--input", "-", stdin="[[1, 2]]")

    assert asked.returncode == 1
    assert "signature_mismatch" in asked.stderr
    assert "features: FP32 [-1, 30]" in asked.stderr
