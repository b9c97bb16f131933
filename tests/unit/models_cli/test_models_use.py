"""`laneway models use`: the rollback, written into model.toml without disturbing it."""

from __future__ import annotations

import shutil

import pytest

from cli.models.edit import use
from cli.output import CommandError
from shared.repository import RepositoryError, read_model


def test_the_version_chosen_is_the_default_and_the_one_before_stays_packaged(repository):
    folder = repository / "breast-cancer"

    serve = use(folder, "1")

    entry = read_model(folder / "model.toml")
    assert serve == ["1", "2"]
    assert entry.spec.default_version == "1"
    assert list(entry.manifests) == ["1", "2"]


def test_rolling_back_and_forward_again_leaves_the_file_as_it_was(repository):
    folder = repository / "breast-cancer"
    before = (folder / "model.toml").read_text(encoding="utf-8")

    use(folder, "1")
    changed = (folder / "model.toml").read_text(encoding="utf-8")
    use(folder, "2")

    assert changed != before
    assert (folder / "model.toml").read_text(encoding="utf-8") == before


def test_a_model_that_lists_no_versions_gets_the_list(repository):
    folder = repository / "breast-cancer"
    path = folder / "model.toml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "serve" not in line), encoding="utf-8")

    use(folder, "1")

    assert read_model(path).spec.serve == ("1", "2")
    assert read_model(path).spec.batching.max_batch_size == 256


def test_using_the_default_version_again_changes_nothing(repository):
    folder = repository / "breast-cancer"

    assert use(folder, "2") == ["2", "1"]


def test_a_version_that_is_not_there_is_refused_with_those_that_are(repository):
    with pytest.raises(CommandError, match="has no version '3'; it has 1, 2"):
        use(repository / "breast-cancer", "3")


def test_a_version_without_a_manifest_is_refused_with_the_way_out(repository):
    folder = repository / "breast-cancer"
    (folder / "3").mkdir()
    shutil.copy(folder / "2/model.onnx", folder / "3")

    with pytest.raises(RepositoryError, match="laneway models lock breast-cancer"):
        use(folder, "3")
    assert read_model(folder / "model.toml").spec.default_version == "2"


def test_the_lineage_follows_the_default_version_and_none_is_lost(repository):
    folder = repository / "breast-cancer"
    forest, tree = {"accuracy": 0.979, "roc_auc": 0.9845}, {"accuracy": 0.909, "roc_auc": 0.9477}
    path = folder / "model.toml"
    edited = path.read_text(encoding="utf-8").replace("426 of 569 rows", "426 rows")
    path.write_text(edited, encoding="utf-8")

    use(folder, "1")

    entry = read_model(path)
    assert entry.spec.lineage.metrics == tree
    assert entry.manifests["2"].lineage.metrics == forest
    assert entry.manifests["2"].lineage.training_data.endswith("426 rows")


def test_every_comment_survives(repository):
    folder = repository / "breast-cancer"
    path = folder / "model.toml"
    path.write_text("# ours\n" + path.read_text(encoding="utf-8") + "# the end\n", encoding="utf-8")

    use(folder, "1")

    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ours\n")
    assert text.endswith("# the end\n")
    assert '# "2" is a random forest' in text
