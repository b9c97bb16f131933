"""What sentence-embedding appends to the published network: mean pooling and scaling to length one."""

from __future__ import annotations

import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from cli.models.pull import pull

MODELS = Path(__file__).parents[3] / "models"
FOLDER = MODELS / "sentence-embedding"
APPENDED = FOLDER / "pooling.onnx"
DIMENSIONS = 384
RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def script():
    spec = spec_from_file_location("make_pooling", FOLDER / "make_pooling.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pool():
    """Runs what is appended behind a network that gives the vectors which it is fed."""
    vectors = ["batch", "sequence", DIMENSIONS]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["vectors"], ["last_hidden_state"])],
        "network",
        [
            helper.make_tensor_value_info("vectors", TensorProto.FLOAT, vectors),
            helper.make_tensor_value_info(
                "attention_mask", TensorProto.INT64, ["batch", "sequence"]
            ),
        ],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, vectors)],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    session = InferenceSession(
        network.SerializeToString() + APPENDED.read_bytes(), providers=["CPUExecutionProvider"]
    )

    def run(vectors, mask):
        feeds = {"vectors": vectors, "attention_mask": mask}
        return session.run(["sentence_embedding"], feeds)[0]

    return run


def masked(rows, tokens):
    """Random vectors, and a mask in which no row is empty and the first is whole."""
    vectors = RNG.normal(size=(rows, tokens, DIMENSIONS)).astype(np.float32)
    lengths = [tokens, *RNG.integers(1, tokens + 1, rows - 1)]
    return vectors, np.array([[1] * n + [0] * (tokens - n) for n in lengths], np.int64)


def test_the_committed_bytes_are_what_the_script_makes(script):
    assert APPENDED.read_bytes() == script.fragment()


def test_the_pulled_file_is_the_published_one_with_these_bytes_behind_it():
    pull(MODELS, ["sentence-embedding"])
    [file] = tomllib.loads((FOLDER / "model.toml").read_text())["source"]["files"]

    assert (FOLDER / file["path"]).read_bytes().endswith((FOLDER / file["appended"]).read_bytes())


@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (1, 9), (3, 17), (32, 256)])
def test_a_row_is_the_mean_of_its_real_tokens_scaled_to_length_one(pool, rows, tokens):
    vectors, mask = masked(rows, tokens)

    pooled = pool(vectors, mask)

    weights = mask[:, :, np.newaxis].astype(np.float64)
    mean = (vectors * weights).sum(1) / weights.sum(1)
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_a_row_that_is_padded_is_what_it_is_alone(pool):
    vectors, mask = masked(8, 40)

    pooled = pool(vectors, mask)

    for row, length in enumerate(mask.sum(1)):
        alone = pool(vectors[row : row + 1, :length], mask[row : row + 1, :length])
        np.testing.assert_allclose(pooled[row], alone[0], atol=1e-6)


def test_a_request_without_rows_gets_none(pool):
    assert pool(*(array[:0] for array in masked(1, 2))).shape == (0, DIMENSIONS)
