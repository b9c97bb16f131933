"""What onnxruntime says when it fails, and what that means: for the caller, for the log, for the process."""

from __future__ import annotations

import re
from typing import Final

from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

VALUE_FAULTS: Final = (
    ("Out of range value in index", "an index is out of range"),
    ("Attempting to broadcast", "sizes of two tensors do not fit together"),
    ("imension mismatch", "sizes of two tensors do not fit together"),
    ("dimensions must match", "sizes of two tensors do not fit together"),
    ("cannot be reshaped", "the number of elements does not fit the shape that they should get"),
)
"""What onnxruntime 1.31 says of values, without the class that says so, and how callers are told."""
OUT_OF_MEMORY: Final = re.compile(
    r"(?:^|: |\s)std::bad_alloc$"
    r"|Failed to allocate memory for requested buffer of size \d+$"
    r"|Available memory of \d+ is smaller than requested bytes of \d+$"
    r"|bytes, which exceeds the supported maximum of \d+ bytes\.$"
    r"|\bInteger overflow$"
)
"""How onnxruntime 1.31 ends where it has no memory for a tensor, or cannot count its bytes."""
SOURCE_LINE: Final = re.compile(r"\.(?:cc|h):\d+ ")
VALUE: Final = re.compile(r"(?<!\.cc:)(?<!\.h:)(?<!\d)-?\d[\d.]*|'[^']*'|\"[^\"]*\"")
"""What may be a caller's in onnxruntime's words: numbers but those of its source lines, and what it quotes."""
NODE: Final = re.compile(r"while running (\w+) node")
CODES: Final = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from \S+ failed:)?")
ABSOLUTE_PATH: Final = re.compile(r"(?<![\w.])/\S*/")
REASON_CHARACTERS_MAX: Final = 300


def out_of_memory(error: Exception) -> bool:
    """Whether onnxruntime, or Python around it, had no memory for something."""
    return isinstance(error, MemoryError) or bool(OUT_OF_MEMORY.search(str(error).rstrip()))


def value_fault(error: Exception) -> str | None:
    """What is wrong with the values that a graph was fed, in words for their sender; None where it is not they.

    An invalid argument is told in onnxruntime's own words. A few faults of values come as plain
    failures, with its source lines in them: these get words of ours.
    """
    text = reason(error)
    if isinstance(error, InvalidArgument) and not SOURCE_LINE.search(text):
        return text
    known = (ours for theirs, ours in VALUE_FAULTS if theirs in text)
    return next(known, None)


def without_values(error: Exception) -> str:
    """What onnxruntime says, for the log: numbers and texts are left out, since an input's may be among them."""
    return VALUE.sub("...", reason(error))


def at_node(error: Exception) -> str:
    """Where a run failed, as ` at a Gather node`; empty where it is not said."""
    node = NODE.search(str(error))
    return f" at a {node[1]} node" if node else ""


def reason(error: Exception) -> str:
    """What onnxruntime says, in its own words, without its codes and the machine's paths."""
    text = str(error).rsplit("Status Message: ", 1)[-1].strip()
    line = CODES.sub("", text.partition("\n")[0])
    return ABSOLUTE_PATH.sub("", line)[:REASON_CHARACTERS_MAX] or "no reason given"
