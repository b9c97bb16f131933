"""One environment of a function: it answers events until its input ends, one at a time.

Arguments: the folders to import from, and `module.function`. Events and answers are framed by their
length, four bytes, and written by marshal; the handler's own lines go to stderr. A first answer tells that
INIT is over.
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
from importlib import import_module
from types import SimpleNamespace

folders, name = sys.argv[1:]
sys.path[:0] = folders.split(":")
answers = os.fdopen(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)
context = SimpleNamespace(
    function_name="load",
    function_version="1",
    memory_limit_in_mb="1769",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:load",
    aws_request_id="00000000-0000-4000-8000-000000000000",
    get_remaining_time_in_millis=lambda: 10_000,
)


def tell(value):
    body = marshal.dumps(value)
    answers.write(struct.pack("<I", len(body)) + body)


module, _, attribute = name.rpartition(".")
handler = getattr(import_module(module), attribute)
tell(0)
while head := sys.stdin.buffer.read(4):
    event = marshal.loads(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))  # noqa: S302  the harness's
    tell(handler(event, context)["statusCode"])
