"""Removes rows, objects with all their versions and signing secrets of one tenant, in passes.

Knows nothing of how far an earlier run came: it removes what it finds until a pass finds nothing and every run
that it stopped must have ended. So it can be stopped anywhere and started again. Of a job that may still have a
message on a queue its id is left for as long as a message can be there, without anything else: the message ends
quietly by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cli.erasing.batches import BatchRows
from cli.erasing.jobs import JobRows
from cli.erasing.objects import remove_objects
from cli.erasing.tally import Tally
from cli.erasing.tenant_rows import TenantRows
from cli.output import CommandError
from shared.results import batches_table, table

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from shared.jobs.clock import Clock
    from shared.jobs.webhook_secrets import SsmSecretStore

MARGIN_S: Final = 5.0
"""After a lease has lapsed: its holder may be writing its last object."""
PAUSE_S: Final = 5.0
PASSES_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where the stage keeps what, and how it is reached."""

    dynamodb: Any = field(repr=False)
    s3: Any = field(repr=False)
    secrets: SsmSecretStore = field(repr=False)
    jobs_table: str
    batches_table: str
    bucket: str


class Erasure:
    """One tenant's. `told` hears of each thing that was removed, by its kind."""

    def __init__(
        self,
        kept: Kept,
        *,
        tenant: str,
        clock: Clock,
        sleep: Callable[[float], None],
        told: Callable[[str, int], None] = lambda _kind, _count: None,
    ) -> None:
        self._kept = kept
        self._tenant = tenant
        self._clock = clock
        self._sleep = sleep
        self._tally = Tally(told)
        self._jobs = JobRows(
            TenantRows(kept.dynamodb, kept.jobs_table, tenant, table.INDEX_KEYS),
            clock=clock,
            tally=self._tally,
        )
        self._batches = BatchRows(
            TenantRows(kept.dynamodb, kept.batches_table, tenant, batches_table.INDEX_KEYS),
            clock=clock,
            tally=self._tally,
        )

    @property
    def removed(self) -> Counter[str]:
        """How many of each kind, so far."""
        return self._tally.removed

    def run(self) -> Counter[str]:
        """Remove everything; gives how many of each kind.

        Raises `CommandError` where more goes on coming: somebody submits under this tenant.
        """
        for _ in range(PASSES_MAX):
            before = self.removed.total()
            self._jobs.remove()
            self._batches.remove()
            remove_objects(
                self._kept.s3, bucket=self._kept.bucket, tenant=self._tenant, tally=self._tally
            )
            if self.removed.total() == before:
                left_s = self._tally.busy_until + MARGIN_S - self._clock()
                if not self._tally.busy_until or left_s <= 0:
                    self._tally.count("secrets", int(self._kept.secrets.remove(self._tenant)))
                    return self.removed
                self._sleep(min(PAUSE_S, left_s))
        raise CommandError(
            f"tenant {self._tenant} goes on submitting: revoke its keys (laneway keys revoke), then "
            "erase again"
        )
