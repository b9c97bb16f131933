"""Locking measures whether a model's offline-optimised form pays, and its manifest says so."""

from __future__ import annotations

import json
from importlib.metadata import version as version_of

import numpy as np
import pytest
from onnx import helper, numpy_helper

from cli.models import forms
from cli.models.add import add
from cli.models.check import check
from cli.models.forms import is_measured, record_form, recorded_or_measured, why_not
from cli.models.lock import lock
from shared.inference.findings import Compared, Started
from shared.repository import read_manifest, read_model_spec

PLAIN = Started(cpu_ms=200.0, memory_mib=150.0)
FORM = Started(cpu_ms=90.0, memory_mib=60.0)
WIDTH = 2048


@pytest.mark.parametrize(
    ("found", "form", "says"),
    [
        (Compared(equal=True, run_ratio=1.03), FORM, ""),
        (Compared(equal=False, run_ratio=0.5), FORM, "answers differ"),
        (Compared(equal=True, run_ratio=1.2), FORM, "a run takes 1.20 times as long"),
        (
            Compared(equal=True, run_ratio=1.0),
            Started(cpu_ms=170.0, memory_mib=60.0),
            "170 ms of CPU time in place of 200",
        ),
    ],
)
def test_a_form_pays_that_starts_sooner_runs_no_slower_and_answers_the_same(found, form, says):
    reason = why_not(found, PLAIN, form)

    assert says in reason
    assert bool(says) == bool(reason)


def test_a_few_milliseconds_are_not_worth_another_file():
    found = Compared(equal=True, run_ratio=1.0)

    assert why_not(found, Started(cpu_ms=20.0, memory_mib=9.0), Started(cpu_ms=5.0, memory_mib=3.0))


def test_a_small_model_is_not_measured(repository):
    folder = repository / "breast-cancer" / "2"

    assert record_form(folder, read_model_spec(repository / "breast-cancer" / "model.toml")) is None
    assert "forms" not in json.loads((folder / "manifest.json").read_bytes())


@pytest.fixture
def large(onnx_file, tmp_path, monkeypatch):
    """A repository with a model whose weights are worth a look, added as a user adds it."""
    monkeypatch.setattr(forms, "ROUNDS", 1)  # what is tested is not how well it is measured
    weights = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), np.float32)
    file = onnx_file(
        shape=("batch", WIDTH),
        nodes=[helper.make_node("MatMul", ["x", "w"], ["y"])],
        initializers=[numpy_helper.from_array(weights, "w")],
    )
    add(file, tmp_path / "models", name="large")
    return tmp_path / "models"


def test_what_was_measured_is_in_the_manifest_and_holds_for_one_onnxruntime(large):
    path = large / "large" / "1" / "manifest.json"
    spec = read_model_spec(large / "large" / "model.toml")

    [found] = read_manifest(path).forms.values()
    assert found.onnxruntime == version_of("onnxruntime")
    assert bool(found.reason) == (found.optimization is None)
    assert found.size_bytes > WIDTH * WIDTH * 4
    assert found.start_ratio > 0
    assert recorded_or_measured(path.parent, spec) == found
    assert next(file.state for file in lock(large)) == "unchanged"

    of_another = found.model_copy(update={"onnxruntime": "1.0.0"})
    manifest = read_manifest(path)
    outdated = manifest.model_copy(update={"forms": dict.fromkeys(manifest.forms, of_another)})
    assert not is_measured(outdated, spec)
    path.write_text(outdated.model_dump_json())
    said = [finding for finding in check(large) if "laneway models lock large" in finding.detail]
    assert [finding.ok for finding in said] == [True]
    declared = spec.model_copy(update={"form": "plain"})
    assert recorded_or_measured(path.parent, declared) is None
