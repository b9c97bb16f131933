"""What every example in models/ must have: a source, golden answers, and no large file in git."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.models.folders import model_folders
from shared.inference.golden import GOLDEN_FILE, read_cases
from shared.repository import read_model

MODELS = Path(__file__).parents[3] / "models"
COMMITTED_BYTES_MAX = 5_000_000


@pytest.fixture(params=model_folders(MODELS), ids=lambda folder: folder.name)
def example(request):
    return read_model(request.param / "model.toml")


def test_the_source_and_the_licence_are_written_down(example):
    text = (example.folder / "SOURCE.md").read_text(encoding="utf-8").lower()

    assert "licence" in text or "apache-2.0" in text
    if example.spec.source is not None:
        name, version = example.spec.source.package.split("==")
        assert name in text
        assert version in text


def test_every_output_of_every_served_version_has_a_golden_answer(example):
    cases = read_cases(example.folder / GOLDEN_FILE)

    for version, manifest in example.manifests.items():
        outputs = {output.name for output in example.spec.outputs or manifest.outputs}
        own = [c for c in cases if (c.version or example.spec.default_version) == version]
        assert {output.name for case in own for output in case.expected.outputs} == outputs


def test_an_answer_that_may_differ_says_why(example):
    for case in read_cases(example.folder / GOLDEN_FILE):
        for tolerance in case.tolerance.values():
            assert tolerance.reason or tolerance.measure == "equal"


def test_weights_over_5_mb_are_pulled_and_ignored_by_git(example):
    ignored = (MODELS / ".gitignore").read_text(encoding="utf-8").splitlines()
    source = example.spec.source
    pulled = {file.path: file.placed_sha256 for file in source.files} if source else {}

    for version, manifest in example.manifests.items():
        for file in manifest.files:
            path = f"{version}/{file.path}"
            assert file.size_bytes < COMMITTED_BYTES_MAX or path in pulled
            if path in pulled:
                assert pulled[path] == file.sha256
                assert f"/{example.name}/{path}" in ignored
