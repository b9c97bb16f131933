"""Which IP addresses are places on the public internet.

The lists follow the IANA special-purpose registries (iana-ipv4-special-registry and
iana-ipv6-special-registry, read 2026-11-21). They are written out because `ipaddress.is_global`
differs between the minor versions of Python that we run on; an address must pass both.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

_REFUSED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the host itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; one cloud's metadata service too
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform service, on a public address
        "169.254.0.0/16",  # link-local: metadata of EC2 (169.254.169.254) and ECS (169.254.170.2)
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""All that is assigned as global unicast; ULA, link-local, multicast, mapped and NAT64 are outside."""
_REFUSED_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo (2001::/32) carries IPv4 addresses
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries IPv4 addresses
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""Upper half of an interface id whose lower half is an IPv4 address (RFC 5214)."""


def parse_address(text: str) -> Address | None:
    """The address that `text` is in its usual form, or None; no scope ids, no short IPv4 forms."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether a stranger may send us there."""
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address not in _GLOBAL_V6 or any(address in network for network in _REFUSED_V6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP
