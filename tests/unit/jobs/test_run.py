"""A delivery, through the real handler: what is stacked, what each job gets, what it costs the others."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace

import pytest

from shared.errors import ModelUnavailableError, StoreUnavailableError
from shared.settings.jobs import JobSettings
from tests.fixtures.job_desk import TENANT, Desk, tensor_body


def stacked(desk, key):
    return desk.row(key).facts.rows_stacked


def index_body(*indices):
    tensor = {"name": "x", "shape": [len(indices)], "datatype": "INT64", "data": list(indices)}
    return json.dumps({"inputs": [tensor]}).encode()


def text_body(text):
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    return json.dumps({"inputs": [tensor]}).encode()


def test_ten_jobs_of_one_model_run_together_and_answer_as_realtime_does(desk):
    bodies = [tensor_body([[float(n), 0.5]]) for n in range(10)]
    keys = [desk.submit(body) for body in bodies]

    [poll] = desk.start().drain()

    assert poll.failed == ()
    for key, body in zip(keys, bodies, strict=True):
        assert desk.result(key) == desk.realtime(body)
        assert desk.row(key).result.headers == {"content-type": "application/json"}
        assert stacked(desk, key) == 10
        assert desk.row(key).attempt == 1
    assert desk.check_settled(keys) == {"succeeded": 10}


def test_a_binary_request_gets_its_binary_answer(desk):
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [1, 2],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 8},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    body = header + b"\x00\x00\x80\x3f\x00\x00\x00\x40"
    key = desk.submit(body, header_length=len(header))

    desk.start().drain()

    result = desk.row(key).result
    assert desk.result(key) == desk.realtime(body, header_length=len(header))
    assert result.headers["content-type"] == "application/octet-stream"
    assert result.payload.header_length == int(result.headers["inference-header-content-length"])


def test_jobs_of_different_models_versions_and_shapes_run_apart(desk):
    one = desk.submit(tensor_body([[1.0, 2.0]]))
    same = desk.submit(tensor_body([[3.0, 4.0], [5.0, 6.0]]))
    older = desk.submit(tensor_body([[1.0, 2.0]]), version="1")
    root = desk.submit(tensor_body([4.0]), model="root")

    desk.start().drain()

    assert [stacked(desk, key) for key in (one, same, older, root)] == [2, 2, 1, 1]
    assert json.loads(desk.result(older))["outputs"][0]["data"] == [2.0, 4.0]
    assert json.loads(desk.result(same))["outputs"][0]["shape"] == [2, 2]


def test_a_model_whose_rows_depend_on_each_other_is_never_stacked(desk):
    body = tensor_body([[1.0, 2.0], [3.0, 4.0]])
    keys = [desk.submit(body, model="dependent") for _ in range(3)]

    desk.start().drain()

    assert [stacked(desk, key) for key in keys] == [1, 1, 1]
    assert {desk.result(key) for key in keys} == {desk.realtime(body, model="dependent")}


def test_a_stack_holds_no_more_rows_than_the_model_allows(desk):
    rows = [[1.0, 2.0]] * 40
    keys = [desk.submit(tensor_body(rows)) for _ in range(3)]

    desk.start().drain()

    assert [stacked(desk, key) for key in keys] == [1, 1, 1]  # 64 rows is the default


def test_a_request_without_rows_runs_alone(desk):
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}]}
    ).encode()
    keys = [desk.submit(body), desk.submit(tensor_body([[1.0, 2.0]]))]

    desk.start().drain()

    assert [stacked(desk, key) for key in keys] == [1, 1]
    assert desk.result(keys[0]) == desk.realtime(body)


def test_one_that_breaks_the_stack_fails_alone(desk):
    good = [desk.submit(index_body(n), model="tied") for n in (0, 1, 2)]
    bad = desk.submit(index_body(7), model="tied")

    [poll] = desk.start().drain()

    assert poll.failed == ()
    assert [json.loads(desk.result(key))["outputs"][0]["data"] for key in good] == [
        [10.0],
        [20.0],
        [30.0],
    ]
    failure = desk.row(bad).failure
    assert (failure.status_code, failure.code) == (400, "signature_mismatch")
    assert desk.check_settled([*good, bad]) == {"succeeded": 3, "failed": 1}


def test_what_a_transform_refuses_is_the_caller_s_and_what_breaks_it_is_ours(desk):
    good = desk.submit(text_body("four"), model="texts")
    refused = desk.submit(text_body(""), model="texts")
    broken = desk.submit(text_body("seven.."), model="texts")

    desk.start().drain()

    assert json.loads(desk.result(good))["outputs"][0]["data"] == [8.0]
    assert desk.row(refused).failure.code == "transform_refused"
    assert desk.row(broken).failure.code == "transform_failed"
    assert "secret-value" not in desk.row(broken).failure.error


def test_an_answer_that_json_cannot_carry_fails_with_the_realtime_error(desk):
    key = desk.submit(tensor_body([-1.0]), model="root")

    desk.start().drain()

    failure = desk.row(key).failure
    assert (failure.status_code, failure.code) == (500, "model_output_non_finite")


def test_a_large_result_is_on_s3_under_its_fence(desk):
    body = tensor_body([[float(n), 0.1234567] for n in range(3000)])
    key = desk.submit(body)

    desk.start().drain()

    payload = desk.row(key).result.payload
    assert payload.inline is None
    assert payload.s3_key.startswith(f"results/{TENANT}/{key.id}/1/")
    assert desk.result(key) == desk.realtime(body)


def test_a_run_past_the_job_s_own_timeout_fails_and_is_not_tried_again(desk):
    key = desk.submit(tensor_body([1.0]), model="stuck", timeout_s=1)

    [poll] = desk.start().drain()

    assert poll.failed == ()
    assert desk.row(key).failure.code == "deadline_exceeded"


def test_a_run_that_the_invocation_s_end_stops_costs_an_attempt_and_is_tried_again(queue_models):
    desk = Desk(queue_models, timeout_s=0.6, margin_s=0.2)
    key = desk.submit(tensor_body([1.0]), model="stuck", timeout_s=60)
    source = desk.start()

    [first] = source.drain()
    assert first.failed
    assert (desk.row(key).status, desk.row(key).attempt) == ("queued", 1)
    for _ in range(2):
        desk.clock.advance(200)
        source.drain()

    assert desk.row(key).failure.code == "deadline_exceeded"
    assert desk.row(key).attempt == 3
    assert desk.check_settled([key]) == {"failed": 1}


def test_what_does_not_fit_the_time_left_is_handed_back_and_costs_no_attempt(queue_models):
    desk = Desk(queue_models, timeout_s=0.9, margin_s=0.3)
    slow = desk.submit(tensor_body([1.0]), model="stuck", timeout_s=60, job_id="slow")
    slow_too = desk.submit(tensor_body([1.0]), model="stuck", timeout_s=60, job_id="slow-too")

    [poll] = desk.start().drain()

    rows = [desk.row(slow), desk.row(slow_too)]
    assert sorted(row.attempt for row in rows) == [0, 1]
    assert {row.status for row in rows} == {"queued"}
    assert len(poll.failed) == 2
    desk.check([slow, slow_too])


def test_a_duplicate_after_success_runs_nothing_and_changes_nothing(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]))
    source = desk.start()
    source.drain()
    before = desk.row(key)

    desk.drop({"schema_version": 1, "job": {"tenant": TENANT, "id": key.id}})
    [poll] = source.drain()

    assert poll.failed == ()
    assert desk.row(key) == before
    assert [facts.outcome for facts in desk.reporter.jobs] == ["succeeded", "duplicate"]


def test_a_duplicate_while_the_first_still_runs_waits_for_the_lease(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]))
    desk.store.claim(key, owner="other", lease_until=desk.clock() + 40, now=desk.clock())
    source = desk.start()

    [poll] = source.drain()
    assert len(poll.failed) == 1
    desk.clock.advance(39)
    assert source.drain() == []
    desk.clock.advance(8)
    source.drain()

    assert desk.row(key).status == "succeeded"
    assert desk.row(key).attempt == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"schema_version": 9, "model": "scale", "input": {}}', "schema_version is 9"),
        ('{"model": "scale", "input": {}}', "schema_version is none"),
        ('{"schema_version": true, "model": "scale", "input": {}}', "schema_version is True"),
        ('{"schema_version": 1, "model": "scale"}', "exactly one of input"),
        ('{"schema_version": 1, "model": 7, "input": {}}', "model"),
        ('{"schema_version": 1, "job": {"tenant": "default", "id": "gone"}}', "default/gone"),
        ('{"schema_version": 1, "job": {"tenant": "default"}}', "job.id"),
    ],
)
def test_poison_goes_to_the_dead_letter_queue_at_once_with_the_reason(desk, body, reason):
    keys = [desk.submit(tensor_body([[1.0, float(n)]])) for n in range(9)]
    desk.drop(body)

    [poll] = desk.start().drain()

    assert poll.failed == ()
    [dead] = desk.dead.receive(limit=10, wait_s=0)
    assert dead.body == body
    assert reason in dead.attributes["reason"]
    assert desk.check_settled(keys) == {"succeeded": 9}


def test_a_dropped_message_becomes_a_job_once_however_often_it_comes(desk):
    request = json.loads(tensor_body([[1.0, 2.0]]))
    message = {"schema_version": 1, "id": "mine", "model": "scale", "input": request}
    desk.drop(message)
    desk.drop(message)

    desk.start().drain()
    desk.clock.advance(100)
    desk.start().drain()

    assert desk.row("mine").status == "succeeded"
    assert desk.row("mine").attempt == 1
    assert desk.result("mine") == desk.realtime(tensor_body([[1.0, 2.0]]))
    assert desk.check_settled([desk.row("mine").key]) == {"succeeded": 1}


def test_a_dropped_message_without_an_id_is_named_after_the_broker_s(desk):
    body = tensor_body([[1.0, 2.0]])
    sent = desk.drop(
        {
            "schema_version": 1,
            "model": "scale",
            "input_base64": base64.b64encode(body).decode(),
            "metadata": {"who": "me"},
        }
    )

    desk.start("async").drain()

    row = desk.row(f"m-{sent}")
    assert row.metadata == {"who": "me"}
    assert desk.result(row.key) == desk.realtime(body)


def test_an_id_that_is_taken_by_another_payload_is_dead_lettered(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]), job_id="taken")
    request = json.loads(tensor_body([[9.0, 9.0]]))
    desk.drop({"schema_version": 1, "id": "taken", "model": "scale", "input": request})

    desk.start().drain()

    [dead] = desk.dead.receive(limit=10, wait_s=0)
    assert "another payload" in dead.attributes["reason"]
    assert desk.result(key) == desk.realtime(tensor_body([[1.0, 2.0]]))


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"model": "nothing", "input": {}}, "model_not_found"),
        ({"model": "scale", "version": "9", "input": {}}, "version_not_found"),
        ({"model": "scale", "input": {"inputs": []}}, "invalid_request"),
        ({"model": "scale", "input_base64": "%%%"}, "malformed_body"),
        ({"model": "scale", "input_uri": "s3://elsewhere/secret"}, "uri_not_allowed"),
    ],
)
def test_a_dropped_message_that_is_refused_is_a_failed_job(desk, members, code):
    desk.drop({"schema_version": 1, "id": "refused", **members})

    [poll] = desk.start().drain()

    assert poll.failed == ()
    assert desk.row("refused").failure.code == code
    assert desk.check_settled([desk.row("refused").key]) == {"failed": 1}


def test_a_reference_on_the_wrong_queue_is_sent_on_once(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]), kind="batch")
    reference = {"schema_version": 1, "job": {"tenant": TENANT, "id": key.id}}
    desk.queues["shared", "batch"].acknowledge(
        desk.queues["shared", "batch"].receive(limit=1, wait_s=0)[0]
    )
    desk.drop(reference)

    desk.start("async").drain()
    assert (desk.row(key).status, desk.row(key).attempt) == ("queued", 0)
    desk.start("batch").drain()

    assert desk.check_settled([key]) == {"succeeded": 1}


def test_a_message_that_was_sent_on_and_is_wrong_again_fails(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]), kind="batch")
    desk.drop(
        {"schema_version": 1, "job": {"tenant": TENANT, "id": key.id}},
        attributes={"forwarded": "1"},
    )

    desk.start("async").drain()

    assert desk.row(key).failure.code == "internal_error"
    assert "batch queue of pool 'shared'" in desk.row(key).failure.error


def test_a_dropped_message_for_another_pool_s_model_goes_there_under_one_id(queue_models):
    desk = Desk(queue_models, elsewhere={"queued": "other"})
    request = json.loads(tensor_body([[1.0, 2.0]]))
    sent = desk.drop({"schema_version": 1, "model": "queued", "input": request})

    desk.start().drain()
    [there] = desk.queues["other", "async"].receive(limit=10, wait_s=0)

    assert json.loads(there.body) == {
        "schema_version": 1,
        "id": f"m-{sent}",
        "model": "queued",
        "input": request,
    }
    assert there.attributes == {"forwarded": "1"}


def test_later_attempts_run_last_one_by_one_and_only_then_are_charged(desk):
    again = [desk.submit(tensor_body([[float(n), 1.0]]), job_id=f"again-{n}") for n in range(2)]
    for key in again:
        fence = desk.store.claim(
            key, owner="x", lease_until=desk.clock() + 1, now=desk.clock()
        ).row.fence
        desk.store.release(key, fence=fence, now=desk.clock(), charged=True)
    fresh = [desk.submit(tensor_body([[float(n), 2.0]])) for n in range(3)]

    desk.start().drain()

    assert [stacked(desk, key) for key in fresh] == [3, 3, 3]
    assert [stacked(desk, key) for key in again] == [1, 1]
    assert [desk.row(key).attempt for key in again] == [2, 2]
    order = [facts.row.key for facts in desk.reporter.jobs]
    assert set(order[:3]) == set(fresh)


def test_a_job_without_attempts_left_fails_without_a_run(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]))
    for _ in range(3):
        desk.store.claim(key, owner="killed", lease_until=desk.clock() + 1, now=desk.clock())
        desk.clock.advance(2)

    [poll] = desk.start().drain()

    assert poll.failed == ()
    assert desk.row(key).failure.code == "attempts_exhausted"


def test_an_expired_job_is_not_run(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]), ttl_s=60)
    desk.clock.advance(61)

    desk.start().drain()

    assert desk.check_settled([key]) == {"expired": 1}


def test_a_job_canceled_while_it_waits_is_not_run(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]))
    desk.store.cancel(key, now=desk.clock())

    desk.start().drain()

    assert desk.check_settled([key]) == {"canceled": 1}
    assert desk.reporter.jobs == []


def test_a_copy_of_the_result_goes_to_the_alias(queue_models):
    settings = JobSettings(
        stage="dev", bucket="memory", result_aliases={"lake": "s3://lake/answers/"}
    )
    desk = Desk(queue_models, settings=settings)
    key = desk.submit(tensor_body([[1.0, 2.0]]), result_alias="lake")

    desk.start().drain()

    copied = desk.payloads.get(f"s3://lake/answers/{TENANT}/{key.id}", max_bytes=1 << 20)
    assert copied == desk.result(key)


def test_the_event_of_a_job_with_a_webhook_is_on_its_queue_when_the_job_has_ended(desk):
    key = desk.submit(tensor_body([[1.0, 2.0]]), webhook="https://example.org/hook")

    desk.start().drain()

    [event] = desk.events.receive(limit=10, wait_s=0)
    assert json.loads(event.body) == {
        "schema_version": 1,
        "event": {"tenant": TENANT, "id": key.id},
    }
    assert desk.row(key).webhook_unsent is False


def test_when_no_model_can_be_loaded_the_worker_raises_and_charges_nothing(queue_models, tmp_path):
    shutil.copytree(queue_models, tmp_path / "models")
    broken = Desk(tmp_path / "models")
    shutil.rmtree(tmp_path / "models" / "scale" / "2")
    keys = [broken.submit(tensor_body([[1.0, 2.0]])) for _ in range(3)]

    [poll] = broken.start().drain()

    assert isinstance(poll.error, ModelUnavailableError)
    assert [(broken.row(key).status, broken.row(key).attempt) for key in keys] == [
        ("queued", 0)
    ] * 3
    broken.check(keys)
    mended = Desk(
        queue_models,
        store=broken.store,
        payloads=broken.payloads,
        queues=broken.queues,
        clock=broken.clock,
    )
    mended.clock.advance(361)
    mended.start().drain()
    assert mended.check_settled(keys) == {"succeeded": 3}


def test_one_model_that_cannot_be_loaded_costs_its_own_jobs_their_attempts(queue_models, tmp_path):
    shutil.copytree(queue_models, tmp_path / "models")
    desk = Desk(tmp_path / "models")
    (tmp_path / "models" / "root" / "1" / "model.onnx").unlink()
    good = desk.submit(tensor_body([[1.0, 2.0]]))
    broken = desk.submit(tensor_body([4.0]), model="root")
    source = desk.start()

    source.drain()
    assert desk.row(good).status == "succeeded"
    assert (desk.row(broken).status, desk.row(broken).attempt) == ("queued", 1)
    for n in range(2):
        desk.submit(tensor_body([[1.0, float(n)]]))
        desk.clock.advance(200)
        source.drain()

    assert desk.row(broken).failure.code == "model_unavailable"


class BrokenStore:
    """The desk's store, in which one row cannot be read."""

    def __init__(self, store, broken):
        self._store = store
        self._broken = broken

    def __getattr__(self, name):
        return getattr(self._store, name)

    def claim(self, key, **named):
        if key == self._broken:
            raise KeyError("an attribute that is not there")
        return self._store.claim(key, **named)

    def succeed(self, key, **named):
        if key.id == "unpublishable":
            raise TypeError("a value that no table takes")
        return self._store.succeed(key, **named)


