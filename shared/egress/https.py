"""One guarded POST to an address that a caller chose. The only HTTP client for such addresses.

The name is resolved once; every address of it must be public, and the connection goes to one of
those very addresses, with TLS and `Host` for the name: what the name says later does not matter
(DNS rebinding). One deadline holds for all of it, a slow drip too. No redirect is followed, no
proxy or credential is read from the environment, no connection is kept, and of the answer only the
status and two headers leave this module. Nothing here is logged.
"""

from __future__ import annotations

import logging
import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, Protocol

from urllib3 import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.exceptions import SSLError as TlsError
from urllib3.exceptions import TimeoutError as AnyTimeoutError

from shared.egress.addresses import parse_address
from shared.egress.names import Resolver, resolve_by, system_resolve
from shared.egress.urls import HTTPS_PORT, PUBLIC_ONLY, EgressRules, Target, parse_target
from shared.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S: Final = 5.0
"""For everything: the name, the connection, TLS, the request and the answer."""
ANSWER_BYTES_MAX: Final = 64 * 1024
"""Read of an answer's body; then the connection is cut."""
ADDRESSES_MAX: Final = 3
"""Tried one after the other, while nothing of the request has left."""
_HEADER_LENGTH_MAX: Final = 2048
_USER_AGENT: Final = "Laneway-Webhooks/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The host answered; the body is not kept."""

    status: int
    retry_after: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """We would not call there; a later try may not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer: `dns`, `connect`, `tls`, `timeout` or `protocol`; a later try may help."""

    reason: str


Outcome = Answer | Blocked | Unreachable


class Poster(Protocol):
    """Who makes the call."""

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """POST `body` to `url`; never raises for what the other side does."""


class GuardedPoster:
    """Implements `Poster` over the network; safe to use from several threads.

    `resolve` gives the addresses of a host and port, and raises `OSError` where there are none.
    `ca_file` names certificates to trust instead of the system's.
    """

    def __init__(
        self,
        *,
        rules: EgressRules = PUBLIC_ONLY,
        ca_file: str | None = None,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolver = system_resolve,
    ) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._tls = _tls_context(ca_file)
        # urllib3 logs the URL of an answer with odd headers, and a webhook's URL may hold a secret
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """POST `body` to `url`."""
        deadline = time.monotonic() + self._timeout_s
        try:
            target = parse_target(url, self._rules)
        except InvalidRequestError as error:
            return Blocked(error.message)
        found = self._addresses(target, deadline)
        if isinstance(found, Blocked | Unreachable):
            return found
        token = _deadline.set(deadline)
        try:
            return self._post_to(found, target, body=body, headers=headers)
        finally:
            _deadline.reset(token)

    def _addresses(self, target: Target, deadline: float) -> list[str] | Blocked | Unreachable:
        """Addresses to connect to, IPv4 first; blocked where a single one is not allowed."""
        if target.address is not None:
            return [str(target.address)]
        try:
            texts = resolve_by(deadline, self._resolve, target.host, target.port)
        except TimeoutError:
            return Unreachable("timeout")
        except (OSError, UnicodeError):
            return Unreachable("dns")
        addresses = [parse_address(text) for text in texts]
        for address in addresses:
            if address is None or not self._rules.allows_address(
                address, host=target.host, port=target.port
            ):
                return Blocked("the host's name has an address that is not on the public internet")
        known = sorted(dict.fromkeys(filter(None, addresses)), key=lambda item: item.version)
        return [str(item) for item in known[:ADDRESSES_MAX]] or Unreachable("dns")

    def _post_to(
        self, addresses: list[str], target: Target, *, body: bytes, headers: Mapping[str, str]
    ) -> Outcome:
        outcome: Outcome = Unreachable("connect")
        for address in addresses:
            try:
                return self._exchange(address, target, body=body, headers=headers)
            except ConnectTimeoutError as error:
                outcome = Unreachable(_reason(error))
            except (HTTPError, HTTPException, OSError) as error:
                return Unreachable(_reason(error))
        return outcome

    def _exchange(
        self, address: str, target: Target, *, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """One request and its answer; `address` is a number, so nothing is looked up again."""
        pool = HTTPSConnectionPool(
            address,
            target.port,
            timeout=_remaining_s(),
            retries=False,
            ssl_context=self._tls,
            server_hostname=target.host,
        )
        with pool:
            response = pool.urlopen(
                "POST",
                target.path,
                body=body,
                headers={"Host": _host_header(target), "User-Agent": _USER_AGENT, **headers},
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
            answer = Answer(
                status=response.status,
                retry_after=_short(response.headers.get("Retry-After")),
                location=_short(response.headers.get("Location")),
            )
            _cut(response)
        return answer


class _DeadlineSocket(ssl.SSLSocket):
    """Gives each wait only what is left of the call: a timeout per read never ends a slow drip."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  the base class has it so
        self.settimeout(_remaining_s())
        super().do_handshake(block)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(_remaining_s())
        return super().recv_into(buffer, nbytes, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        self.settimeout(_remaining_s())
        return super().send(data, flags)


_deadline: ContextVar[float] = ContextVar("deadline")


def _remaining_s() -> float:
    """Seconds left of the call that this thread makes; raises `TimeoutError` at its end."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError("the call took too long")
    return left


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Checks certificate and name, TLS 1.2 and later."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _DeadlineSocket
    return context


def _host_header(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == HTTPS_PORT else f"{host}:{target.port}"


def _cut(response: Any) -> None:
    """Read a little of the body, so that an ordinary server sees an ordinary end, and hang up."""
    try:
        response.read(ANSWER_BYTES_MAX, decode_content=False)
    except (HTTPError, HTTPException, OSError, ValueError):
        pass  # the status has come, and that is the answer
    finally:
        response.close()


def _reason(error: Exception) -> str:
    if isinstance(error, NewConnectionError):  # for urllib3 a kind of timeout, so it is asked first
        return "connect"
    if isinstance(error, AnyTimeoutError | TimeoutError):
        return "timeout"
    return "tls" if isinstance(error, TlsError | ssl.SSLError) else "protocol"


def _short(value: str | None) -> str | None:
    return None if value is None else value[:_HEADER_LENGTH_MAX]
