"""The compiled part of pydantic_core, alone and beside the whole."""

from __future__ import annotations

import subprocess
import sys

ALONE_THEN_WHOLE = """
import sys
from shared.schema.core import SchemaValidator, ValidationError, from_json
assert "pydantic_core" not in sys.modules
try:
    SchemaValidator({"type": "int", "gt": 1}).validate_python(from_json(b"0"))
except ValidationError as error:
    [told] = error.errors()
    print(told["type"])

import pydantic
from pydantic_core import _pydantic_core
assert pydantic.ValidationError is ValidationError
assert _pydantic_core.SchemaValidator is SchemaValidator

class Model(pydantic.BaseModel):
    x: int = pydantic.Field(gt=1)

try:
    Model(x=0)
except ValidationError as error:
    print(error.title)
"""
WHOLE_FIRST = """
import pydantic_core
from shared.schema.core import SchemaValidator
print(pydantic_core.SchemaValidator is SchemaValidator)
"""


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_pydantic_finds_the_part_that_was_loaded_before_it():
    assert run(ALONE_THEN_WHOLE) == ["greater_than", "Model"]


def test_the_part_of_a_package_that_is_there_is_used():
    assert run(WHOLE_FIRST) == ["True"]
