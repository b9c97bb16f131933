"""No URL passes that two parsers read differently, and no form of an address inside passes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from urllib.parse import urlsplit

from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.util import parse_url

from shared.egress.addresses import is_public
from shared.egress.urls import parse_target
from shared.errors import InvalidRequestError

PIECES = st.sampled_from(
    [
        "example.com",
        "127.0.0.1",
        "8.8.8.8",
        "[::1]",
        "@",
        ":",
        ":443",
        "/",
        "\\",
        "?",
        "#",
        "%40",
        ".",
        "//",
        "a",
        "0x7f",
        "%2f",
        "\t",
        "..",
        ";",
        "&",
        "[",
        "]",
        "xn--a",
        "-",
        "_",
        ",",
        "=",
    ]
)
AUTHORITY_LIKE = st.lists(PIECES, max_size=8).map("".join)
INSIDE = [IPv4Network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "169.254.0.0/16")]
INSIDE_V4 = st.sampled_from(INSIDE).flatmap(
    lambda network: st.integers(0, network.num_addresses - 1).map(lambda n: network[n])
)


@given(st.one_of(AUTHORITY_LIKE, st.text(max_size=40)))
@example("example.com:443@127.0.0.1")
@example("example.com\\@127.0.0.1")
@example("example.com#@127.0.0.1")
def test_what_passes_has_the_same_host_and_path_for_every_parser(rest):
    url = f"https://{rest}"
    try:
        target = parse_target(url)
    except InvalidRequestError:
        return
    ours = (target.host, target.port)
    standard, other = urlsplit(url), parse_url(url)
    assert ours == (standard.hostname, standard.port or 443)
    assert ours == ((other.host or "").strip("[]"), other.port or 443)
    assert (other.auth, standard.username, standard.fragment) == (None, None, "")
    assert target.path.startswith("/")


def numbers(address):
    """The forms of an IPv4 address that resolvers take for it."""
    value, parts = int(address), address.packed
    yield str(address)
    yield str(value)
    yield hex(value)
    yield f"0{value:o}"
    yield ".".join(hex(part) for part in parts)
    yield ".".join(f"0{part:o}" for part in parts)
    yield f"{parts[0]}.{value & 0xFFFFFF}"
    yield f"{parts[0]}.{parts[1]}.{value & 0xFFFF}"


def carriers(address):
    """The IPv6 addresses that carry an IPv4 address."""
    value = int(address)
    yield IPv6Address(value)
    yield IPv6Address((0xFFFF << 32) | value)
    yield IPv6Address((0x64FF9B << 96) | value)
    yield IPv6Address((0x64FF9B0001 << 80) | value)
    yield IPv6Address((0x2002 << 112) | (value << 80))
    yield IPv6Address((0x20010000 << 96) | (value ^ 0xFFFFFFFF))
    yield IPv6Address((0x26064700 << 96) | (0x5EFE << 32) | value)


@given(INSIDE_V4)
def test_no_form_of_an_address_inside_passes(address):
    assert not is_public(address)
    assert not any(is_public(carrier) for carrier in carriers(address))
    hosts = [*numbers(address), *(f"[{carrier}]" for carrier in carriers(address))]
    for host in hosts:
        try:
            parse_target(f"https://{host}/")
        except InvalidRequestError:
            continue
        raise AssertionError(f"{host} passed")


def test_ordinary_public_addresses_are_public():
    for text in ("1.1.1.1", "8.8.8.8", "52.95.110.1", "172.32.0.1", "100.128.0.1", "11.0.0.1"):
        assert is_public(IPv4Address(text))
    for text in ("2606:4700:4700::1111", "2a05:d018::1", "2600:1f18::1", "2001:4860:4860::8888"):
        assert is_public(IPv6Address(text))