def test_a_row_that_cannot_be_read_or_written_is_a_defect_and_costs_the_others_nothing(desk):
    good = [desk.submit(tensor_body([[float(n), 1.0]])) for n in range(3)]
    broken = desk.submit(tensor_body([[1.0, 2.0]]))
    unpublishable = desk.submit(tensor_body([[1.0, 2.0]]), job_id="unpublishable")
    desk.worker = replace(desk.worker, store=BrokenStore(desk.store, broken))

    [poll] = desk.start().drain()

    assert [desk.row(key).status for key in good] == ["succeeded"] * 3
    assert desk.row(unpublishable).failure.code == "internal_error"
    assert (desk.row(broken).status, desk.row(broken).attempt) == ("queued", 0)
    assert len(poll.failed) == 1
    assert {type(defect) for defect in desk.reporter.defects} == {KeyError, TypeError}


class SilentStore:
    """A store that answers nobody, and counts who asked."""

    def __init__(self):
        self.asked = 0

    def claim(self, *_, **__):
        self.asked += 1
        raise StoreUnavailableError("the jobs table cannot be reached now")


def test_a_store_that_does_not_answer_is_asked_three_times_and_the_worker_raises(desk):
    keys = [desk.submit(tensor_body([[float(n), 1.0]])) for n in range(10)]
    silent = SilentStore()
    whole = desk.worker
    desk.worker = replace(whole, store=silent)

    [poll] = desk.start().drain()

    assert isinstance(poll.error, StoreUnavailableError)
    assert silent.asked == 3
    desk.worker = whole
    desk.clock.advance(361)
    desk.start().drain()
    assert desk.check_settled(keys) == {"succeeded": 10}


def test_jobs_of_a_model_that_is_never_mended_end_when_their_ttl_has_passed(queue_models, tmp_path):
    shutil.copytree(queue_models, tmp_path / "models")
    desk = Desk(tmp_path / "models")
    (tmp_path / "models" / "root" / "1" / "model.onnx").unlink()
    broken = desk.submit(tensor_body([4.0]), model="root", ttl_s=3600)
    good = desk.submit(tensor_body([[1.0, 2.0]]))
    desk.start().drain()
    assert (desk.row(broken).attempt, desk.row(good).status) == (1, "succeeded")

    for _ in range(20):
        desk.clock.advance(400)
        desk.start().drain()
        desk.sweeper().sweep()

    assert desk.row(broken).failure.code == "model_unavailable"
    assert desk.check_settled([broken, good]) == {"succeeded": 1, "failed": 1}
