"""Models as a pool's package has them, in a folder."""

from __future__ import annotations

import onnx
import pytest

from shared.inference.inspect import inspect_model
from shared.inference.loading import load_model
from tests.unit.inference.serving import declare, signature_of


@pytest.fixture
def serve(tmp_path):
    """Saves a graph with an optional transform and loads it."""

    def serve(built, *, transform=None, **settings):
        folder = tmp_path / "m" / "1"
        folder.mkdir(parents=True)
        onnx.save(built, str(folder / "model.onnx"))
        if transform is not None:
            (tmp_path / "m" / "transform.py").write_text(transform)
            settings["transform"] = "m/transform.py"
        model, version = declare(tmp_path, "m", graph=signature_of(built), **settings)
        return load_model(tmp_path, model, version)

    return serve


@pytest.fixture
def inspected(tmp_path):
    """Saves a graph and inspects it."""

    def inspected(built):
        path = tmp_path / "model.onnx"
        onnx.save(built, str(path))
        return inspect_model(path)

    return inspected
