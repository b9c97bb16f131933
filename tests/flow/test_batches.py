"""Batches from a file of lines to a file of answers, through splitter, workers and finisher."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count

import orjson
import pytest

from shared.errors import InvalidRequestError, NotFinishedError
from shared.jobs.batches.reading import LINE_BYTES_MAX
from shared.jobs.batches.run_chunk import BLOCK_LINES, FIRST_RUN_S, ChunkRunner
from shared.limits import MIB
from tests.fixtures.batch_desk import SCALE, BatchDesk, check_invariants, line


@pytest.fixture
def desk(small_models):
    return BatchDesk(small_models)


def lines_of(lines: int) -> bytes:
    return b"".join(line(number) + b"\n" for number in range(lines))


def doubled(answer) -> list[float]:
    return answer["response"]["body"]["outputs"][0]["data"]


def test_every_line_is_answered_in_input_order(desk):
    ended = desk.run(lines_of(300))

    check_invariants(desk, ended.row.key, lines=300)
    assert ended.row.cursor.chunks > 3
    assert [answer["custom_id"] for answer in ended.output] == [f"row-{n}" for n in range(300)]
    assert doubled(ended.output[7]) == [14.0, 15.0]
    assert ended.errors == []


def test_an_answer_has_the_form_of_openais_batches(desk):
    ended = desk.run(line(1))

    name = f"{ended.row.key.id}-1"
    assert ended.output == [
        {
            "id": name,
            "custom_id": "row-1",
            "response": {
                "status_code": 200,
                "request_id": name,
                "body": {
                    "model_name": "scale",
                    "model_version": "1",
                    "outputs": [
                        {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 3.0]}
                    ],
                },
            },
            "error": None,
        }
    ]


BAD = {
    "not JSON": (b"{oops", "malformed_body", None),
    "not UTF-8": (b'{"custom_id": "\xff"}', "malformed_body", None),
    "a list": (b"[1]", "invalid_request", None),
    "no custom_id": (line(1, custom_id=None), "invalid_request", None),
    "another url": (line(1, url="/v2/models/root/infer"), "invalid_request", "row-1"),
    "another method": (line(1, method="GET"), "invalid_request", "row-1"),
    "no body": (line(1, body=None), "invalid_request", "row-1"),
    "no inputs": (line(1, body={}), "invalid_request", "row-1"),
    "a text for a number": (
        line(
            1,
            body={"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, "a"]}]},
        ),
        "signature_mismatch",
        "row-1",
    ),
    "another shape": (
        line(
            1,
            body={
                "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]
            },
        ),
        "signature_mismatch",
        "row-1",
    ),
    "not finite": (
        line(1).replace(b"[1,1.5]", b"[NaN,1]"),
        "non_finite_input",
        "row-1",
    ),
    "an overflow": (
        line(
            1,
            body={
                "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1e300, 1]}]
            },
        ),
        "signature_mismatch",
        "row-1",
    ),
    "binary outputs": (
        line(
            1,
            body={
                "parameters": {"binary_data_output": True},
                "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}],
            },
        ),
        "invalid_request",
        "row-1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_an_error_line_and_takes_no_other_with_it(desk, name):
    bad, code, custom_id = BAD[name]

    ended = desk.run(line(0) + b"\n" + bad + b"\n" + line(2))

    assert ended.row.status == "succeeded"
    assert ended.counts == (3, 2, 1)
    assert [answer["custom_id"] for answer in ended.output] == ["row-0", "row-2"]
    [error] = ended.errors
    assert (error["line"], error["custom_id"], error["error"]["code"]) == (2, custom_id, code)
    assert error["response"]["status_code"] == 400
    assert error["response"]["body"]["error"] == error["error"]["message"]
    assert ended.refused == bad + b"\n"
    assert desk.defects == []


@pytest.mark.parametrize(
    ("data", "total"),
    [
        (line(0) + b"\r\n" + line(1) + b"\r\n", 2),
        (line(0) + b"\n" + line(1), 2),
        (b"\xef\xbb\xbf" + line(0) + b"\n" + line(1) + b"\n", 2),
        (line(0) + b"\n\n \t\r\n" + line(1) + b"\n\n\n", 2),
    ],
    ids=["CRLF", "no final newline", "byte order mark", "blank lines"],
)
def test_what_editors_do_to_files_makes_no_error(desk, data, total):
    ended = desk.run(data)

    assert ended.counts == (total, total, 0)
    assert doubled(ended.output[-1]) == [2.0, 3.0]


def test_a_line_longer_than_a_chunk_is_a_line_like_the_others(desk):
    long = line(1, padding="x" * 20_000)

    ended = desk.run(b"\n".join([line(0), long, *(line(n) for n in range(2, 60))]))

    check_invariants(desk, ended.row.key, lines=60)
    assert ended.errors == []


def test_a_line_longer_than_a_request_may_be_is_an_error_line(small_models):
    desk = BatchDesk(small_models, chunk_bytes=8 * MIB)
    long = line(1, padding="x" * LINE_BYTES_MAX)

    ended = desk.run(line(0) + b"\n" + long + b"\n" + line(2) + b"\n")

    check_invariants(desk, ended.row.key, lines=3)
    [error] = ended.errors
    assert (error["line"], error["error"]["code"]) == (2, "too_large")
    assert ended.refused == b""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (b"PK\x03\x04rest", "zip archive"),
        ("x".encode("utf-16"), "UTF-16"),
        (b"", "empty"),
    ],
)
def test_an_input_that_is_no_text_fails_the_batch_with_the_reason(desk, data, reason):
    ended = desk.run(data)

    assert ended.row.status == "failed"
    assert reason in ended.row.failure.error
    assert ended.row.failure.status_code == 415
    assert ended.row.files == {}


def test_an_input_that_is_not_there_fails_the_batch(desk):
    key = desk.submit(b"x")
    desk.objects._objects.clear()

    assert desk.settle(key).failure.code == "not_found"


def test_an_input_that_is_changed_under_way_loses_the_lines_that_were_left(desk):
    key = desk.submit(lines_of(200))
    desk.step_split()
    desk.step_chunk()
    done = desk.accept.get(key).succeeded

    desk.upload(lines_of(3))
    desk.settle(key)

    check_invariants(desk, key, lines=200)
    ended = desk.ended(key)
    assert ended.row.succeeded == done > 0
    assert {error["error"]["code"] for error in ended.errors} == {"conflict"}


def test_lines_of_unlike_shapes_run_in_one_batch(desk):
    bodies = []
    for number in range(100):
        rows = number % 3 + 1
        tensor = {"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": [number] * 2 * rows}
        bodies.append(
            line(number, body={"inputs": [tensor], **({"id": "me"} if rows == 2 else {})})
        )

    ended = desk.run(b"\n".join(bodies))

    check_invariants(desk, ended.row.key, lines=100)
    for number, answer in enumerate(ended.output):
        rows = number % 3 + 1
        assert doubled(answer) == [2.0 * number] * 2 * rows
        assert answer["response"]["body"]["outputs"][0]["shape"] == [rows, 2]
        assert answer["response"]["body"].get("id") == ("me" if rows == 2 else None)


def test_a_model_with_a_transform_answers_and_refuses_line_by_line(desk):
    endpoint = "/v2/models/shout/infer"
    texts = ["hi", "", "yo", "break"]
    lines = [
        line(
            n,
            endpoint,
            body={"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]},
        )
        for n, text in enumerate(texts)
    ]

    ended = desk.run(b"\n".join(lines), endpoint)

    assert ended.counts == (4, 2, 2)
    codes = [error["error"]["code"] for error in ended.errors]
    assert codes == ["transform_refused", "transform_failed"]


def test_output_that_json_cannot_carry_fails_its_line_alone(desk):
    endpoint = "/v2/models/root/infer"
    lines = [
        line(
            n,
            endpoint,
            body={"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [value]}]},
        )
        for n, value in enumerate([4.0, -1.0, 9.0])
    ]

    ended = desk.run(b"\n".join(lines), endpoint)

    assert [doubled(answer) for answer in ended.output] == [[2.0], [3.0]]
    assert ended.errors[0]["error"]["code"] == "model_output_non_finite"


def test_the_failed_lines_alone_run_again(desk):
    first = desk.run(line(0) + b"\n{oops\n" + line(2, url="/elsewhere") + b"\n" + line(3))

    accepted = desk.accept.retry(first.row.key)
    again = desk.accept.retry(first.row.key)
    desk.settle(accepted.row.key)

    assert (accepted.created, again.created) == (True, False)
    retried = desk.ended(accepted.row.key)
    assert retried.row.retry_of == first.row.key.id
    assert retried.counts == (2, 0, 2)
    assert retried.refused == first.refused


def test_a_batch_without_failed_lines_is_not_retried(desk):
    ended = desk.run(line(0))

    with pytest.raises(InvalidRequestError, match="no failed line"):
        desk.accept.retry(ended.row.key)


def test_a_batch_that_runs_is_not_retried(desk):
    key = desk.submit(line(0))

    with pytest.raises(NotFinishedError, match="has ended"):
        desk.accept.retry(key)


def test_a_canceled_batch_keeps_what_is_done_and_says_what_is_not(desk):
    key = desk.submit(lines_of(200))
    desk.step_split()
    desk.step_chunk()

    assert desk.accept.cancel(key).status == "finalizing"
    desk.settle(key)

    ended = desk.ended(key)
    total, succeeded, failed = ended.counts
    assert ended.row.status == "canceled"
    assert len(ended.output) == succeeded > 0
    assert ended.manifest["lines_not_run"] == total - succeeded - failed > 0
    assert ended.manifest["not_run"][0]["first_line"] == succeeded + 1


def test_a_batch_that_has_not_begun_is_canceled_at_once(desk):
    key = desk.submit(lines_of(5))

    assert desk.accept.cancel(key).status == "canceled"
    desk.drain()
    assert desk.accept.get(key).status == "canceled"
    assert desk.accept.cancel(key).status == "canceled"


def test_a_batch_that_is_late_expires_with_what_is_done(desk):
    key = desk.submit(lines_of(200), ttl_s=3600)
    desk.step_split()
    desk.step_chunk()
    while delivery := next(iter(desk.chunks.receive(limit=1, wait_s=0)), None):
        desk.chunks.acknowledge(delivery)

    desk.clock.advance(3601)
    row = desk.settle(key, minutes=10)

    assert row.status == "expired"
    assert len(desk.ended(key).output) == row.succeeded > 0


def test_a_batch_with_a_start_waits_for_it(desk):
    key = desk.submit(lines_of(5), not_before="2025-11-21T22:00:00Z")
    assert desk.clock() < desk.accept.get(key).not_before

    desk.drain()
    assert desk.accept.get(key).status == "scheduled"

    row = desk.settle(key)
    assert row.started_at >= row.not_before
    assert row.status == "succeeded"


def test_chunks_begin_in_the_window_only(desk):
    hour = int(desk.clock() % 86_400 // 3600)
    window = f"{hour:02}:00-{(hour + 1) % 24:02}:00"
    key = desk.submit(lines_of(200), window=window, ttl_s=7 * 86_400)
    desk.step_split()
    desk.step_chunk()
    done = desk.accept.get(key).succeeded

    desk.clock.advance(3600)
    for _ in range(22 * 60):
        desk.drain()
        desk.clock.advance(60)
        desk.sweep()
    assert desk.accept.get(key).succeeded == done > 0

    desk.settle(key, minutes=180)
    check_invariants(desk, key, lines=200)


def test_a_chunk_that_runs_out_of_time_publishes_what_it_has_and_goes_on(small_models):
    desk = BatchDesk(small_models, chunk_bytes=MIB)
    key = desk.submit(lines_of(3000))
    desk.step_split()
    until_s = time.monotonic() + 60
    in_time = desk.runner
    desk.runner = ChunkRunner(replace(desk.worker, monotonic=lambda: until_s))

    desk.step_chunk(until_s=until_s)
    desk.runner = in_time
    halfway = desk.accept.get(key).succeeded
    desk.settle(key)

    assert 0 < halfway < 3000
    assert [len(chunk.parts) for chunk in desk.batches.chunks(key)] == [2]
    check_invariants(desk, key, lines=3000)


def test_a_long_chunk_is_published_in_parts_so_that_its_counts_move(small_models):
    desk = BatchDesk(small_models, chunk_bytes=MIB)
    key = desk.submit(lines_of(BLOCK_LINES * 12))
    desk.step_split()
    ticks = count(0, FIRST_RUN_S + 1)
    desk.runner = ChunkRunner(replace(desk.worker, monotonic=lambda: next(ticks)))

    desk.step_chunk()
    assert desk.accept.get(key).succeeded == BLOCK_LINES
    desk.settle(key)

    [chunk] = desk.batches.chunks(key)
    blocks = [part.succeeded // BLOCK_LINES for part in chunk.parts]
    assert blocks == [1, 2, 4, 5], "each run may take twice as long as the one before"
    check_invariants(desk, key, lines=BLOCK_LINES * 12)


def test_a_chunk_whose_runs_die_three_times_makes_errors_of_its_own_lines_alone(desk):
    key = desk.submit(lines_of(200))
    desk.step_split()
    for _ in range(3):
        desk.batches.claim_chunk(key, 1, owner="dies", until=desk.clock() + 60, now=desk.clock())
        desk.clock.advance(60)

    desk.settle(key)

    check_invariants(desk, key, lines=200)
    chunk = list(desk.batches.chunks(key))[1]
    lost = [error["line"] for error in desk.ended(key).errors]
    assert lost == list(range(chunk.begin.line, chunk.begin.line + chunk.lines))
    assert desk.ended(key).errors[0]["custom_id"] == f"row-{chunk.begin.line - 1}"
    assert desk.ended(key).refused.count(b"\n") == chunk.lines


def test_a_splitter_that_runs_out_of_time_goes_on_where_it_was(desk):
    key = desk.submit(lines_of(3000))

    desk.step_split(until_s=time.monotonic() - 1)
    part_way = desk.accept.get(key).cursor
    desk.settle(key)

    assert 0 < part_way.chunks < desk.accept.get(key).cursor.chunks
    check_invariants(desk, key, lines=3000)


def test_a_finisher_that_runs_out_of_time_goes_on_with_its_upload(small_models):
    desk = BatchDesk(small_models, chunk_bytes=4 * MIB)
    big = b"\n".join(line(n, custom_id=f"{n:05}" + "x" * 200) for n in range(25_000))
    key = desk.submit(big)
    desk.run_chunks()

    desk.step_finish(until_s=time.monotonic() - 1)
    upload = desk.accept.get(key).uploads
    desk.settle(key)

    assert upload.keys() == {"output.jsonl"}
    check_invariants(desk, key, lines=25_000)


def test_a_message_that_names_nothing_is_buried(desk):
    desk.chunks.send(
        orjson.dumps({"schema_version": 1, "chunk": {"tenant": "a"}}).decode(), tenant="a"
    )
    desk.chunks.send(
        orjson.dumps(
            {"schema_version": 1, "chunk": {"tenant": "a", "batch": "b", "index": 0}}
        ).decode(),
        tenant="a",
    )

    desk.drain()

    assert len(desk.buried) == 2


def test_a_line_runs_alike_in_a_batch_and_on_its_own(desk):
    ended = desk.run(lines_of(50))

    for number, answer in enumerate(ended.output):
        assert doubled(answer) == [2.0 * number, 2.0 * (number + 0.5)]
    assert SCALE.endswith(ended.row.endpoint[-20:])
