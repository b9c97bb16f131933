"""Which URLs a caller may have us call. Pure: nothing is resolved and nothing is opened here.

A URL that two parsers read differently is a way around every check, so what is allowed is narrow:
printable ASCII, `https`, a plain host name or a canonical IP address, a port from the list. The
decimal, hexadecimal, octal and short forms of IPv4 that resolvers accept are refused as such.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from shared.egress.addresses import Address, is_public, parse_address
from shared.errors import InvalidRequestError
from shared.limits import URI_LENGTH_MAX

HTTPS_PORT: Final = 443

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_AMBIGUOUS: Final = frozenset('\\"<>^`{|}')
"""RFC 3986 allows none of these in a URL; parsers disagree on the backslash."""
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:@\[\]]+))(?::([0-9]{1,5}))?")
_HOST_LENGTH_MAX: Final = 253
_LOCAL_NAMES: Final = frozenset(
    {"localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "arpa"}
)
"""Last labels that never name a host on the internet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRules:
    """What a stage allows beyond the default."""

    ports: frozenset[int] = frozenset({HTTPS_PORT})
    loopback: frozenset[str] = frozenset()
    """`host:port`, or `host:*`, whose address is one of this machine's own loopback addresses.

    For the stage `local` alone, where receivers are programs on the same machine.
    """

    def allows_loopback(self, host: str, port: int) -> bool:
        """Whether this host is listed as one of this machine."""
        return bool({f"{host}:{port}", f"{host}:*"} & self.loopback)

    def allows_address(self, address: Address, *, host: str, port: int) -> bool:
        """Whether a connection to `host` may go to this address."""
        if self.allows_loopback(host, port):
            return address.is_loopback
        return is_public(address)


PUBLIC_ONLY: Final = EgressRules()


class Target(NamedTuple):
    """A URL that was allowed, in the parts that a connection needs."""

    host: str
    """Lower case; an IPv6 address without brackets."""
    port: int
    path: str
    """With the query; begins with a slash."""
    address: Address | None
    """Where the host is an address."""


def check_webhook_url(url: str, rules: EgressRules = PUBLIC_ONLY) -> None:
    """Raise `InvalidRequestError` for a URL that we would not call, whatever its name resolves to.

    A name that passes is checked again when it is called, with the addresses that it then has.
    """
    parse_target(url, rules)


def parse_target(url: str, rules: EgressRules = PUBLIC_ONLY) -> Target:
    """The parts of an allowed URL; raises `InvalidRequestError` for any other."""
    parts = _split(url)
    host, port = _authority(parts.netloc)
    local = rules.allows_loopback(host, port)
    if not local and port not in rules.ports:
        listed = ", ".join(str(item) for item in sorted(rules.ports))
        raise _refused(f"port {port} is not allowed; use {listed}")
    address = parse_address(host)
    if address is None:
        _check_name(host, local=local)
    elif not rules.allows_address(address, host=host, port=port):
        raise _refused("the address is not on the public internet")
    path = parts.path or "/"
    return Target(host, port, f"{path}?{parts.query}" if parts.query else path, address)


def _split(url: str) -> SplitResult:
    if len(url) > URI_LENGTH_MAX:
        raise _refused(f"the URL has {len(url)} characters; at most {URI_LENGTH_MAX} are allowed")
    if not _PRINTABLE.fullmatch(url) or _AMBIGUOUS & set(url):
        raise _refused(
            "use printable ASCII without spaces; a name of other letters goes in its xn-- form"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refused("it cannot be read as a URL") from error
    if parts.scheme != "https":
        raise _refused("only https is allowed")
    if "@" in parts.netloc:
        raise _refused("a user name or password in the URL is not allowed")
    if "#" in url:
        raise _refused("a fragment (#...) is never sent; leave it out")
    return parts


def _authority(netloc: str) -> tuple[str, int]:
    """Host (lower case, without brackets) and port as written, 443 where there is none."""
    found = _AUTHORITY.fullmatch(netloc)
    if found is None:
        raise _refused("the host or the port cannot be read")
    bracketed, plain, port = found.groups()
    return (bracketed or plain).lower(), HTTPS_PORT if port is None else int(port)


def _check_name(host: str, *, local: bool) -> None:
    """Raise for what is no plain name, or only a name inside a private network."""
    labels = host.split(".")
    if len(host) > _HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("the host is neither a plain name nor an IP address in its usual form")
    if _NUMBER.fullmatch(labels[-1]):
        raise _refused("write an IPv4 address as four decimal numbers without leading zeros")
    if not local and (len(labels) == 1 or labels[-1] in _LOCAL_NAMES):
        raise _refused("the host is not a name on the public internet")


def _refused(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"this webhook URL is not allowed: {reason}", field="webhook")
