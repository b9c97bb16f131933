"""Asks ECS not to stop this task to scale in while it has jobs in hand.

The agent on the task's own machine is asked, at the address that ECS gives to each container. Where
there is none, nothing is protected. The protection expires by itself some minutes after the last
time it was asked for, so that a worker that hangs cannot keep its instance. A worker that always has
something in hand goes without it now and then, so that a rollout gets to stop it: a drain charges nothing.
"""

from __future__ import annotations

import json
import logging
import math
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
ROW_S: Final = 15 * 60.0
"""Protected for so long in a row at most."""
PAUSE_S: Final = 120.0
"""What ends a row: shorter gaps may pass before ECS has looked."""
LOOK_S: Final = 2.0
TIMEOUT_S: Final = 5.0
_OK: Final = 200

_log = logging.getLogger(__name__)


class Protection:
    """`address`: what ECS says in `ECS_AGENT_URI`; `is_busy`: whether anything is in hand."""

    def __init__(
        self,
        address: str,
        is_busy: Callable[[], bool],
        *,
        look_s: float = LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(address)
        self._host = parts.netloc
        self._path = parts.path.rstrip("/") + PATH
        self._is_busy = is_busy
        self._look_s = look_s
        self._clock = clock
        self._protected = False
        self._asked_s = -math.inf
        self._began_s = -math.inf
        self._released_s = -math.inf

    def run(self, stop: Event) -> None:
        """Until `stop`; the task is not protected then."""
        while not stop.wait(self._look_s):
            self._follow(busy=self._is_busy())
        self._follow(busy=False)

    def _follow(self, *, busy: bool) -> None:
        now_s = self._clock()
        begins = not self._protected and now_s - self._released_s >= PAUSE_S
        protect = busy and (begins or now_s - self._began_s < ROW_S)
        is_old = protect and now_s - self._asked_s > RENEW_S
        if protect == self._protected and not is_old:
            return
        if not self._ask(protect=protect):
            return
        self._protected, self._asked_s = protect, now_s
        if not protect:
            self._released_s = now_s
        elif begins:
            self._began_s = now_s

    def _ask(self, *, protect: bool) -> bool:
        """Whether ECS did it; it is asked again at the next look where it did not."""
        asked: dict[str, object] = {"ProtectionEnabled": protect}
        if protect:
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
