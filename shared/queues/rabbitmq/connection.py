"""One I/O thread and the pika connection that it owns, opened anew whenever it is lost.

pika's connections belong to one thread: everything that touches one runs on the I/O thread, where
`call` puts it. The loop, its timers among it, lives as long as the thread; connections come and go.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from random import uniform
from typing import TYPE_CHECKING, Any, Final, Protocol

import pika
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AuthenticationError, ProbableAuthenticationError

from shared.background import stay_in_background
from shared.queues.rabbitmq.settings import connection_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.queues.rabbitmq.settings import AmqpSettings

RECONNECT_S: Final = 0.5
"""Upper bound of the first wait; it doubles with every failure."""
RECONNECT_S_MAX: Final = 5.0
CLOSE_S_MAX: Final = 10.0
"""How long a broker may take to agree to a connection's end."""
_REFUSED: Final = (AuthenticationError, ProbableAuthenticationError)
_LOGGER: Final = logging.getLogger(__name__)


class Member(Protocol):
    """What lives on a connection. Its methods are called on the I/O thread."""

    def opened(self, connection: Any) -> None:
        """The connection is open: make your channel."""

    def lost(self, reason: str) -> None:
        """The connection is gone, your channel with it."""

    def blocked(self, reason: str | None) -> None:
        """The broker takes no messages for this reason; None: it takes them again."""


class Connection:
    """A connection that is started once and stays: lost, it is opened again after a jittered wait."""

    def __init__(
        self, settings: AmqpSettings, *, renew: Callable[[], AmqpSettings] | None = None
    ) -> None:
        """`renew`: the settings as they are now, asked for where the broker refuses the credentials.

        Raises `OSError` or `ValueError` for a certificate that cannot be read.
        """
        self._renew = renew
        self._address = settings.address
        self._parameters = connection_parameters(settings)
        self._loop: Any = None
        self._pika: Any = None
        self._members: list[Member] = []
        self._failures = 0
        self._retry: Any = None
        self._closing = False
        self._ended = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self.trouble: str | None = None
        """Why there is no connection; None while there is one, and before the first try ended."""

    def start(self) -> None:
        """Start the I/O thread, unless it runs; returns at once."""
        with self._starting:
            if self._thread is None and not self._ended:
                self._loop = IOLoop()
                self.call(self._connect)
                self._thread = threading.Thread(target=self._run, name="laneway-amqp", daemon=True)
                self._thread.start()

    def add(self, member: Member) -> None:
        """Let a member live on the connection, from now on."""
        with self._starting:
            if self._thread is None:
                self._members.append(member)
                return
        self.call(partial(self._add, member))

    def remove(self, member: Member) -> None:
        """Forget a member; only on the I/O thread."""
        self._members.remove(member)

    def call(self, action: Callable[[], None]) -> None:
        """Run `action` on the I/O thread, soon; from any thread, once started. Not after the end."""
        if not self._ended:
            self._loop.add_callback_threadsafe(partial(_guarded, action))

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` after `delay_s`; only on the I/O thread."""
        self._loop.call_later(delay_s, partial(_guarded, action))

    def close(self, timeout_s: float) -> None:
        """Send what is to be sent, close, and end the thread; past the timeout it ends by itself."""
        with self._starting:
            thread = self._thread
            if thread is None:
                self._ended = True
        if thread is not None:
            self.call(self._shut)
            thread.join(timeout_s)

    def _run(self) -> None:
        stay_in_background()
        while not self._ended:
            try:
                self._loop.start()
            except Exception:
                _LOGGER.exception("the I/O thread of RabbitMQ failed; connecting anew")
                self.call(self._abandon)
        self._loop.close()

    def _abandon(self) -> None:
        if self._pika is not None and self._pika.is_open:
            self._pika.close()

    def _connect(self) -> None:
        self._retry = None
        if self._closing:
            return
        try:
            self._pika = pika.SelectConnection(
                self._parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_lost,
                on_close_callback=self._on_lost,
                custom_ioloop=self._loop,
            )
        except Exception as error:  # noqa: BLE001  whatever it is, the next try may succeed
            self._on_lost(None, error)

    def _on_open(self, opened: Any) -> None:
        _LOGGER.info("connected to RabbitMQ at %s", self._address)
        self._failures = 0
        self.trouble = None
        opened.add_on_connection_blocked_callback(self._on_blocked)
        opened.add_on_connection_unblocked_callback(self._on_unblocked)
        for member in self._members:
            _guarded(partial(member.opened, opened))

    def _on_blocked(self, _: Any, frame: Any) -> None:
        reason = f"RabbitMQ takes no messages: {frame.method.reason}"
        _LOGGER.warning(reason)
        for member in self._members:
            _guarded(partial(member.blocked, reason))

    def _on_unblocked(self, *_: Any) -> None:
        for member in self._members:
            _guarded(partial(member.blocked, None))

    def _on_lost(self, _: Any, error: BaseException) -> None:
        self._pika = None
        self.trouble = f"RabbitMQ at {self._address} cannot be reached: {_named(error)}"
        for member in self._members:
            _guarded(partial(member.lost, self.trouble))
        if self._closing:
            self._end()
            return
        if self._renew is not None and isinstance(_innermost(error), _REFUSED):
            _guarded(self._read_again)
        delay_s = uniform(0.02, min(RECONNECT_S * 2**self._failures, RECONNECT_S_MAX))  # noqa: S311  spreads load, guards nothing
        self._failures = min(self._failures + 1, 10)
        _LOGGER.warning("%s; trying again in %.1f s", self.trouble, delay_s)
        self._retry = self._loop.call_later(delay_s, self._connect)

    def _read_again(self) -> None:
        """Credentials that were changed since this process began; the old ones where they cannot be had."""
        if self._renew is not None:
            settings = self._renew()
            self._parameters = connection_parameters(settings)
            self._address = settings.address

    def _add(self, member: Member) -> None:
        self._members.append(member)
        if self._pika is not None and self._pika.is_open:
            member.opened(self._pika)

    def _shut(self) -> None:
        self._closing = True
        self._loop.call_later(CLOSE_S_MAX, self._end)
        if self._retry is not None:
            self._loop.remove_timeout(self._retry)
        if self._pika is None:
            self._end()
        elif not self._pika.is_closing and not self._pika.is_closed:
            self._pika.close()

    def _end(self) -> None:
        self._ended = True
        self._loop.stop()


def _guarded(action: Callable[[], None]) -> None:
    """An exception of ours would end the I/O thread, and with it the lane."""
    try:
        action()
    except Exception:
        _LOGGER.exception("a call on the I/O thread of RabbitMQ failed")


def _named(error: BaseException) -> str:
    """The kind of failure, and the broker's own words, which hold no credentials."""
    error = _innermost(error)
    text = getattr(error, "reply_text", None)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _innermost(error: BaseException) -> BaseException:
    while inner := _inner(error):
        error = inner
    return error


def _inner(error: BaseException) -> BaseException | None:
    """What a failure of pika's wraps: the last try, the phase's error, or its argument."""
    wrapped = (
        *getattr(error, "exceptions", ())[-1:],
        getattr(error, "exception", None),
        *error.args,
    )
    return next((item for item in wrapped if isinstance(item, BaseException)), None)
