"""Every cap on what comes in or goes out, at its edge: the last that is taken, the first that is not."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from shared.catalog import TensorSpec
from shared.errors import (
    ERROR_FIELD_LENGTH_MAX,
    ERROR_LENGTH_MAX,
    InvalidRequestError,
    LanewayError,
    MalformedBodyError,
    SignatureError,
    TooLargeError,
)
from shared.inference import bulk, encoder
from shared.inference.codec import InputCodec
from shared.inference.encoder import Answer, Heading, Wanted, encode
from shared.jobs import columns
from shared.jobs.batches.lines import RefusedLineError, read_line
from shared.jobs.delivery import Bury, Done, PoisonError, read_message
from shared.jobs.run import JobRunner
from shared.jobs.submission import read_submission
from shared.jobs.work import Lease, Work, waves
from shared.limits import (
    BYTES_ELEMENT_BYTES,
    DECODED_BODY_BYTES_MAX,
    JOB_METADATA_MEMBERS_MAX,
    JOB_METADATA_VALUE_LENGTH_MAX,
    JOB_TIMEOUT_S_MAX,
    JOB_TTL_S_MAX,
    JSON_CONTAINERS_MAX,
    JSON_DEPTH_MAX,
    MESSAGE_BYTES_MAX,
    MIB,
    NAME_LENGTH_MAX,
    OUTPUT_BYTES_MAX,
    OUTPUT_JSON_BYTES_MAX,
    PREFER_LENGTH_MAX,
    REQUEST_ID_LENGTH_MAX,
    REQUEST_TENSORS_MAX,
    TENSOR_BYTES_MAX,
    TENSOR_RANK_MAX,
    URI_LENGTH_MAX,
    WORKER_INPUTS_BYTES_MAX,
)
from shared.queues.protocol import Delivery
from shared.results.rows import changed
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.schema.prefer import Preference, read_prefer
from shared.schema.tensor import PARAMETERS_MAX, InputTensor
from shared.schema.wire import parse_json
from tests.fixtures.batch_desk import SCALE, BatchDesk
from tests.fixtures.batch_desk import line as batch_line
from tests.fixtures.job_desk import Desk, tensor_body
from tests.fixtures.small_models import write_model

TOO_MANY = "lists and objects"


def lists(count):
    """JSON of so many lists, one of them around the others."""
    return b"[%s]" % b",".join([b"[]"] * (count - 1))


def tensor(name="x", datatype="FP32", shape=(-1,)):
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def test_json_has_as_many_lists_and_objects_as_the_cap_says():
    assert len(parse_json(lists(JSON_CONTAINERS_MAX))) == JSON_CONTAINERS_MAX - 1
    with pytest.raises(TooLargeError, match=TOO_MANY):
        parse_json(lists(JSON_CONTAINERS_MAX + 1))
    with pytest.raises(TooLargeError, match=TOO_MANY):
        parse_json(lists(JSON_CONTAINERS_MAX + 1).replace(b"[]", b"{}"))
    with pytest.raises(TooLargeError, match=TOO_MANY):
        parse_json(memoryview(lists(JSON_CONTAINERS_MAX + 1)))


def test_json_is_nested_as_deep_as_the_cap_says():
    parse_json(b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX)
    with pytest.raises(MalformedBodyError):
        parse_json(b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1))


def test_the_lists_of_a_submission_are_counted_before_it_is_parsed():
    with pytest.raises(TooLargeError, match=TOO_MANY):
        read_submission(b'{"model":"scale","input":{"a":%s}}' % lists(JSON_CONTAINERS_MAX))


def test_the_lists_of_a_batch_s_line_are_counted_before_it_is_parsed(small_models):
    line = b'{"custom_id":"a","method":"POST","url":"%s","body":{"a":%s}}' % (
        SCALE.encode(),
        lists(JSON_CONTAINERS_MAX),
    )
    with pytest.raises(RefusedLineError, match=TOO_MANY):
        read_line(line, endpoint=SCALE)
    ended = BatchDesk(small_models, chunk_bytes=MIB).run(batch_line(0) + b"\n" + line)
    assert ended.counts == (2, 1, 1)
    assert ended.errors[0]["error"]["code"] == "too_large"


def test_the_lists_of_a_job_s_stored_input_are_counted_before_it_is_parsed(small_models):
    desk = Desk(small_models)
    key = f"s3://{desk.settings.bucket}/uploads/default/bomb"
    desk.payloads.put(key, lists(JSON_CONTAINERS_MAX + 1), content_type="application/json")
    desk.drop({"schema_version": 1, "id": "bomb", "model": "scale", "input_uri": key})

    desk.start().drain()

    failure = desk.row("bomb").failure
    assert (failure.code, TOO_MANY in failure.error) == ("too_large", True)


def test_a_message_has_as_many_bytes_as_sqs_takes():
    body = json.dumps({"schema_version": 1, "model": "scale", "input": {"a": ""}})
    longest = body.replace('""', f'"{"x" * (MESSAGE_BYTES_MAX - len(body))}"')
    assert len(longest) == MESSAGE_BYTES_MAX
    assert read_message(longest).model == "scale"
    with pytest.raises(PoisonError, match="more than"):
        read_message(longest + " ")


def test_the_lists_of_a_message_are_counted_before_it_is_parsed():
    body = '{"schema_version":1,"model":"scale","input":{"a":%s}}'
    assert read_message(body % lists(JSON_CONTAINERS_MAX - 2).decode()).model == "scale"
    with pytest.raises(PoisonError, match=TOO_MANY):
        read_message(body % lists(JSON_CONTAINERS_MAX - 1).decode())


def test_a_text_s_elements_are_bounded_by_what_each_takes_as_an_object():
    codec = InputCodec(tensor(datatype="BYTES"), text=True, allow_non_finite=False)
    most = TENSOR_BYTES_MAX // BYTES_ELEMENT_BYTES
    for count, fault in ((most, "0 could be read"), (most + 1, str(most))):
        tensor_of_texts = InputTensor(name="x", datatype="BYTES", shape=(count,))
        with pytest.raises(SignatureError, match=fault):
            codec.decode(tensor_of_texts, memoryview(b""), 0)


@pytest.mark.parametrize(
    ("binary", "limit_bytes"), [(False, OUTPUT_JSON_BYTES_MAX), (True, OUTPUT_BYTES_MAX)]
)
def test_an_output_is_as_large_as_its_form_allows(binary, limit_bytes):
    def write(size_bytes):
        array = np.broadcast_to(np.zeros(1, np.uint8), (size_bytes,))  # takes no memory itself
        wanted = Wanted(tensor(datatype="UINT8"), binary=binary, place=0)
        heading = Heading("scale", "1", allow_non_finite=False)
        return encode(Answer(heading, None, [wanted], [array], 0.0))

    with pytest.raises(TooLargeError, match=f"at most {limit_bytes // MIB}"):
        write(limit_bytes + 1)


@pytest.fixture
def desk_of_spread(tmp_path, monkeypatch):
    """A model whose output has as many rows as its input says, and a cap of 4 KiB on outputs as JSON."""
    for module in (encoder, bulk):
        monkeypatch.setattr(module, "OUTPUT_JSON_BYTES_MAX", 4096)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "pools.toml").write_text("[shared]\ntimeout_s = 2\n")
    spread = helper.make_node("Expand", ["x", "wide"], ["y"])
    wide = onnx.numpy_helper.from_array(np.array([1, 1024], np.int64), "wide")
    write_model(
        folder, "spread", "1", ([spread], [wide]), x=("FP32", [-1, 1]), y=("FP32", [-1, 1024])
    )
    return Desk(folder)


def test_an_output_is_capped_on_each_way_that_writes_json(desk_of_spread):
    desk = desk_of_spread
    small, large = flat([1.0], [1, 1]), flat([1.0, 2.0], [2, 1])
    assert len(json.loads(desk.realtime(small, model="spread"))["outputs"][0]["data"]) == 1024
    with pytest.raises(TooLargeError, match="output 'y'"):
        desk.realtime(large, model="spread")
    alone = desk.submit(large, model="spread")
    desk.start().drain()
    together = [desk.submit(body, model="spread") for body in (small, small, large, large)]
    desk.start().drain()
    ends = [desk.row(key).status for key in (alone, *together)]
    assert ends == ["failed", "succeeded", "succeeded", "failed", "failed"]
    assert desk.row(alone).failure.code == "too_large"
    with pytest.raises(TooLargeError, match="output 'y'"):
        plain_answer(desk, large)


def flat(data, shape):
    """A request that needs no judgement."""
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def plain_answer(desk, body):
    """By the one pass of `shared.inference.plain`, which takes shapes that were seen before."""
    with desk.worker.sessions.use("spread", "1") as served:
        served.prepare(desk.worker.validate(json.loads(body)))
        return served.plain.answer(json.loads(body), time.monotonic() + 10)


def test_json_past_the_cap_of_columns_is_run_as_tensors(small_models, monkeypatch):
    monkeypatch.setattr(columns, "COLUMN_BYTES_MAX", 3 * len(flat([1.0, 1.0], [1, 2])))
    desk = Desk(small_models)
    keys = [desk.submit(flat([float(n), 1.0], [1, 2])) for n in range(6)]
    desk.start().drain()
    assert desk.check_settled(keys) == {"succeeded": 6}
    assert {desk.row(key).facts.rows_stacked for key in keys} == {3}


def test_a_refusal_is_short_whatever_it_quotes():
    error = InvalidRequestError("x" * 10**6, field="y" * 10**6)
    assert (len(error.message), len(str(error))) == (ERROR_LENGTH_MAX, ERROR_LENGTH_MAX)
    assert len(error.field) == ERROR_FIELD_LENGTH_MAX
    assert LanewayError("x" * ERROR_LENGTH_MAX).message == "x" * ERROR_LENGTH_MAX


def test_a_name_of_a_megabyte_is_not_told_back(small_models):
    desk = Desk(small_models)
    desk.drop({"schema_version": 1, "id": "a", "model": "scale", "input": {"inputs": [named("n")]}})
    desk.start().drain()
    assert len(desk.row("a").failure.error) <= ERROR_LENGTH_MAX
    with pytest.raises(InvalidRequestError) as caught:
        read_submission(json.dumps({"model": "scale", "input": {}, "n" * MIB: 1}).encode())
    assert len(json.dumps(caught.value.body("id"))) < ERROR_LENGTH_MAX + ERROR_FIELD_LENGTH_MAX + 99


def named(letter):
    parameters = {letter * (MIB // 2): []}
    return {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": parameters}


def test_a_prefer_header_is_read_up_to_its_cap():
    header = "respond-async" + " " * (PREFER_LENGTH_MAX - len("respond-async"))
    assert read_prefer(header) == Preference()
    assert read_prefer(header + " ") is None


def test_the_input_of_a_batch_has_a_cap(small_models):
    lines = batch_line(0) + b"\n"
    for spare_bytes, status in ((0, "succeeded"), (-1, "failed")):
        desk = BatchDesk(small_models)
        desk.splitter = replace(desk.splitter, input_bytes_max=len(lines) + spare_bytes)
        ended = desk.run(lines)
        assert ended.row.status == status
    assert ended.row.failure.code == "too_large"


@pytest.mark.parametrize(
    ("depth", "more", "gone"),
    [(600, "", True), (1000, "", False), (1, "é" * (MESSAGE_BYTES_MAX // 3), False)],
)
def test_a_message_for_another_pool_is_sent_on_or_buried_and_does_not_come_again(
    small_models, depth, more, gone
):
    desk = Desk(small_models, elsewhere={"queued": "other"})
    deep = "[" * depth + "]" * depth
    body = f'{{"schema_version":1,"id":"a","model":"queued","input":{{"a":{deep},"b":"{more}"}}}}'
    delivery = Delivery(body=body, message_id="a", receipt="a")

    [outcome] = JobRunner(desk.worker).run_delivery(
        [delivery],
        queue="async",
        lease=Lease("worker", desk.clock() + 60),
        until_s=time.monotonic() + 60,
    )

    assert isinstance(outcome, Done if gone else Bury)
    assert len(desk.queues["other", "async"].receive(limit=1, wait_s=0)) == int(gone)


VALIDATE = load_validators(export_validators()).inference_request


def request(**changes):
    return {"inputs": [x_tensor()], **changes}


def x_tensor(**changes):
    return {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0], **changes}


REQUESTS = {
    "inputs": (REQUEST_TENSORS_MAX, lambda n: request(inputs=[x_tensor()] * n)),
    "outputs": (REQUEST_TENSORS_MAX, lambda n: request(outputs=[{"name": "y"}] * n)),
    "parameters": (PARAMETERS_MAX, lambda n: request(parameters={str(i): 1 for i in range(n)})),
    "shape": (TENSOR_RANK_MAX, lambda n: request(inputs=[x_tensor(shape=[1] * n)])),
    "name": (NAME_LENGTH_MAX, lambda n: request(inputs=[x_tensor(name="x" * n)])),
    "id": (REQUEST_ID_LENGTH_MAX, lambda n: request(id="x" * n)),
}
JOBS = {
    "metadata": (JOB_METADATA_MEMBERS_MAX, lambda n: {"metadata": {str(i): "" for i in range(n)}}),
    "metadata.a": (JOB_METADATA_VALUE_LENGTH_MAX, lambda n: {"metadata": {"a": "x" * n}}),
    "webhook": (URI_LENGTH_MAX, lambda n: {"webhook": "https://a.example/".ljust(n, "x")}),
    "ttl_s": (JOB_TTL_S_MAX, lambda n: {"ttl_s": n}),
    "timeout_s": (JOB_TIMEOUT_S_MAX, lambda n: {"timeout_s": n}),
}


@pytest.mark.parametrize("member", REQUESTS)
def test_a_request_has_as_much_of_everything_as_its_cap_says(member):
    most, make = REQUESTS[member]
    VALIDATE(make(most))
    with pytest.raises(InvalidRequestError) as caught:
        VALIDATE(make(most + 1))
    assert member in caught.value.field


@pytest.mark.parametrize("member", JOBS)
def test_a_job_has_as_much_of_everything_as_its_cap_says(member):
    most, make = JOBS[member]
    job = {"model": "scale", "input": {}}
    read_submission(json.dumps(job | make(most)).encode())
    with pytest.raises(InvalidRequestError) as caught:
        read_submission(json.dumps(job | make(most + 1)).encode())
    assert caught.value.field == member


def test_a_tensor_of_numbers_is_as_large_as_its_cap_says():
    codec = InputCodec(tensor(), text=True, allow_non_finite=False)
    most = TENSOR_BYTES_MAX // 4
    part = memoryview(bytes(4 * most))
    taken = InputTensor(name="x", datatype="FP32", shape=(most,))
    assert codec.decode(taken, part, 0).nbytes == TENSOR_BYTES_MAX
    for shape in ((most + 1,), (2**40,)):
        with pytest.raises(SignatureError, match=str(most)):
            codec.decode(InputTensor(name="x", datatype="FP32", shape=shape), part, 0)


def test_a_worker_holds_no_more_inputs_at_once_than_its_budget(small_models):
    desk = Desk(small_models)
    keys = [desk.submit(tensor_body([[1.0, 2.0]])) for _ in range(8)]
    works = [Work(position, desk.row(key)) for position, key in enumerate(keys)]
    unknown = [replace_input(work, size_bytes=0) for work in works]

    held = list(
        waves(unknown, budget_bytes=WORKER_INPUTS_BYTES_MAX, unknown_bytes=DECODED_BODY_BYTES_MAX)
    )

    assert [len(wave) for wave in held] == [3, 3, 2]


def replace_input(work, **changes):
    work.row = changed(work.row, input=replace(work.row.input, **changes))
    return work
