"""Tells the Auto Scaling group that a terminating instance need not be waited for any longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from shared.aws import translated
from shared.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Lifecycle(Protocol):
    """The group's wait for one instance that it terminates."""

    def complete(self, instance_id: str) -> None:
        """End the wait. Raises `UnavailableError`; the wait then ends by its own time."""


class MemoryLifecycle:
    """Keeps whose wait was ended, for tests and for workers outside of a group."""

    def __init__(self) -> None:
        self._completed: list[str] = []

    @property
    def completed(self) -> Sequence[str]:
        """Instance ids, in the order of the calls."""
        return tuple(self._completed)

    def complete(self, instance_id: str) -> None:
        """As the protocol says."""
        self._completed.append(instance_id)


class AutoScalingLifecycle:
    """One termination hook of one group; `client` is boto3's for `autoscaling`."""

    def __init__(self, client: Any, *, group: str, hook: str) -> None:
        self._client = client
        self._group = group
        self._hook = hook

    def complete(self, instance_id: str) -> None:
        """As the protocol says, with the result CONTINUE: the termination goes on."""
        with translated(UnavailableError, "The Auto Scaling group"):
            self._client.complete_lifecycle_action(
                AutoScalingGroupName=self._group,
                LifecycleHookName=self._hook,
                LifecycleActionResult="CONTINUE",
                InstanceId=instance_id,
            )
