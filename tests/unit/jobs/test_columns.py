"""Jobs of plain numbers run as columns: the same bytes, and whatever is odd costs nobody else anything."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.job_desk import Desk, tensor_body
from tests.fixtures.small_models import _endless, write_model


def flat(*values, shape=None, **members):
    """A request of `x`, shape `(rows, 2)` unless told, in the form that columns are made of."""
    shape = shape or [len(values) // 2, 2]
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": list(values)}
    return json.dumps({"inputs": [tensor], **members}).encode()


def test_jobs_of_one_shape_run_together_and_the_odd_ones_beside_them(desk):
    alike = [*(flat(float(n), 0.5) for n in range(3)), flat(9.5, 0.5, id="mine")]
    others = {
        "nested": tensor_body([[9.0, 0.5]]),
        "two rows": flat(1.0, 2.0, 3.0, 4.0),
    }
    bad = {
        "text": flat("1", 0.5),
        "too few": flat(1.0, shape=[1, 2]),
        "overflow": flat(1e300, 0.5),
    }
    good = {**{str(n): body for n, body in enumerate(alike)}, **others}
    keys = {name: desk.submit(body) for name, body in good.items()}
    refused = {
        name: desk.drop({"schema_version": 1, "model": "scale", "input": json.loads(body)})
        for name, body in bad.items()
    }

    desk.batch_size = 20
    [poll] = desk.start().drain()

    assert poll.failed == ()
    for name, body in good.items():
        assert desk.result(keys[name]) == desk.realtime(body), name
    assert [desk.row(keys[str(n)]).facts.rows_stacked for n in range(4)] == [4] * 4
    rows = {row.key.id: row for row in desk.rows()}
    for name, message in refused.items():
        assert rows[f"m-{message}"].status == "failed", name
        assert rows[f"m-{message}"].failure.status_code == 400


def test_a_value_that_only_the_conversion_finds_leaves_its_column_to_the_ordinary_way(desk):
    good = [desk.submit(flat(float(n), 0.5)) for n in range(3)]
    bad = desk.drop({"schema_version": 1, "model": "scale", "input": json.loads(flat(0.5, "x"))})

    desk.start().drain()

    assert [desk.result(key) for key in good] == [
        desk.realtime(flat(float(n), 0.5)) for n in range(3)
    ]
    [failed] = [row for row in desk.rows() if row.key.id == f"m-{bad}"]
    assert (failed.failure.status_code, failed.status) == (400, "failed")


def test_an_answer_that_json_cannot_carry_fails_alone(desk):
    keys = [desk.submit(flat(value, shape=[1]), model="root") for value in (4.0, -1.0, 9.0)]

    desk.start().drain()

    assert [desk.row(key).status for key in keys] == ["succeeded", "failed", "succeeded"]
    assert desk.row(keys[1]).failure.code == "model_output_non_finite"
    assert json.loads(desk.result(keys[2]))["outputs"][0]["data"] == [3.0]


def test_columns_hold_no_more_rows_than_a_run_takes(desk):
    keys = [desk.submit(flat(float(n), 0.5)) for n in range(40)]
    rows_max = desk.catalog.model("scale").max_batch_size

    desk.batch_size = 40
    desk.start().drain()

    stacked = [desk.row(key).facts.rows_stacked for key in keys]
    assert max(stacked) == min(40, rows_max)
    assert all(desk.result(key) == desk.realtime(flat(float(n), 0.5)) for n, key in enumerate(keys))


@pytest.fixture
def endless_models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "pools.toml").write_text("[shared]\n")
    write_model(folder, "endless", "1", _endless(), x=("FP32", [-1]), y=("FP32", [-1]))
    return folder


def test_a_column_that_the_invocation_s_end_stops_costs_each_an_attempt(endless_models):
    desk = Desk(endless_models, timeout_s=0.8, margin_s=0.2)
    keys = [desk.submit(flat(1.0, shape=[1]), model="endless", timeout_s=60) for _ in range(2)]

    [poll] = desk.start().drain()

    assert len(poll.failed) == 2
    assert {(desk.row(key).status, desk.row(key).attempt) for key in keys} == {("queued", 1)}
    desk.check(keys)


def test_a_column_past_the_jobs_own_timeout_is_run_apart(endless_models):
    desk = Desk(endless_models)
    keys = [desk.submit(flat(1.0, shape=[1]), model="endless", timeout_s=1) for _ in range(2)]

    [poll] = desk.start().drain()

    assert poll.failed == ()
    assert {desk.row(key).failure.code for key in keys} == {"deadline_exceeded"}
    assert {desk.row(key).facts.rows_stacked for key in keys} == {1}
