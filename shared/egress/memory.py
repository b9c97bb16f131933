"""A poster that calls nobody: for tests, and for users' own tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.egress.https import Answer, Blocked, Outcome
from shared.egress.urls import PUBLIC_ONLY, EgressRules, parse_target
from shared.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A call as it would have been made."""

    url: str
    body: bytes
    headers: Mapping[str, str]


class MemoryPoster:
    """Implements `Poster`: keeps each call, gives `answers` one by one, and 200 after the last."""

    def __init__(
        self, answers: Iterable[Outcome] = (), *, rules: EgressRules = PUBLIC_ONLY
    ) -> None:
        self._answers = list(answers)
        self._rules = rules
        self.posted: list[Posted] = []

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Keep the call, where the URL is one that may be called."""
        try:
            parse_target(url, self._rules)
        except InvalidRequestError as error:
            return Blocked(error.message)
        self.posted.append(Posted(url=url, body=body, headers=dict(headers)))
        return self._answers.pop(0) if self._answers else Answer(status=200)
