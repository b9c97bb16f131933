"""One attempt to tell a caller's URL that a job has ended, and what becomes of it.

At least once, with the same id each time. Nothing that happens here touches the job: its row is
only read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from shared.egress import check_webhook_url
from shared.egress.https import Answer, Blocked
from shared.errors import InvalidRequestError
from shared.jobs.delivery import DONE, Bury, PoisonError, Retry
from shared.jobs.signing import signed_headers
from shared.jobs.webhook_event import event_body, event_id, read_event
from shared.jobs.webhook_schedule import (
    ATTEMPTS,
    attempt_at,
    early_by_s,
    retry_after_s,
    wait_after_s,
)
from shared.jobs.webhook_secrets import values
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.egress.https import Outcome as Reply
    from shared.egress.https import Poster
    from shared.jobs.clock import Clock
    from shared.jobs.delivery import Outcome
    from shared.jobs.webhook_secrets import SecretReader
    from shared.queues.protocol import Delivery
    from shared.results.rows import JobRow
    from shared.results.store import JobStore

OK: Final = range(200, 300)
REDIRECTS: Final = range(300, 400)
GONE: Final = 410

DELIVERED: Final = "WEBHOOK_DELIVERED"
FAILED: Final = "WEBHOOK_FAILED"
EXHAUSTED: Final = "WEBHOOK_EXHAUSTED"
BLOCKED: Final = "WEBHOOK_BLOCKED"
DISABLED: Final = "WEBHOOK_DISABLED"
UNSIGNED: Final = "WEBHOOK_UNSIGNED"
EARLY: Final = "WEBHOOK_EARLY"
UNREADABLE: Final = "WEBHOOK_UNREADABLE"
STALE: Final = "WEBHOOK_STALE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What happened to one message: what to do with it, and what to tell of it."""

    outcome: Outcome
    code: str
    tenant: str = ""
    job: str = ""
    attempt: int = 0
    """1 to 10; 0 where nothing was tried."""
    status: int | None = None
    """Of the receiver's answer, where there was one."""
    reason: str | None = None
    """Why there was none, or why the message is buried; without anything of the URL."""
    ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSender:
    """Tells of ended jobs. `random` gives numbers from 0 to 1; `base_url` begins the job's links."""

    store: JobStore
    secrets: SecretReader
    poster: Poster
    clock: Clock
    random: Callable[[], float]
    base_url: str = ""

    def deliver(self, delivery: Delivery, *, first_received_at: float) -> Attempt:
        """Make the attempt that the message is due for.

        Raises `StoreUnavailableError` when the row or the secret cannot be read: not an attempt.
        """
        try:
            key = read_event(delivery.body)
        except PoisonError as error:
            return Attempt(outcome=Bury(str(error)), code=UNREADABLE, reason=str(error))
        known = Attempt(outcome=DONE, code=STALE, tenant=key.tenant, job=key.id)
        age_s = self.clock() - first_received_at
        early_s = early_by_s(age_s)
        if early_s > 0:
            return replace(known, outcome=Retry(early_s), code=EARLY)
        row = self.store.get(key)
        if row is None:
            return replace(known, reason="the job was removed")
        if row.status not in TERMINAL or row.webhook is None:
            return _buried(known, UNREADABLE, "the job has not ended, or has no webhook")
        return self._attempt(row, row.webhook, replace(known, attempt=attempt_at(age_s)))

    def _attempt(self, row: JobRow, url: str, known: Attempt) -> Attempt:
        active = self.secrets.get(row.key.tenant)
        if not active:
            reason = "the tenant has no signing secret: laneway webhooks secret create"
            return self._again(replace(known, code=UNSIGNED, reason=reason))
        body = event_body(row, base_url=self.base_url)
        headers = signed_headers(
            body,
            event_id=event_id(row),
            timestamp_s=int(self.clock()),
            signing_secrets=values(active),
        )
        started_ns = time.perf_counter_ns()
        reply = self.poster.post(
            url, body=body, headers={"Content-Type": "application/json", **headers}
        )
        ms = (time.perf_counter_ns() - started_ns) / 1e6
        return self._judge(reply, url, replace(known, ms=ms))

    def _judge(self, reply: Reply, url: str, known: Attempt) -> Attempt:
        if isinstance(reply, Blocked):
            return _buried(known, BLOCKED, reply.reason)
        if not isinstance(reply, Answer):
            return self._again(replace(known, code=FAILED, reason=reply.reason))
        known = replace(known, status=reply.status)
        if reply.status in OK:
            return replace(known, outcome=DONE, code=DELIVERED)
        if reply.status == GONE:
            return replace(known, outcome=DONE, code=DISABLED)
        if reply.status in REDIRECTS and _leads_astray(url, reply.location):
            return _buried(known, BLOCKED, "a redirect to an address that is not allowed")
        asked_s = retry_after_s(reply.retry_after, now=self.clock())
        return self._again(replace(known, code=FAILED), asked_s=asked_s)

    def _again(self, known: Attempt, *, asked_s: float = 0.0) -> Attempt:
        """Try again later, or give up after the last attempt."""
        wait_s = wait_after_s(known.attempt, random=self.random, retry_after_s=asked_s)
        if wait_s is not None:
            return replace(known, outcome=Retry(wait_s))
        last = known.reason or f"status {known.status}"
        return _buried(known, EXHAUSTED, f"no success in {ATTEMPTS} attempts, the last: {last}")


def _buried(known: Attempt, code: str, reason: str) -> Attempt:
    return replace(known, outcome=Bury(f"{code}: {reason}"), code=code, reason=reason)


def _leads_astray(url: str, location: str | None) -> bool:
    """Whether a redirect, which nobody follows, shows a receiver that probes our network."""
    if not location:
        return False
    try:
        check_webhook_url(urljoin(url, location))
    except (InvalidRequestError, ValueError):
        return True
    return False
