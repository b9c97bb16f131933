"""What is checked when a job is accepted agrees with the realtime call: never stricter, and in its words."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.catalog import parse_catalog
from shared.errors import CallerError
from shared.jobs.signature import check_body
from shared.repository import compile_catalog, read_repository

NAMES = st.sampled_from(["left", "right", "note", "x", "other"])
DATATYPES = st.sampled_from(["INT64", "INT64", "FP32", "BYTES", "FP16", "NOPE"])
NUMBERS = st.integers(-5, 5) | st.floats(-5, 5, width=32) | st.booleans() | st.just("a")
DATA = st.recursive(st.lists(NUMBERS, max_size=4), lambda inner: st.lists(inner, max_size=3))
TENSORS = st.fixed_dictionaries(
    {"name": NAMES, "datatype": DATATYPES, "shape": st.lists(st.integers(-1, 4), max_size=3)},
    optional={
        "data": DATA | NUMBERS,
        "parameters": st.fixed_dictionaries(
            {"binary_data_size": st.integers(-1, 40) | st.booleans()}
        ),
    },
)
OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["sum", "echo", "y"])},
        optional={"parameters": st.fixed_dictionaries({"binary_data": st.booleans() | st.just(1)})},
    ),
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=4)},
    optional={"outputs": OUTPUTS, "id": st.just("a") | st.just(1)},
)


def good(count, **changes):
    """A request to `pairs` that fits, but for the changes to its first input."""
    left = {"name": "left", "datatype": "INT64", "shape": [count], "data": [1] * count} | changes
    return {
        "inputs": [
            left,
            {"name": "right", "datatype": "INT64", "shape": [count], "data": [2] * count},
            {"name": "note", "datatype": "BYTES", "shape": [1], "data": ["hi"]},
        ]
    }


NEARLY_GOOD = st.builds(
    lambda count, changes: good(count, **changes),
    st.integers(0, 4),
    st.fixed_dictionaries(
        {},
        optional={
            "name": NAMES,
            "datatype": DATATYPES,
            "shape": st.lists(st.integers(0, 4), max_size=2),
            "data": DATA,
        },
    ),
)


@pytest.fixture(scope="module")
def catalog(small_models):
    return parse_catalog(compile_catalog(read_repository(small_models)))


def both(service, catalog, model, body, header_length=None):
    """Status, code and field of the realtime answer, and what the check said, None: nothing."""
    headers = (
        {} if header_length is None else {"inference-header-content-length": str(header_length)}
    )
    answer = service.request("POST", f"/v2/models/{model}/infer", body=body, headers=headers)
    _, version = catalog.find(model)
    try:
        check_body(body, version, header_length=header_length)
    except CallerError as error:
        return answer, error
    return answer, None


def agree(answer, refused):
    """A refusal is the realtime call's own; what is not refused here may still fail in the run."""
    if refused is None:
        return
    assert answer.status == refused.status
    assert answer.json()["code"] == refused.code
    assert answer.json().get("field") == refused.field


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES | NEARLY_GOOD)
def test_no_json_is_refused_that_would_be_answered(laneway_service, catalog, body):
    answer, refused = both(laneway_service, catalog, "pairs", json.dumps(body).encode())
    assert answer.status in {200, 400}
    if answer.status == 200:
        assert refused is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"name": "right"},
        {"datatype": "FP32"},
        {"datatype": "NOPE"},
        {"shape": [1, 2]},
        {"shape": [-1]},
        {"shape": [3]},
        {"shape": []},
        {"data": [1]},
        {"data": [[1, 2]]},
        {"data": [[1], [2, 3]]},
        {"data": 7},
        {"data": {}},
        {"data": None},
        {"parameters": {"binary_data_size": 16}},
        {"parameters": {"binary_data_size": True}, "data": None},
        {"parameters": {"shared_memory_region": "r"}},
    ],
    ids=str,
)
def test_one_fault_is_told_in_the_words_of_the_realtime_call(laneway_service, catalog, changes):
    body = json.dumps(good(2, **changes)).encode()
    answer, refused = both(laneway_service, catalog, "pairs", body)
    assert answer.status == 400 or changes == {"data": [[1, 2]]}
    agree(answer, refused)
    if changes not in ({"data": [[1, 2]]}, {"data": [[1], [2, 3]]}):
        assert refused is not None


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "y"}],
        [{"name": "sum"}, {"name": "sum"}],
        [{"name": "sum", "parameters": {"binary_data": 1}}],
        [{"name": "sum", "parameters": {"classification": 2}}],
        {},
    ],
    ids=str,
)
def test_a_wrong_output_is_told_alike(laneway_service, catalog, outputs):
    body = json.dumps(good(2) | {"outputs": outputs}).encode()
    answer, refused = both(laneway_service, catalog, "pairs", body)
    assert answer.status == 400
    assert refused is not None
    agree(answer, refused)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    framed=st.tuples(
        st.integers(0, 20),
        st.lists(st.integers(0, 3), min_size=1, max_size=2),
        st.integers(0, 30),
        st.integers(-2, 2),
    )
)
def test_no_binary_body_is_refused_that_would_be_answered(laneway_service, catalog, framed):
    size_bytes, shape, tail_bytes, cut = framed
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": shape,
        "parameters": {"binary_data_size": size_bytes},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    answer, refused = both(
        laneway_service, catalog, "scale", header + bytes(tail_bytes), len(header) + cut
    )
    if answer.status == 200:
        assert refused is None


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_request_that_fits_passes(laneway_service, catalog, count):
    answer, refused = both(laneway_service, catalog, "pairs", json.dumps(good(count)).encode())
    assert (answer.status, refused) == (200, None)


@pytest.mark.parametrize(("size_bytes", "status"), [(8, 200), (7, 400)])
def test_a_raw_body_is_left_to_the_run(laneway_service, catalog, size_bytes, status):
    answer, refused = both(laneway_service, catalog, "scale", bytes(size_bytes), 0)
    assert (answer.status, refused) == (status, None)


def test_a_raw_body_for_a_model_of_several_inputs_is_refused(laneway_service, catalog):
    answer, refused = both(laneway_service, catalog, "pairs", bytes(8), 0)
    agree(answer, refused)
    assert refused is not None
