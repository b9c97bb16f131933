from __future__ import annotations

import pytest

from shared.egress import EgressRules, check_webhook_url
from shared.egress.urls import parse_target
from shared.errors import InvalidRequestError

METADATA = [
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.169.254:443/",
    "https://2852039166/",  # decimal
    "https://0xA9FEA9FE/",  # hexadecimal
    "https://0xa9.0xfe.0xa9.0xfe/",
    "https://0251.0376.0251.0376/",  # octal
    "https://169.254.43518/",  # three parts
    "https://169.16689662/",  # two parts
    "https://169.254.169.254./",
    "https://169.254.169.0xfe/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "https://[::169.254.169.254]/",  # IPv4-compatible
    "https://[64:ff9b::169.254.169.254]/",  # NAT64
    "https://[64:ff9b:1::a9fe:a9fe]/",  # NAT64 of a network
    "https://[2002:a9fe:a9fe::]/",  # 6to4
    "https://[2001:0:53aa:64c:0:0:5601:5601]/",  # Teredo
    "https://[2606:4700::5efe:a9fe:a9fe]/",  # ISATAP
    "https://[2606:4700::200:5efe:a9fe:a9fe]/",
    "https://169.254.170.2/v2/credentials",
    "https://[fd00:ec2::254]/",
    "https://[fd20:ce::254]/",
    "https://168.63.129.16/",
    "https://100.100.100.200/",
    "https://metadata.google.internal/",
]
PRIVATE = [
    "https://127.0.0.1/",
    "https://127.0.0.1:9001/",
    "https://127.1/",
    "https://127.255.255.254/",
    "https://0/",
    "https://0.0.0.0/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://2130706433/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://255.255.255.255/",
    "https://240.0.0.1/",
    "https://192.88.99.1/",
    "https://[::]/",
    "https://[::1]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[fe80::1%25eth0]/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://foo.localhost/",
    "https://printer.local/",
    "https://ip-10-0-0-1.ec2.internal/",
    "https://intranet/",
]
MALFORMED = [
    "",
    "hooks.example.com",
    "//hooks.example.com/",
    "https:hooks.example.com",
    "https:///path",
    "https://",
    "https://:443/",
    "http://hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "gopher://hooks.example.com/",
    "https://user@hooks.example.com/",
    "https://user:secret@hooks.example.com/",
    "https://hooks.example.com@127.0.0.1/",
    "https://hooks.example.com\\@127.0.0.1/",
    "https://127.0.0.1\\.example.com/",
    "https://hooks.example.com/#@127.0.0.1/",
    "https://hooks.example.com#fragment",
    "https://hooks.example.com#",
    "https://hooks.example.com:80/",
    "https://hooks.example.com:22/",
    "https://hooks.example.com:/",
    "https://hooks.example.com:443:443/",
    "https://hooks.example.com:+443/",
    "https://hooks.example.com:99999/",
    "https://hooks.example.com:0443443/",
    "https://hooks.example.com /",
    "https://hooks.example.com/a b",
    "https://hooks.example.com/\r\nX-Header: 1",
    "https://hooks.example.com/\x00",
    "https://hooks\t.example.com/",
    "https://hooks..example.com/",
    "https://-hooks.example.com/",
    "https://hooks%2eexample.com/",
    "https://127.0.0.1%2f.example.com/",
    "https://[::1/",
    "https://::1/",
    "https://[hooks.example.com]/",
    "https://[::ffff:8.8.8.8]x/",
    "https://x[2606:4700::1]/",
    "https://ⓔxample.com/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://münchen.example/",
    f"https://{'a' * 64}.example.com/",
    f"https://hooks.example.com/{'a' * 2048}",
]


@pytest.mark.parametrize("url", METADATA + PRIVATE + MALFORMED)
def test_a_place_that_is_not_a_plain_public_https_address_is_refused(url):
    with pytest.raises(InvalidRequestError, match="this webhook URL is not allowed") as refusal:
        check_webhook_url(url)
    assert refusal.value.field == "webhook"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com", ("hooks.example.com", 443, "/")),
        ("https://Hooks.Example.COM:443/a?b=c", ("hooks.example.com", 443, "/a?b=c")),
        ("https://hooks.example.com?x=1", ("hooks.example.com", 443, "/?x=1")),
        ("https://hooks.example.com//127.0.0.1/", ("hooks.example.com", 443, "//127.0.0.1/")),
        ("https://hooks.example.com/a@b:80/%20", ("hooks.example.com", 443, "/a@b:80/%20")),
        ("https://xn--mnchen-3ya.example/", ("xn--mnchen-3ya.example", 443, "/")),
        ("https://8.8.8.8/hook", ("8.8.8.8", 443, "/hook")),
        ("https://[2606:4700:4700::1111]/", ("2606:4700:4700::1111", 443, "/")),
        ("https://3com.example.com/", ("3com.example.com", 443, "/")),
    ],
)
def test_a_public_address_is_allowed_and_read_in_its_parts(url, target):
    check_webhook_url(url)
    assert tuple(parse_target(url))[:3] == target


def test_the_message_does_not_repeat_a_password_of_the_url():
    with pytest.raises(InvalidRequestError) as refusal:
        check_webhook_url("https://user:hunter2@hooks.example.com/")
    assert "hunter2" not in str(refusal.value)


def test_a_stage_may_list_other_ports():
    rules = EgressRules(ports=frozenset({443, 8443}))
    check_webhook_url("https://hooks.example.com:8443/", rules)
    with pytest.raises(InvalidRequestError, match="use 443, 8443"):
        check_webhook_url("https://hooks.example.com:9443/", rules)


@pytest.mark.parametrize("listed", ["127.0.0.1:8443", "127.0.0.1:*"])
def test_a_listed_loopback_address_is_allowed_and_no_other(listed):
    rules = EgressRules(loopback=frozenset({listed}))
    check_webhook_url("https://127.0.0.1:8443/hook", rules)
    for url in ("https://127.0.0.2:8443/", "https://localhost:8443/", "https://10.0.0.1:8443/"):
        with pytest.raises(InvalidRequestError):
            check_webhook_url(url, rules)


def test_a_list_for_loopback_cannot_open_another_private_address():
    rules = EgressRules(loopback=frozenset({"10.0.0.1:443", "169.254.169.254:443"}))
    for url in ("https://10.0.0.1/", "https://169.254.169.254/"):
        with pytest.raises(InvalidRequestError, match="not on the public internet"):
            check_webhook_url(url, rules)
