"""Models that a package leaves on S3 arrive whole, in parallel ranges, or are refused."""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import replace

import pytest

from shared.artifacts import ranges
from shared.artifacts.fetched import FetchedFiles
from shared.artifacts.opened import open_files
from shared.artifacts.ranges import ATTEMPTS, fetch
from shared.artifacts.signing import address_of, credentials_of
from shared.catalog import Catalog
from shared.errors import ModelDigestError, ModelUnavailableError
from shared.inference.loading import load_model, open_sessions
from shared.inference.verifying import PackagedFiles
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import declare, signature_of

DATA = random.Random(0).randbytes(1_000_003)  # noqa: S311  bytes to compare
RANGE_BYTES = 65_536


def get(bucket, target, *, streams=4):
    return fetch(
        address_of("models", bucket.env),
        "big",
        target,
        size_bytes=len(DATA),
        credentials=credentials_of(bucket.env),
        range_bytes=RANGE_BYTES,
        streams=streams,
    )


def test_an_object_arrives_in_ranges_with_its_digest(bucket, tmp_path):
    bucket.objects["big"] = DATA

    found = get(bucket, tmp_path / "big")

    assert (tmp_path / "big").read_bytes() == DATA
    assert found == hashlib.sha256(DATA).hexdigest()
    assert len({span for _, span in bucket.asked}) == len(bucket.asked) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_ranges_are_asked_for_at_the_same_time(bucket, tmp_path):
    bucket.objects["big"] = DATA
    bucket.together.append(threading.Barrier(8))  # nothing is answered before eight are asked for

    get(bucket, tmp_path / "big", streams=8)

    assert (tmp_path / "big").read_bytes() == DATA


@pytest.mark.parametrize("wrong", ["503", "whole", "dead"])
def test_a_range_that_fails_is_asked_for_again(bucket, tmp_path, wrong):
    bucket.objects["big"] = DATA
    bucket.wrongs.extend([wrong] * (ATTEMPTS - 1))

    get(bucket, tmp_path / "big")

    assert (tmp_path / "big").read_bytes() == DATA
    assert len(bucket.asked) == 16 + ATTEMPTS - 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("404", "404"), ("403", "403"), ("503", "503"), ("silent", "timed out")],
)
def test_an_object_that_cannot_be_had_is_unavailable_and_leaves_nothing(
    bucket, tmp_path, monkeypatch, wrong, says
):
    monkeypatch.setattr(ranges, "TIMEOUT_S", 0.1 if wrong == "silent" else 20.0)
    bucket.objects["big"] = DATA
    bucket.wrongs.extend([wrong] * 99)

    with pytest.raises(ModelUnavailableError, match=says):
        get(bucket, tmp_path / "big")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def served(bucket, tmp_path):
    """A model whose file is in the bucket alone."""
    folder = tmp_path / "package" / "m" / "1"
    folder.mkdir(parents=True)
    built = graphs.identity()
    (folder / "model.onnx").write_bytes(built.SerializeToString())
    model, version = declare(tmp_path / "package", "m", graph=signature_of(built))
    bucket.objects["key"] = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").unlink()
    fetched = replace(version, files=(replace(version.files[0], key="key"),))
    return replace(model, versions={"1": fetched}), fetched


def files_of(bucket, tmp_path):
    packaged = PackagedFiles(tmp_path / "package")
    env = bucket.env | {"TMPDIR": str(tmp_path / "disk")}
    return FetchedFiles(packaged, bucket="models", env=env)


def test_a_fetched_model_is_loaded_from_the_functions_disk(bucket, served, tmp_path):
    model, version = served
    files = files_of(bucket, tmp_path)

    for _ in range(2):  # the second time it is there
        loaded = load_model(tmp_path / "package", model, version, files=files)

    assert loaded.session.output_names == ["y"]
    assert len(bucket.asked) == 1


def test_a_model_is_fetched_before_anybody_asks_for_it_and_only_once(bucket, served, tmp_path):
    model, version = served
    files = files_of(bucket, tmp_path)
    files.begin([version])
    sessions = open_sessions(
        tmp_path / "package", Catalog({"m": model}), budget_bytes=1 << 30, files=files
    )

    with sessions.use("m", "1") as loaded:
        assert loaded.spec == version
    assert len(bucket.asked) == 1


def test_an_object_that_is_not_what_was_locked_is_refused_and_removed(bucket, served, tmp_path):
    model, version = served
    bucket.objects["key"] = bucket.objects["key"][:-1] + b"?"

    with pytest.raises(ModelDigestError, match="came from S3 with SHA-256"):
        load_model(tmp_path / "package", model, version, files=files_of(bucket, tmp_path))
    assert not [path for path in (tmp_path / "disk").rglob("*") if path.is_file()]


def test_a_file_that_changed_on_the_functions_disk_is_not_loaded(bucket, served, tmp_path):
    model, version = served
    files = files_of(bucket, tmp_path)
    load_model(tmp_path / "package", model, version, files=files)
    path = files.folder_of(version) / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(ModelDigestError, match="has SHA-256"):
        load_model(tmp_path / "package", model, version, files=files)


def test_a_catalog_without_such_models_opens_its_package_alone(bucket, served, tmp_path):
    model, version = served
    catalog = Catalog({"m": model})
    packaged = replace(version, files=(replace(version.files[0], key=""),))
    alone = Catalog({"m": replace(model, versions={"1": packaged})})

    def opened(found):
        return open_files(tmp_path, found, bucket="models", env=bucket.env)

    assert isinstance(opened(catalog), FetchedFiles)
    assert isinstance(opened(alone), PackagedFiles)
