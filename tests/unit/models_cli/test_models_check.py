"""`laneway models check`: what it finds wrong with a repository, all of it and each with the way out."""

from __future__ import annotations

import json

import pytest

from cli.models.check import check


def wrong(repository):
    return [finding for finding in check(repository) if not finding.ok]


def rewrite(path, **members):
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, **members}), encoding="utf-8")


def test_a_sound_repository_has_nothing_wrong_and_says_what_was_compared(repository):
    findings = check(repository)

    assert [(finding.subject, finding.ok) for finding in findings] == [
        ("breast-cancer 2", True),
        ("breast-cancer 1", True),
    ]
    assert "2 golden answers agree" in findings[0].detail


def test_a_changed_model_file_is_found(repository):
    with (repository / "breast-cancer/1/model.onnx").open("ab") as stream:
        stream.write(b"\0")

    (finding,) = wrong(repository)

    assert finding.subject == "breast-cancer 1"
    assert "laneway models lock breast-cancer" in finding.detail


def test_a_missing_model_file_is_found(repository):
    (repository / "breast-cancer/2/model.onnx").unlink()

    (finding,) = wrong(repository)

    assert finding.subject == "breast-cancer 2"
    assert "missing" in finding.detail


def test_an_answer_past_its_tolerance_is_found_with_the_measure(repository):
    path = repository / "breast-cancer/golden.json"
    golden = json.loads(path.read_text(encoding="utf-8"))
    golden["expected"]["outputs"][1]["data"][0] += 0.1
    path.write_text(json.dumps(golden), encoding="utf-8")

    (finding,) = wrong(repository)

    assert "'two held-out rows': output 'probabilities': absolute difference 0.1" in finding.detail


def test_a_golden_request_that_the_model_refuses_is_found(repository):
    rewrite(repository / "breast-cancer/golden.json", request={"inputs": []})

    (finding,) = wrong(repository)

    assert finding.subject == "breast-cancer 2"


def test_a_transform_that_cannot_be_imported_is_found(repository):
    folder = repository / "breast-cancer"
    (folder / "transform.py").write_text("import a_package_that_nobody_has\n", encoding="utf-8")
    with (folder / "model.toml").open("a", encoding="utf-8") as stream:
        for kind in ("inputs", "outputs"):
            stream.write(f'\n[[{kind}]]\nname = "x"\ndatatype = "FP32"\nshape = [-1, 30]\n')

    findings = wrong(repository)

    assert {finding.subject for finding in findings} == {"breast-cancer 1", "breast-cancer 2"}
    assert "a_package_that_nobody_has" in findings[0].detail


@pytest.mark.parametrize(
    ("member", "value"), [("default_version", '"9"'), ("colour", '"blue"'), ("pool", '"nowhere"')]
)
def test_a_wrong_declaration_is_found_with_its_file(repository, member, value):
    path = repository / "breast-cancer/model.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(member)]
    path.write_text("\n".join([f"{member} = {value}", *kept]), encoding="utf-8")

    findings = wrong(repository)

    assert "model.toml" in findings[-1].detail
    assert member in findings[-1].detail or value.strip('"') in findings[-1].detail


def test_requirements_that_nobody_locked_are_found(repository):
    folder = repository / "breast-cancer"
    text = (folder / "model.toml").read_text(encoding="utf-8")
    declared = 'requirements = ["idna>=3"]\n' + text
    for kind, shape in (("inputs", "[-1, 30]"), ("outputs", "[-1, 2]")):
        name = {"inputs": "features", "outputs": "probabilities"}[kind]
        declared += f'\n[[{kind}]]\nname = "{name}"\ndatatype = "FP32"\nshape = {shape}\n'
    (folder / "model.toml").write_text(declared, encoding="utf-8")
    (folder / "transform.py").write_text(
        "def postprocess(outputs, graph_inputs):\n"
        "    return {'probabilities': outputs['probabilities']}\n",
        encoding="utf-8",
    )
    (folder / "golden.json").unlink()

    (finding,) = wrong(repository)

    assert finding.subject == "pool shared"
    assert "requirements-shared.txt is missing" in finding.detail
    assert "laneway models lock" in finding.detail


def test_a_broken_model_hides_no_other(repository):
    (repository / "broken").mkdir()
    (repository / "broken/model.toml").write_text("default_version = ", encoding="utf-8")

    findings = check(repository)

    assert [f.subject for f in findings if f.ok] == ["breast-cancer 2", "breast-cancer 1"]
    assert "broken" in {f.subject for f in findings if not f.ok}
