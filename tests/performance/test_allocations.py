"""What a warm request takes of memory: nothing that stays, and a fixed number of copies of what it carries."""

from __future__ import annotations

import base64
import gc
import marshal
import shutil
import sys
import tracemalloc
from contextlib import redirect_stdout
from io import StringIO
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from benchmarks.children.memory_worker import catalog_of
from benchmarks.harness.events import infer_event
from benchmarks.harness.packages import remove_all
from functions.realtime.service import make_handler
from shared.schema.wire import HEADER_LENGTH
from shared.settings import RealtimeSettings

ROWS = 100_000
COPIES_MAX = 4.75
"""In tensors of 800 kB: the body out of base64, the answer's body, and that in base64, as bytes and as text of 4/3."""
CALLS = 2_000
BLOCKS_MAX = 50
CONTEXT = SimpleNamespace(
    function_name="f",
    function_version="1",
    memory_limit_in_mb=1769,
    invoked_function_arn="arn",
    aws_request_id="i",
    get_remaining_time_in_millis=lambda: 10_000,
)


@pytest.fixture(scope="module")
def handler(small_models, tmp_path_factory):
    package = tmp_path_factory.mktemp("package")
    models = package / "models"
    shutil.copytree(small_models / "scale", models / "scale")
    (models / "pools.toml").write_text("[shared]\n")
    settings = RealtimeSettings(stage="test", pool="shared")
    catalog = catalog_of(folder=models)
    yield make_handler(settings, catalog=catalog, package=package)
    remove_all()


def event_of(body: bytes, **headers: str):
    event = marshal.loads(infer_event("scale", {}).read_bytes())  # noqa: S302  our own file
    event["headers"] |= headers
    event["body"], event["isBase64Encoded"] = base64.b64encode(body).decode(), True
    return event


def tensor_of(rows, **members):
    return {"name": "x", "shape": [rows, 2], "datatype": "FP32", **members}


@pytest.fixture(scope="module")
def binary():
    """100,000 rows, both ways as bytes."""
    data = np.ones((ROWS, 2), np.float32).tobytes()
    request = {
        "inputs": [tensor_of(ROWS, parameters={"binary_data_size": len(data)})],
        "parameters": {"binary_data_output": True},
    }
    head = orjson.dumps(request)
    head = head.ljust(len(head) + -len(head) % 64)
    return event_of(
        head + data,
        **{"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))},
    )


def small():
    return event_of(orjson.dumps({"inputs": [tensor_of(1, data=[1.0, 2.0])]}))


def answered(handler, event):
    with redirect_stdout(StringIO()):
        answer = handler(event, CONTEXT)
    assert answer["statusCode"] == 200, answer
    return answer


def test_a_binary_request_takes_so_many_copies_of_its_tensor_and_no_more(handler, binary):
    answered(handler, binary)
    gc.collect()

    tracemalloc.start()
    answered(handler, binary)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < COPIES_MAX * ROWS * 8


def test_a_request_leaves_nothing_behind(handler):
    event = small()
    for _ in range(CALLS // 10):
        answered(handler, event)

    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(CALLS):
        answered(handler, event)
    gc.collect()
    assert sys.getallocatedblocks() - before < BLOCKS_MAX


def test_a_request_makes_no_cycles_for_the_collector(handler):
    """What a request made goes when it ends: a warm environment never waits for a collection."""
    event = small()
    answered(handler, event)
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            answered(handler, event)
        assert gc.collect() < 10
    finally:
        gc.enable()
