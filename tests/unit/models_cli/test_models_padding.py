"""`pad` in model.toml: measured by `lock` and `add`, recorded with its figure, refused where it cannot be."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from cli.models.add import add
from cli.models.check import check
from cli.models.lock import lock
from cli.models.show import stacking_words
from cli.output import CommandError
from shared.catalog import parse_catalog
from shared.inference.batching import Stacker
from shared.inference.running import load
from shared.repository import (
    RepositoryError,
    compile_catalog,
    read_manifest,
    read_model,
    read_repository,
)
from shared.schema.request import InferenceRequest
from tests.fixtures.small_models import PADDED, write_padded_models

EXAMPLES = Path(__file__).parents[3] / "models"


@pytest.fixture
def models(tmp_path):
    return write_padded_models(tmp_path / "models")


def stacking(models, name):
    return json.loads((models / name / "1" / "manifest.json").read_text())["stacking"]


def text_request(text):
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    return InferenceRequest.model_validate({"inputs": [tensor]})


def declare(models, name, pad):
    path = models / name / "model.toml"
    path.write_text(re.sub(r"^pad = .*$", pad, path.read_text(), flags=re.MULTILINE))


def test_what_was_not_measured_is_not_deployed(models):
    with pytest.raises(RepositoryError, match=r"was not tried .* laneway models lock mean"):
        read_repository(models)


def test_lock_measures_what_is_declared_and_the_catalog_takes_what_holds(models):
    assert {file.state for file in lock(models)} == {"inspected anew"}

    assert stacking(models, "total")["padding"] == {
        "fillers": PADDED["total"],
        "holds": True,
        "tolerance": 0.0,
        "reason": "",
    }
    found = stacking(models, "mean")
    assert found["row_independent"]
    assert not found["padding"]["holds"]
    assert found["padding"]["tolerance"] > 1e-4
    catalog = parse_catalog(compile_catalog(read_repository(models)))
    assert catalog.find("total")[1].pad == PADDED["total"]
    assert catalog.find("mean")[1].pad == {}
    assert all(finding.ok for finding in check(models))


def test_people_are_told_what_holds_and_what_does_not(models):
    lock(models)

    words = {
        name: stacking_words(read_manifest(models / name / "1/manifest.json")) for name in PADDED
    }

    assert words["total"] == "yes, bit for bit; padded, bit for bit"
    assert "not padded: a row that is padded" in words["mean"]


def test_another_filler_is_measured_anew_and_nothing_else_is(models):
    lock(models)
    declare(models, "total", "pad = { x = 7, mask = 1 }")
    with pytest.raises(RepositoryError, match="was not tried"):
        read_repository(models)

    states = {file.path.parent.parent.name: file.state for file in lock(models)}

    assert states == {"total": "inspected anew", "mean": "unchanged"}
    assert not stacking(models, "total")["padding"]["holds"]


def test_a_declaration_that_is_gone_leaves_the_manifest_as_if_it_never_was(models):
    lock(models)
    declare(models, "total", "")

    lock(models)

    assert list(stacking(models, "total")) == ["row_independent", "tolerance", "reason"]


@pytest.mark.parametrize(
    ("pad", "words"),
    [
        ("pad = { y = 0 }", "no input 'y'; its inputs are 'x', 'mask'"),
        ("pad = { x = 0.5, mask = 0 }", "cannot hold the filler 0.5"),
        ("pad = { x = 0 }", "'mask' is 'length', which is padded in another input"),
    ],
)
def test_lock_refuses_a_declaration_that_does_not_fit(models, pad, words):
    declare(models, "total", pad)

    with pytest.raises(CommandError, match=words):
        lock(models)


@pytest.mark.parametrize("pad", ['{ x = "0" }', "{ x = true }", "{ x = nan }", "{ x = [0] }"])
def test_a_filler_is_a_number(models, pad):
    declare(models, "mean", f"pad = {pad}")

    with pytest.raises(RepositoryError, match=r"batching\.pad\.x"):
        read_repository(models)


def test_check_refuses_what_a_manifest_claims_and_the_graph_does_not_have(models):
    """A manifest edited by hand: the fillers of one input alone, said to hold."""
    lock(models)
    declare(models, "total", "pad = { x = 7 }")
    path = models / "total" / "1" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["stacking"]["padding"]["fillers"] = {"x": 7}
    path.write_text(json.dumps(manifest))

    [finding] = check(models, ["total"])[:1]

    assert not finding.ok
    assert "give this input a filler too" in finding.detail


def test_a_second_version_is_measured_when_it_is_added(models):
    lock(models)

    added = add(models / "mean" / "1" / "model.onnx", models, name="mean")

    assert added.manifest.stacking.padding is not None
    assert any("unlike lengths are not padded" in note for note in added.notes)


def test_texts_of_unlike_lengths_share_a_run_and_get_the_vectors_that_they_get_alone():
    entry = read_model(EXAMPLES / "sentence-embedding" / "model.toml")
    served = load(entry)
    texts = ["A short one.", "Where does the train to the sea leave, please?", "word " * 22]
    requests = [served.prepare(text_request(text)) for text in texts]
    stacker = Stacker(served, rows_max=entry.spec.batching.max_batch_size)
    deadline_s = time.monotonic() + 60

    assert stacker.plan(requests) == [[0, 1], [2]]
    together = stacker.run(requests, deadline_s)

    for request, outputs in zip(requests, together, strict=True):
        alone = served.session.run(request.feeds, request.fetch, deadline_s)
        [left] = served.finish(request, outputs).arrays
        [right] = served.finish(request, alone).arrays
        assert left.shape == right.shape == (1, 384)
        assert np.abs(left - right).max() <= 1e-4 * np.abs(right).max()
