"""The zips that the CDK takes as its own: what is in them, and which are made."""

from __future__ import annotations

import zipfile

import pytest

from cli.dev.zips import zip_packages


@pytest.fixture
def assembly(tmp_path):
    for name, content in (
        ("asset.one/a/b.py", "b = 1"),
        ("asset.one/c.so", "native"),
        ("asset.two/d", "d"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "asset.one" / "c.so").chmod(0o755)
    (tmp_path / "asset.one" / "a" / "b.py").chmod(0o640)
    (tmp_path / "asset.three.json").write_text("{}")
    return tmp_path


def zips(assembly):
    return {path.name: path for path in (assembly / ".cache").iterdir()}


def test_each_folder_has_a_zip_of_its_files_which_is_not_compressed(assembly):
    zip_packages(assembly)

    found = zips(assembly)
    assert sorted(found) == ["one.zip", "two.zip"]
    with zipfile.ZipFile(found["one.zip"]) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a/b.py": b"b = 1",
            "c.so": b"native",
        }
        assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}


def test_dates_and_rights_are_those_that_the_cdk_writes(assembly):
    zip_packages(assembly)

    with zipfile.ZipFile(zips(assembly)["one.zip"]) as archive:
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        rights = {item.filename: item.external_attr >> 16 & 0o777 for item in archive.infolist()}
    assert rights == {"a/b.py": 0o640, "c.so": 0o755}


def test_a_zip_is_written_once_and_removed_with_its_folder(assembly):
    zip_packages(assembly)
    kept = zips(assembly)["one.zip"].stat()
    (assembly / "asset.two" / "d").unlink()
    (assembly / "asset.two").rmdir()
    (assembly / ".cache" / "four.draft").write_text("cut off")

    zip_packages(assembly)

    assert sorted(zips(assembly)) == ["one.zip"]
    assert zips(assembly)["one.zip"].stat().st_ino == kept.st_ino
