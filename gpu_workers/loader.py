"""Loads models beside everything else, with the jobs that wait for them.

Models stay within the budget of the device's memory though jobs hold them: where one that is wanted does not fit
beside those in use, new jobs of the ones that were used least lately wait here as well, until these models are
free to go.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from shared.errors import LanewayError

if TYPE_CHECKING:
    from gpu_workers.core import Core
    from gpu_workers.hand import Held
    from gpu_workers.intake import Intake

    Model = tuple[str, str]
    Loaded = list[tuple[Held, bytes]]

WAIT_S: Final = 1.0
IN_THE_WAY_S: Final = 0.02
"""How often it is looked whether models have become free to go."""


class Loader:
    """Jobs by the model that they wait for: name and version."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[Model, Loaded] = {}
        """In the order in which they were first asked for."""
        self._loading: Loaded = []
        self._leaving: frozenset[Model] = frozenset()
        """Models that have to go for the one that is next."""
        self._changed = threading.Condition()

    def takes(self, model: Model) -> bool:
        """Whether jobs of the model wait here: it is not loaded, or has to go for another.

        For one that is not in the catalog nobody waits: who prepares its jobs sends them away.
        """
        try:
            self._core.worker.catalog.find(*model)
        except LanewayError:
            return False
        return model in self._leaving or not self._core.worker.sessions.has(*model)

    def put(self, model: Model, loaded: Loaded) -> None:
        """These jobs, all of one model, wait for it."""
        with self._changed:
            for item, _ in loaded:
                item.placed = True
            self._waiting.setdefault(model, []).extend(loaded)
            self._changed.notify_all()

    def models(self) -> list[Model]:
        """Those that are waited for."""
        with self._changed:
            return list(self._waiting)

    def run(self, intake: Intake) -> None:
        """Until the worker drains; the default versions first, as far as they fit."""
        core = self._core
        self._warm_up()
        core.warm.set()
        while not core.draining.is_set():
            model = self._next()
            if model is not None and self._has_room(model):
                with self._changed:
                    self._loading = self._waiting.pop(model, [])
                if self._loading:
                    intake.prepare(self._loading)
                with self._changed:
                    self._loading, self._leaving = [], frozenset()

    def hand_back(self) -> None:
        """What waits for a model, when the worker drains: nobody waits for a load any more."""
        with self._changed:
            waiting = [*self._waiting.values(), self._loading]
            self._waiting.clear()
            self._changed.notify_all()
        self._core.settling.hand_back(
            [item for loaded in waiting for item, _ in loaded if item.model is None]
        )

    def _next(self) -> Model | None:
        with self._changed:
            if not self._waiting:
                self._changed.wait(WAIT_S)
            return next(iter(self._waiting), None)

    def _has_room(self, model: Model) -> bool:
        """Wait until it can be loaded within the budget; False: the worker drains."""
        core = self._core
        while not core.draining.is_set():
            in_the_way = core.worker.sessions.in_the_way(*model)
            if not in_the_way:
                return True
            self._leaving = frozenset(in_the_way)
            core.hand.wait(IN_THE_WAY_S)
        return False

    def _warm_up(self) -> None:
        """Load what fits before anybody asks; what cannot be loaded says so to whoever asks."""
        core = self._core
        sessions = core.worker.sessions
        for model in core.worker.catalog.models.values():
            version = model.version(None)
            if core.draining.is_set() or not sessions.fits(model.name, version.version):
                continue
            try:
                with sessions.use(model.name, version.version):
                    pass
            except LanewayError as error:
                core.worker.reporter.defect(error, None)
