"""A cold start: from nothing to the first answer of a Lambda handler.

Arguments: the pipe to report to, the folders to import from, `module.function`, the event (marshal).
Nothing is imported here that a handler would not import itself, so the start is the handler's own.
"""

from __future__ import annotations

import marshal
import posix
import sys
import time
from importlib import import_module
from types import SimpleNamespace

pipe, folders, name, event_path = sys.argv[1:]
sys.path[:0] = folders.split(":")
with open(event_path, "rb") as file:  # noqa: PTH123  # pathlib is not free at start
    event = marshal.load(file)  # noqa: S302  # written by the harness a moment ago
context = SimpleNamespace(
    function_name="bench",
    function_version="1",
    memory_limit_in_mb="1769",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:bench",
    aws_request_id="00000000-0000-4000-8000-000000000000",
    get_remaining_time_in_millis=lambda: 10_000,
)

module, _, attribute = name.rpartition(".")
answer = getattr(import_module(module), attribute)(event, context)
finished_ns = time.monotonic_ns()

heavy = ("boto3", "botocore", "aws_xray_sdk")
report = {
    "status": int(answer["statusCode"]),
    "body": answer["body"],
    "modules": len(sys.modules),
    "heavy": sorted(found for found in sys.modules if found in heavy),
}
posix.write(int(pipe), marshal.dumps((finished_ns, report)))
