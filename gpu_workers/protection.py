"""Asks ECS not to stop this task to scale in while it has jobs in hand.

The agent on the task's own machine is asked, at the address that ECS gives to each container. Where
there is none, nothing is protected. The protection expires by itself some minutes after the last
time it was asked for, so that a worker that hangs cannot keep its instance.
"""

from __future__ import annotations

import json
import logging
import time
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

PATH: Final = "/task-protection/v1/state"
EXPIRES_MIN: Final = 5
RENEW_S: Final = 120.0
LOOK_S: Final = 2.0
TIMEOUT_S: Final = 5.0
_OK: Final = 200

_log = logging.getLogger(__name__)


class Protection:
    """`address`: what ECS says in `ECS_AGENT_URI`; `is_busy`: whether anything is in hand."""

    def __init__(
        self, address: str, is_busy: Callable[[], bool], *, look_s: float = LOOK_S
    ) -> None:
        parts = urlsplit(address)
        self._host = parts.netloc
        self._path = parts.path.rstrip("/") + PATH
        self._is_busy = is_busy
        self._look_s = look_s
        self._protected = False
        self._asked_s = 0.0

    def run(self, stop: Event) -> None:
        """Until `stop`; the task is not protected then."""
        while not stop.wait(self._look_s):
            self._follow(busy=self._is_busy())
        self._follow(busy=False)

    def _follow(self, *, busy: bool) -> None:
        is_old = busy and time.monotonic() - self._asked_s > RENEW_S
        if busy == self._protected and not is_old:
            return
        if self._ask(busy=busy):
            self._protected, self._asked_s = busy, time.monotonic()

    def _ask(self, *, busy: bool) -> bool:
        """Whether ECS did it; it is asked again at the next look where it did not."""
        asked: dict[str, object] = {"ProtectionEnabled": busy}
        if busy:
            asked["ExpiresInMinutes"] = EXPIRES_MIN
        connection = HTTPConnection(self._host, timeout=TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("PUT", self._path, json.dumps(asked), headers)
            answer = connection.getresponse()
            text = answer.read()
            done = answer.status == _OK and "protection" in json.loads(text)
        except (OSError, HTTPException, ValueError) as error:
            _log.warning("ECS did not change the task's protection: %s", type(error).__name__)
            return False
        finally:
            connection.close()
        if not done:
            _log.warning("ECS did not change the task's protection: status %d", answer.status)
        return done
