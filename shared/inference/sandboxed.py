"""The process that looks at a model: takes its own rights away, looks, and writes what it found.

Standard input has the question, one JSON object; standard output gets a line of JSON for each step that
begins and one for what was found. `sandbox` asks.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.inference.admission_limits import AdmissionLimits
from shared.inference.budget import Budget
from shared.inference.findings import ModelRefusedError
from shared.inference.isolation import (
    WRITTEN_BYTES_MAX,
    IsolationError,
    begin_timer,
    isolate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.inference.budget import Steps


def main() -> None:
    """Answer the one question."""
    question = json.loads(sys.stdin.buffer.read())
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever prints does not print into it

    def write(line: Mapping[str, Any]) -> None:
        os.write(answers, json.dumps(line).encode() + b"\n")

    limits = AdmissionLimits(**question["limits"])
    begin = Budget(limits.total_s, begin_timer=begin_timer, tell=write)
    try:
        isolate(
            memory_bytes=limits.memory_bytes,
            cpu_s=ceil(limits.wall_s),
            written_bytes=question.get("written_bytes", WRITTEN_BYTES_MAX),
        )
        begin("starting")
        write({"found": _look(question, limits, begin)})
    except (ModelRefusedError, IsolationError) as error:
        write({"refused": str(error)})
    except MemoryError:
        write(
            {"refused": f"looking at it took more than {limits.memory_bytes >> 20} MiB of memory"}
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a session's native threads may not end


def _look(question: Mapping[str, Any], limits: AdmissionLimits, begin: Steps) -> dict[str, Any]:
    """Numpy and onnxruntime come under the limits: they are imported here."""
    if question["task"] == "judge":
        from shared.inference.judging import judge  # noqa: PLC0415  as above

        golden = judge(Path(question["folder"]), question["version"], limits, begin)
        return {"golden": golden}
    if question["task"] in ("make form", "measure start"):
        return _of_form(question, limits, begin)
    from shared.inference.inspect import inspect_model  # noqa: PLC0415  as above

    path, pad = Path(question["path"]), question["pad"]
    return inspect_model(path, pad=pad, limits=limits, steps=begin).to_json()


def _of_form(question: Mapping[str, Any], limits: AdmissionLimits, begin: Steps) -> dict[str, Any]:
    from shared.inference.forms import make_form, measure_start  # noqa: PLC0415  as above

    if question["task"] == "measure start":
        begin("making a session", limits.load_s)
        return asdict(
            measure_start(question["files"], question["session"], question["optimization"])
        )
    folder, target = Path(question["folder"]), Path(question["target"])
    version, only = question["version"], question["only"]
    compared = make_form(folder, version, target, limits, begin, only=only)
    return {optimization: asdict(found) for optimization, found in compared.items()}


if __name__ == "__main__":
    main()
