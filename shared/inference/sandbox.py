"""Looks at a model file in a process of its own, with limits: the file may be hostile or just huge.

A file of a hundred bytes can ask for more memory than the machine has, and onnxruntime then gives no
error but takes the process with it. When a model is added that process is not the caller's.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.inference.graph_scan import ModelRefusedError
from shared.limits import LAMBDA_MEMORY_MIB_MAX, MIB

if TYPE_CHECKING:
    from shared.inference.inspect import ModelInspection

MEMORY_BYTES: Final = LAMBDA_MEMORY_MIB_MAX * MIB
"""Address space; no function could have more memory than this."""
TIMEOUT_S: Final = 300.0
ROOT: Final = Path(__file__).parents[2]


def inspect_in_sandbox(
    path: Path, *, memory_bytes: int = MEMORY_BYTES, timeout_s: float = TIMEOUT_S
) -> ModelInspection:
    """`inspect.inspect_model` in a child process. Raises ModelRefusedError for what that raises it.

    Also raises it when the child ran out of memory, of time, or was taken down by the model.
    """
    command = [sys.executable, "-m", __name__, str(path), str(memory_bytes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    try:
        child = subprocess.run(  # noqa: S603  our own module, run by the interpreter that runs this
            command, env=environment, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelRefusedError(
            f"{path.name} was not loaded and run within {timeout_s:g} s; simplify the model"
        ) from error
    if child.returncode != 0:
        raise ModelRefusedError(
            f"{path.name} took its process down (status {child.returncode}) with "
            f"{memory_bytes // MIB} MiB of memory; it would do the same to a function, so make it "
            "smaller"
        )
    found = pickle.loads(child.stdout)  # noqa: S301  written by our own module just now
    if isinstance(found, ModelRefusedError):
        raise found
    inspection: ModelInspection = found
    return inspection


def main(path: str, memory_bytes: str) -> None:
    """In the child: take the limits, look, write what was found to the standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever prints does not print into it
    limit = int(memory_bytes)
    with contextlib.suppress(OSError, ValueError):  # macOS knows the limit and does not take it
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from shared.inference.inspect import inspect_model  # noqa: PLC0415  numpy and onnxruntime come under the limits

    found: ModelInspection | ModelRefusedError
    try:
        found = inspect_model(Path(path))
    except ModelRefusedError as error:
        found = ModelRefusedError(str(error))  # without its cause, which may not be picklable
    with answers:
        pickle.dump(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
