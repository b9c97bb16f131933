"""Asks the worker on this machine whether it lives: the health check of its container.

    python -m gpu_workers.probe        exit code 0: it does

Only the standard library, because it is started every few seconds beside the work.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/health/live"
TIMEOUT_S: Final = 3.0
_OK: Final = 200


def is_alive(env: Mapping[str, str]) -> bool:
    """Whether the worker at `HEALTH_PORT` of the loopback says that it lives."""
    connection = HTTPConnection("127.0.0.1", int(env["HEALTH_PORT"]), timeout=TIMEOUT_S)
    try:
        connection.request("GET", PATH)
        return connection.getresponse().status == _OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive(os.environ) else 1)
