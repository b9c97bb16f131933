"""Looks at a model in a process of its own, with limits: the file may be hostile or just huge.

A file of a hundred bytes can ask for more memory than the machine has, and onnxruntime then gives no
error but takes the process with it. When a model is added or checked that process is not the caller's:
nothing of the model is opened, parsed or run here, and what comes back is JSON of a bounded size.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from shared.inference.admission_limits import AdmissionLimits, widest_limits
from shared.inference.findings import (
    Compared,
    Judgement,
    ModelInspection,
    ModelRefusedError,
    Started,
)
from shared.inference.model_files import check_plain_file
from shared.inference.sandbox_endings import RAISE, last_step, why_it_ended
from shared.limits import LAMBDA_PACKAGE_BYTES, MIB
from shared.repository import FORM_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.schema.spec import FormOptimization

ROOT: Final = Path(__file__).parents[2]
CHILD: Final = "shared.inference.sandboxed"
ANSWER_BYTES_MAX: Final = 4 * MIB
STARTING_S: Final = 0.5
"""By the clock: to start the process and to end it, and for its disk."""
KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "HOME")
"""Of the environment: whatever else is in it, credentials above all, is no business of a model's."""
SANDBOX_EXEC: Final = ("/usr/bin/sandbox-exec", "-p", "(version 1)(allow default)(deny network*)")


def inspect_in_sandbox(
    path: Path, *, limits: AdmissionLimits | None = None, pad: Mapping[str, float] | None = None
) -> ModelInspection:
    """`inspect.inspect_model` in a process of its own. Raises ModelRefusedError for what that raises it.

    Also raises it when the process ran out of memory, of time, or was taken down by the model.
    """
    limits = limits or widest_limits()
    request = {"path": str(path.absolute()), "pad": dict(pad) if pad else None}
    found = _ask("inspect", request, limits, path.name)
    try:
        return ModelInspection.from_json(found)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelRefusedError(f"the process that looked at {path.name} gave no sense") from error


def judge_in_sandbox(folder: Path, version: str, limits: AdmissionLimits) -> Judgement:
    """`judging.judge` of a version of the model in `folder`, in a process of its own; raises as above."""
    request = {"folder": str(folder.absolute()), "version": version}
    found = _ask("judge", request, limits, f"{folder.name} {version}")
    return Judgement(golden=int(found["golden"]))


def make_form_in_sandbox(
    folder: Path,
    version: str,
    target: Path,
    limits: AdmissionLimits,
    *,
    only: FormOptimization | None = None,
) -> dict[FormOptimization, Compared]:
    """`forms.make_form` of a version of the model in `folder`, in a process of its own; raises as above.

    Its two files are in `target` afterwards.
    """
    with tempfile.TemporaryDirectory() as made:  # the process may write nowhere else
        request = {
            "folder": str(folder.absolute()),
            "version": version,
            "target": made,
            "only": only,
            "written_bytes": LAMBDA_PACKAGE_BYTES,  # a larger one is never shipped
        }
        limits = _admitted(limits)
        compared = _ask("make form", request, limits, f"{folder.name} {version}")
        for name in (FORM_FILE, WEIGHTS_FILE):
            check_plain_file(Path(made) / name, f"file {name!r} of the form")
            shutil.move(Path(made) / name, target / name)
    return {optimization: Compared(**found) for optimization, found in compared.items()}


def measure_start_in_sandbox(
    files: Sequence[Path],
    session: Mapping[str, Any],
    optimization: str,
    limits: AdmissionLimits,
) -> Started:
    """`forms.measure_start` in a process of its own; raises as above."""
    request = {
        "files": [str(file.absolute()) for file in files],
        "session": dict(session),
        "optimization": optimization,
    }
    return Started(**_ask("measure start", request, _admitted(limits), files[0].name))


def _admitted(limits: AdmissionLimits) -> AdmissionLimits:
    """Of a model that is no bomb: what is measured of it may take its time."""
    return replace(limits, total_s=limits.wall_s)


def _ask(task: str, request: Mapping[str, Any], limits: AdmissionLimits, what: str) -> Any:
    question = json.dumps({"task": task, "limits": limits.to_json(), **request})
    prefix = SANDBOX_EXEC if sys.platform == "darwin" else ()
    with tempfile.TemporaryFile() as answers, tempfile.TemporaryFile() as said:
        child = subprocess.Popen(  # noqa: S603  our own module, run by the interpreter that runs this
            [
                *prefix,
                sys.executable,
                "-P",
                "-m",
                CHILD,
            ],  # nothing from the folder that it is called in
            stdin=subprocess.PIPE,
            stdout=answers,
            stderr=said,
            env=_environment(),
            start_new_session=True,
        )
        try:
            _wait(child, question.encode(), answers, limits, what)
        finally:
            _end(child)
        lines = _lines(answers)
        if child.returncode == 0 and lines:
            return _found(lines[-1], what)
        raise ModelRefusedError(why_it_ended(child.returncode, lines, said, limits, what))


def _wait(
    child: subprocess.Popen[bytes],
    question: bytes,
    answers: IO[bytes],
    limits: AdmissionLimits,
    what: str,
) -> None:
    """Until the process has ended. Raises ModelRefusedError when its time by the clock is over.

    That is the CPU time that it may take, and as long as it was ready to run and the machine had no CPU for
    it; where a system does not say how long that was, CPU time alone is watched.
    """
    began_s = time.monotonic()
    allowed_s, asked = min(limits.total_s + STARTING_S, limits.wall_s), question
    while True:
        try:
            child.communicate(asked or None, timeout=began_s + allowed_s - time.monotonic())
        except subprocess.TimeoutExpired as error:
            asked = b""
            total_s = float(last_step(_lines(answers)).get("total_s") or limits.total_s)
            longer_s = min(total_s + STARTING_S + _queued_s(child.pid), limits.wall_s)
            if longer_s <= allowed_s:
                raise ModelRefusedError(
                    f"{what} was not loaded and run within {allowed_s:.3g} s; simplify the model, or "
                    f"{RAISE}"
                ) from error
            allowed_s = longer_s
        else:
            return


def _queued_s(pid: int) -> float:
    """How long the process was ready to run and did not: of its threads, the one that waited longest."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        waits_ns = [int((thread / "schedstat").read_text().split()[1]) for thread in threads]
    except (OSError, ValueError, IndexError):
        return math.inf
    return max(waits_ns, default=0) / 1e9


def _end(child: subprocess.Popen[bytes]) -> None:
    """The process and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _lines(answers: IO[bytes]) -> list[dict[str, Any]]:
    """What the child wrote, a JSON object a line; nothing of it where it is too much or not that."""
    text = os.pread(answers.fileno(), ANSWER_BYTES_MAX + 1, 0)  # the process writes where it stands
    if len(text) > ANSWER_BYTES_MAX:
        return []
    try:
        lines = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return []
    return [line for line in lines if isinstance(line, dict)]


def _found(line: Mapping[str, Any], what: str) -> Any:
    if "refused" in line:
        raise ModelRefusedError(str(line["refused"]))
    if "found" not in line:
        raise ModelRefusedError(f"the process that looked at {what} gave no answer")
    return line["found"]
