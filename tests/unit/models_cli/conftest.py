"""Model repositories of a test's own, the smallest ONNX files, and a shelf of wheels in place of an index."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

EXAMPLES = Path(__file__).parents[3] / "models"


@pytest.fixture
def repository(tmp_path):
    """A repository with breast-cancer in it, to be changed at will."""
    folder = tmp_path / "repository"
    shutil.copytree(EXAMPLES / "breast-cancer", folder / "breast-cancer")
    shutil.copy(EXAMPLES / "pools.toml", folder)
    return folder


@pytest.fixture
def onnx_file(tmp_path):
    """Makes an ONNX file that doubles `x`, or has what the test asks for."""

    def make(
        name="net.onnx",
        *,
        shape=("batch", 2),
        nodes=None,
        outputs=None,
        initializers=(),
        domains=(("", 21),),
        external=None,
    ):
        nodes = nodes or [helper.make_node("Add", ["x", "x"], ["y"])]
        outputs = outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            outputs,
            list(initializers),
        )
        opsets = [helper.make_opsetid(domain, number) for domain, number in domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="tests")
        path = tmp_path / "exported" / name
        path.parent.mkdir(exist_ok=True)
        keep = {"save_as_external_data": True, "location": external, "size_threshold": 0}
        onnx.save(model, str(path), **(keep if external else {}))
        return path

    return make


@pytest.fixture
def weighted(onnx_file):
    """Makes an ONNX file whose weights are in another file."""

    def make(location="net.weights"):
        weights = numpy_helper.from_array(np.full((1, 2), 3, np.float32), "w")
        nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
        return onnx_file(nodes=nodes, initializers=[weights], external=location)

    return make


@pytest.fixture
def make_wheel(tmp_path, monkeypatch):
    """Puts a wheel on a shelf that is the only place where uv looks."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(shelf))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))

    def make(name, version, *, members=None, metadata=""):
        folder = name.replace("-", "_")
        info = f"{folder}-{version}.dist-info"
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        members = {
            **(members or {}),
            f"{info}/METADATA": (head + metadata).encode(),
            f"{info}/WHEEL": tags.encode(),
        }
        path = shelf / f"{folder}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
            archive.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in members))
        return path

    return make
