"""What is small on the way and large in memory is refused before it is large."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from shared.limits import DECODED_BODY_BYTES_MAX, MIB

GROWTH_MAX = DECODED_BODY_BYTES_MAX + 16 * MIB
"""A body is unpacked up to its cap; nothing else may cost as much. Without the caps each takes 400 MiB and more."""
REFUSED = {
    "gzip_body": "TooLargeError",
    "lists": "TooLargeError",
    "lists_in_a_submission": "TooLargeError",
    "numbers_with_a_nan": "TooLargeError",
    "small_texts": "SignatureError",
    "message": "PoisonError",
    "line_of_lists": "RefusedLineError",
    "endless_line": "ValueError",
    "object_on_s3": "TooLargeError",
    "large_output": "TooLargeError",
}


@pytest.fixture(scope="module")
def met():
    """What each bomb took in a process of its own, by `tests/fixtures/body_bombs.py`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.body_bombs"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("bomb", REFUSED)
def test_a_bomb_is_refused_and_memory_hardly_grows(met, bomb):
    assert met.keys() == REFUSED.keys()
    assert met[bomb]["refused"] == REFUSED[bomb]
    assert met[bomb]["growth_bytes"] < GROWTH_MAX
