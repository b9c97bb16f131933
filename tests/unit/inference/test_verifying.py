"""Files are hashed ahead, and what is loaded is still what was locked."""

from __future__ import annotations

import hashlib

import pytest

from shared.errors import ModelDigestError, ModelUnavailableError
from shared.inference.session import load_session
from shared.inference.verifying import HashedAhead, sha256_of
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import declare, signature_of
from tests.unit.inference.test_session import SPEC


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("first", "second", "empty")]
    for path, data in zip(paths, (b"one" * 50_000, b"two", b""), strict=True):
        path.write_bytes(data)
    return paths


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    built = graphs.identity()
    (folder / "model.onnx").write_bytes(built.SerializeToString())
    return folder, declare(tmp_path, "m", graph=signature_of(built))[1]


def test_a_file_that_was_hashed_ahead_has_the_digest_of_its_bytes(files):
    ahead = HashedAhead(files)

    for path in reversed(files):
        assert ahead.sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_may_be_asked_for_before_its_turn(tmp_path):
    paths = [tmp_path / str(number) for number in range(200)]
    for path in paths:
        path.write_bytes(path.name.encode() * 5000)
    ahead = HashedAhead(paths)

    assert [ahead.sha256_of(path) for path in paths[::-1]] == [
        sha256_of(path) for path in paths[::-1]
    ]


def test_what_was_hashed_ahead_is_good_for_one_load(files):
    ahead = HashedAhead(files)
    before = ahead.sha256_of(files[0])
    files[0].write_bytes(b"changed")

    assert ahead.sha256_of(files[0]) == sha256_of(files[0]) != before


def test_a_file_that_nobody_asked_for_is_read_when_it_is_needed(files):
    assert HashedAhead([]).sha256_of(files[1]) == sha256_of(files[1])


def test_a_model_that_changed_is_refused_though_it_was_hashed_ahead(served):
    folder, version = served
    path = folder / "model.onnx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(ModelDigestError, match="has SHA-256"):
        load_session(folder, version, SPEC, hashed=HashedAhead([path]).sha256_of)


def test_a_file_that_cannot_be_hashed_ahead_is_reported_by_its_load(served):
    folder, version = served
    (folder / "model.onnx").unlink()

    with pytest.raises(ModelUnavailableError, match="is missing"):
        load_session(folder, version, SPEC, hashed=HashedAhead([folder / "model.onnx"]).sha256_of)
