"""Lines of a batch whose inputs have unlike lengths: padded to run together, written as they would be alone."""

from __future__ import annotations

import json
import time

import pytest

from cli.models.lock import lock
from shared.catalog import parse_catalog
from shared.inference.running import load
from shared.jobs.batches.engine import Engine
from shared.repository import compile_catalog, read_repository
from shared.schema.request import InferenceRequest
from tests.fixtures.small_models import write_padded_models

ENDPOINT = "/v2/models/total/infer"
LENGTHS = (4, 1, 16, 4, 9)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = write_padded_models(tmp_path_factory.mktemp("padded") / "models")
    lock(folder)
    return read_repository(folder)


def line(number, length):
    inputs = [
        {"name": name, "shape": [1, length], "datatype": "INT64", "data": data}
        for name, data in (("x", list(range(length))), ("mask", [1] * length))
    ]
    request = {"custom_id": f"line-{number}", "method": "POST", "url": ENDPOINT}
    return json.dumps(request | {"body": {"inputs": inputs}}).encode()


def test_lines_of_unlike_lengths_share_a_run_and_are_written_as_if_alone(repository, monkeypatch):
    model = parse_catalog(compile_catalog(repository)).model("total")
    served = load(repository.models["total"])
    runs = []
    run = served.session.run
    monkeypatch.setattr(
        served.session,
        "run",
        lambda feeds, *told: runs.append(len(feeds["x"])) or run(feeds, *told),
    )

    def engine():
        return Engine(
            model,
            served,
            validate=InferenceRequest.model_validate,
            batch_id="b",
            endpoint=ENDPOINT,
            timeout_s=30,
            report=pytest.fail,
        )

    lines = [line(number, length) for number, length in enumerate(LENGTHS)]
    until_s = time.monotonic() + 60

    together = engine().run(lines, 1, until_s=until_s)
    rows_together, runs[:] = list(runs), []
    alone = [engine().run([one], number, until_s=until_s) for number, one in enumerate(lines, 1)]

    assert rows_together == [len(LENGTHS)]
    assert len(runs) == len(LENGTHS)
    assert together.succeeded == len(LENGTHS)
    assert together.output == [written for block in alone for written in block.output]
