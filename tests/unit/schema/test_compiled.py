"""The compiled validators are the Pydantic models, without Pydantic."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import ValidationError as CoreValidationError

from shared.errors import InvalidRequestError
from shared.schema import compile as compiler
from shared.schema.compile import export_validators
from shared.schema.compiled import Light, load_validators
from shared.schema.request import InferenceRequest
from tests.unit.schema.bodies import json_values, nearly_valid_bodies, valid_bodies

EXPORTED = json.loads(json.dumps(export_validators()))
VALIDATORS = load_validators(EXPORTED)
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}


def outcome_of_pydantic(body):
    try:
        return "accepted", plain(InferenceRequest.model_validate(body))
    except ValidationError as error:
        return "refused", [(e["type"], e["loc"], e["msg"]) for e in error.errors()]


def outcome_of_compiled(body):
    try:
        return "accepted", plain(VALIDATORS.inference_request(body))
    except InvalidRequestError as error:
        cause = error.__cause__
        assert isinstance(cause, CoreValidationError)
        return "refused", [(e["type"], e["loc"], e["msg"]) for e in cause.errors()]


def plain(value):
    """The attributes of a request as a tree that tells 1 from True and from 1.0."""
    if isinstance(value, (BaseModel, Light)):
        return {name: plain(member) for name, member in vars(value).items()}
    if isinstance(value, dict):
        return {"dict": [(key, plain(member)) for key, member in value.items()]}
    if isinstance(value, (list, tuple)):
        return type(value), [plain(member) for member in value]
    return type(value), repr(value)


@given(valid_bodies)
def test_both_read_the_same_values_from_a_valid_body(body):
    verdict, values = outcome_of_compiled(body)

    assert verdict == "accepted"
    assert (verdict, values) == outcome_of_pydantic(body)


@settings(max_examples=500)
@given(nearly_valid_bodies())
def test_both_agree_on_a_body_with_one_mistake(body):
    assert outcome_of_compiled(body) == outcome_of_pydantic(body)


@settings(max_examples=300)
@given(json_values)
def test_both_agree_on_any_json_at_all(body):
    assert outcome_of_compiled(body) == outcome_of_pydantic(body)


def test_a_compiled_request_is_used_like_the_pydantic_model():
    request = VALIDATORS.inference_request(
        {
            "id": "7",
            "inputs": [TENSOR],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    )

    assert request.id == "7"
    assert request.parameters is None
    assert request.inputs[0].name == "x"
    assert request.inputs[0].shape == (1, 2)
    assert request.outputs is not None
    assert request.outputs[0].parameters == {"binary_data": True}


def test_the_data_of_a_tensor_is_handed_on_and_not_copied():
    data = [[1.0], [2.0]]

    request = VALIDATORS.inference_request({"inputs": [{**TENSOR, "data": data}]})

    assert request.inputs[0].data is data


def test_a_compiled_request_cannot_be_changed():
    request = VALIDATORS.inference_request({"inputs": [TENSOR]})

    with pytest.raises(AttributeError, match="frozen"):
        request.id = "other"  # type: ignore[misc]  # the point of the test
    with pytest.raises(AttributeError, match="frozen"):
        del request.id


def test_members_that_the_protocol_does_not_name_are_passed_over():
    request = VALIDATORS.inference_request({"inputs": [TENSOR], "model_name": "iris"})

    assert not hasattr(request, "model_name")


@pytest.mark.parametrize(
    ("body", "field", "fact"),
    [
        ([], None, "the request should be an object; received an array of 0 elements"),
        ({}, "inputs", "inputs is required and missing"),
        ({"inputs": []}, "inputs", "inputs should be of length 1 or more"),
        ({"inputs": {"x": 1}}, "inputs", "should be an array; received an object of 1 members"),
        ({"inputs": [TENSOR] * 257}, "inputs", "of length 256 or less"),
        ({"inputs": [7]}, "inputs[0]", "inputs[0] should be an object; received 7"),
        ({"inputs": [TENSOR], "id": 7}, "id", "id should be a string; received 7"),
        ({"inputs": [TENSOR], "parameters": []}, "parameters", "should be an object"),
        (
            {"inputs": [TENSOR], "parameters": {"a": {"b": 1}}},
            "parameters.a",
            "should be a string, a number or a boolean; received an object of 1 members",
        ),
        ({"inputs": [TENSOR], "outputs": [{"name": 4}]}, "outputs[0].name", "received 4"),
        ({"inputs": [TENSOR, {**TENSOR, "name": ""}]}, "inputs[1].name", "at least 1 character"),
    ],
)
def test_a_refusal_names_the_field_and_the_fact(body, field, fact):
    with pytest.raises(InvalidRequestError) as refused:
        VALIDATORS.inference_request(body)

    assert refused.value.field == field
    assert fact in refused.value.message


@pytest.mark.parametrize(
    ("member", "value", "field", "fact"),
    [
        (
            "datatype",
            "float",
            "inputs[0].datatype",
            'FP16, FP32, FP64, BF16, BYTES; received "float"',
        ),
        ("shape", [2, -1], "inputs[0].shape[1]", "greater than or equal to 0; received -1"),
        ("shape", [2**63], "inputs[0].shape[0]", "received 9223372036854775808"),
        ("shape", [10**40], "inputs[0].shape[0]", "received a huge number"),
        ("shape", [2.0], "inputs[0].shape[0]", "should be an integer; received 2.0"),
        ("shape", ["2"], "inputs[0].shape[0]", 'should be an integer; received "2"'),
        ("shape", [True], "inputs[0].shape[0]", "should be an integer; received true"),
        ("shape", "2", "inputs[0].shape", 'should be an array; received "2"'),
        ("shape", [1] * 33, "inputs[0].shape", "of length 32 or less"),
        ("name", "n" * 300, "inputs[0].name", "at most 256 characters"),
        ("parameters", {"k": None}, "inputs[0].parameters.k", "received null"),
    ],
)
def test_a_refused_input_is_named_by_its_position(member, value, field, fact):
    with pytest.raises(InvalidRequestError) as refused:
        VALIDATORS.inference_request({"inputs": [{**TENSOR, member: value}]})

    assert refused.value.field == field
    assert fact in refused.value.message


def test_a_refusal_repeats_only_the_beginning_of_a_long_value():
    with pytest.raises(InvalidRequestError) as refused:
        VALIDATORS.inference_request({"inputs": [{**TENSOR, "datatype": "F" * 10_000}]})

    assert len(refused.value.message) < 300


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [7] * 300_000},
        {"inputs": [{**TENSOR, "shape": ["a"] * 300_000}]},
        {"inputs": [TENSOR], "outputs": [None] * 300_000},
        {"inputs": [TENSOR], "parameters": {str(i): None for i in range(300_000)}},
    ],
    ids=["inputs", "shape", "outputs", "parameters"],
)
def test_a_body_full_of_mistakes_costs_no_more_than_its_first(body):
    with pytest.raises(InvalidRequestError) as refused:
        VALIDATORS.inference_request(body)

    cause = refused.value.__cause__
    assert isinstance(cause, CoreValidationError)
    assert cause.error_count() <= 4 * 257


def test_a_tensor_nested_deeply_is_no_concern_of_the_validator():
    data: Any = orjson.loads(b"[" * 1000 + b"]" * 1000)

    assert VALIDATORS.inference_request({"inputs": [{**TENSOR, "data": data}]})


def test_the_run_time_side_loads_pydantic_core_and_not_pydantic():
    script = (
        "import sys, json; from shared.schema import compiled, wire; "
        "compiled.load_validators(json.load(sys.stdin)); "
        "print([n for n in ('pydantic', 'numpy', 'asyncio', 'boto3') if n in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(EXPORTED),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.strip() == "[]"


def test_a_model_with_a_python_validator_is_refused_when_it_is_exported(monkeypatch):
    class Clever(BaseModel):
        model_config = ConfigDict(frozen=True)
        name: str

        @field_validator("name")
        @classmethod
        def lowered(cls, name: str) -> str:
            return name.lower()

    monkeypatch.setattr(compiler, "EXPORTED", {"clever": Clever})

    with pytest.raises(TypeError, match="declarative"):
        export_validators()
