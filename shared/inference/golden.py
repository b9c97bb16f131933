"""golden.json: what the original library answers, and whether an answer of ours is near enough.

The file is one case (`name`, `version`, `request`, `expected`, `tolerance`) with further `cases`
beside it. `request` is a body of the Open Inference Protocol that works as it is; `expected` has the
answer's outputs; `tolerance` says per output how they are compared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, assert_never

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.inference.findings import GoldenFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GOLDEN_FILE = "golden.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerance(_Frozen):
    """How one output is compared.

    `equal`: the same values. `absolute`: no element differs by more than `limit`. `cosine`: for no
    row is 1 - cosine of the angle to the expected row more than `limit`.
    """

    measure: Literal["equal", "absolute", "cosine"]
    limit: float = Field(default=0.0, ge=0)
    reason: str = ""
    """Why the answers may differ at all."""


class GoldenOutput(_Frozen):
    """One expected output; `data` is flat, row after row."""

    name: str
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    datatype: str
    data: tuple[Any, ...]


class Expected(_Frozen):
    """The answer of the original library."""

    outputs: tuple[GoldenOutput, ...] = Field(min_length=1)


class Case(_Frozen):
    """A request and what the original library answers to it."""

    name: str
    version: str | None = None
    """None: the default version."""
    request: dict[str, Any]
    expected: Expected
    tolerance: dict[str, Tolerance]

    @model_validator(mode="after")
    def _says_how_to_compare(self) -> Self:
        for output in self.expected.outputs:
            if output.name not in self.tolerance:
                raise ValueError(f"no tolerance for output {output.name!r}")
        return self


class Golden(Case):
    """The file: one case that serves as an example, and more."""

    made_by: str
    cases: tuple[Case, ...] = ()


def read_cases(path: Path) -> list[Case]:
    """Every case of a golden.json, the example first; GoldenFileError when it is not one."""
    try:
        golden = Golden.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise GoldenFileError(f"{path}: {place or 'file'}: {first['msg']}") from error
    return [golden, *golden.cases]


def differences(case: Case, outputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong with an answer, one sentence per output; empty when it is near enough.

    `outputs`: by name, the protocol's JSON form with `datatype`, `shape` and flat `data`.
    """
    found = []
    for expected in case.expected.outputs:
        actual = outputs.get(expected.name)
        if actual is None:
            found.append(f"output {expected.name!r} is missing")
            continue
        problem = _difference(expected, actual, case.tolerance[expected.name])
        if problem:
            found.append(f"output {expected.name!r}: {problem}")
    return found


def _difference(
    expected: GoldenOutput, actual: Mapping[str, Any], tolerance: Tolerance
) -> str | None:
    form = (actual["datatype"], tuple(actual["shape"]))
    if form != (expected.datatype, expected.shape):
        return f"is {form[0]} {list(form[1])}, not {expected.datatype} {list(expected.shape)}"
    measured = _measured(expected, actual["data"], tolerance)
    if measured <= tolerance.limit:  # NaN is not
        return None
    return f"{tolerance.measure} difference {measured:.3g}, at most {tolerance.limit:g} is allowed"


def _measured(expected: GoldenOutput, data: Sequence[Any], tolerance: Tolerance) -> float:
    match tolerance.measure:
        case "equal":
            return float(sum(a != b for a, b in zip(expected.data, data, strict=True)))
        case "absolute":
            pairs = zip(expected.data, data, strict=True)
            return _worst([abs(a - b) for a, b in pairs])
        case "cosine":
            width = expected.shape[-1]
            rows = range(0, len(expected.data), width)
            return _worst(
                [_cosine_gap(expected.data[r : r + width], data[r : r + width]) for r in rows]
            )
        case never:
            assert_never(never)


def _worst(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def _cosine_gap(a: Sequence[float], b: Sequence[float]) -> float:
    lengths = math.hypot(*a) * math.hypot(*b)
    return (
        1.0 - math.fsum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else math.nan
    )
