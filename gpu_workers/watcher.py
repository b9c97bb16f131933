"""Runs the watch for interruptions beside the worker, and ends the group's wait when it has drained."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from gpu_workers.interruption import POLL_S, UNREACHABLE_S, Interruption, watch
from gpu_workers.lifecycle import AutoScalingLifecycle
from gpu_workers.metadata import InstanceMetadata, MetadataError
from shared.aws import make_client
from shared.errors import LanewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpu_workers.lifecycle import Lifecycle
    from gpu_workers.metadata import Metadata
    from shared.settings.jobs import WorkerSettings

EC2: Final = "ec2"
INSTANCE_ID_PATH: Final = "/latest/meta-data/instance-id"
JOIN_S: Final = 5.0

_log = logging.getLogger(__name__)


class Report(Protocol):
    """Writes one metric of the worker, and what it is about, as a log line."""

    def __call__(self, name: str, value: float, **members: str) -> None:
        """`name` counts `value`; the members are fields of the line."""


class Watcher:
    """A thread that asks the metadata, from `start` until `finish`."""

    def __init__(
        self,
        metadata: Metadata,
        *,
        drain: Callable[[float], None],
        report: Report,
        lifecycle: Lifecycle | None = None,
        poll_s: float = POLL_S,
        unreachable_s: float = UNREACHABLE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metadata = metadata
        self._drain = drain
        self._report = report
        self._lifecycle = lifecycle
        self._poll_s = poll_s
        self._unreachable_s = unreachable_s
        self._clock = clock
        self._stop = threading.Event()
        self._terminating = False
        self._thread = threading.Thread(target=self._run, name="interruption", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def finish(self) -> None:
        """After the worker has drained: end the group's wait, where that was the reason.

        Never raises: an instance whose wait was not ended goes when the hook's time is up.
        """
        self._stop.set()
        self._thread.join(JOIN_S)
        if not self._terminating or self._lifecycle is None:
            return
        try:
            self._lifecycle.complete(self._metadata.get(INSTANCE_ID_PATH) or "")
        except (LanewayError, MetadataError) as error:
            _log.warning("the lifecycle action was not completed: %s", error)

    def _run(self) -> None:
        watch(
            self._metadata,
            self._interrupted,
            self._stop,
            on_unreachable=self._unreachable,
            poll_s=self._poll_s,
            unreachable_s=self._unreachable_s,
            clock=self._clock,
        )

    def _interrupted(self, interruption: Interruption) -> None:
        if interruption.kind == "lifecycle":
            self._terminating = True
        left_s = max(0.0, interruption.deadline - self._clock())
        self._report("interruptions", 1, kind=interruption.kind, left_s=f"{left_s:.1f}")
        try:
            self._drain(left_s)
        except Exception:  # noqa: BLE001 - the thread must live: the notice after this one may be the last
            _log.exception("the drain failed")

    def _unreachable(self, for_s: float) -> None:
        self._report("metadata_unreachable", 1, for_s=f"{for_s:.0f}")


def make_watcher(
    settings: WorkerSettings, *, drain: Callable[[float], None], report: Report
) -> Watcher | None:
    """The watcher of a worker on an instance; None elsewhere, where SIGTERM is all that comes."""
    if settings.platform != EC2:
        return None
    lifecycle = None
    if settings.autoscaling_group and settings.lifecycle_hook:
        lifecycle = AutoScalingLifecycle(
            make_client("autoscaling"),
            group=settings.autoscaling_group,
            hook=settings.lifecycle_hook,
        )
    return Watcher(
        InstanceMetadata(settings.metadata_url),
        drain=drain,
        report=report,
        lifecycle=lifecycle,
        poll_s=settings.metadata_poll_s,
    )
