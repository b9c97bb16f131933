"""The example models answer, through the real inference layer, what the original libraries answer."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from cli.models.folders import model_folders
from cli.models.pull import pull
from shared.inference.golden import GOLDEN_FILE, differences, read_cases
from shared.inference.running import answer, load
from shared.repository import read_model

MODELS = Path(__file__).parents[2] / "models"
CASES = [
    pytest.param(folder, case, id=f"{folder.name}: {case.name}")
    for folder in model_folders(MODELS)
    for case in read_cases(folder / GOLDEN_FILE)
]


@pytest.fixture(scope="module", autouse=True)
def _weights():
    pull(MODELS)


@cache
def served(folder, version):
    return load(read_model(folder / "model.toml"), version)


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_a_golden_request_gets_the_original_librarys_answer(folder, case):
    outputs = answer(served(folder, case.version), case.request)

    assert differences(case, outputs) == []
    assert set(outputs) == {output.name for output in case.expected.outputs}


def test_a_text_is_embedded_alike_alone_and_beside_longer_ones():
    model = served(MODELS / "sentence-embedding", "1")
    texts = ["short", "a text with rather more words in it than the one that stands beside it"]

    together = _embeddings(model, texts)
    alone = [_embeddings(model, [text])[0] for text in texts]

    for a, b in zip(together, alone, strict=True):
        assert sum(x * y for x, y in zip(a, b, strict=True)) == pytest.approx(1.0, abs=1e-4)


def test_related_texts_are_nearer_than_unrelated_ones():
    model = served(MODELS / "sentence-embedding", "1")

    pasta, spaghetti, stocks = _embeddings(
        model,
        [
            "A man is eating pasta.",
            "Someone has spaghetti for dinner.",
            "The stock market fell sharply today.",
        ],
    )

    near = sum(x * y for x, y in zip(pasta, spaghetti, strict=True))
    far = sum(x * y for x, y in zip(pasta, stocks, strict=True))
    assert near > far + 0.3


def _embeddings(model, texts):
    request = {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}]
    }
    data = answer(model, request)["embedding"]["data"]
    return [data[row * 384 : (row + 1) * 384] for row in range(len(texts))]
