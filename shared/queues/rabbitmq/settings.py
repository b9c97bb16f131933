"""Where a broker is and how to speak to it; the secret that holds its credentials.

Credentials are shown by no `repr` and are part of no message of ours.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

import pika

from shared.aws import translated
from shared.errors import QueueUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_FORM: Final = "a broker's URL is amqp[s]://user:password@host[:port][/virtual-host], each part percent-encoded"
_MEMBERS: Final = "a URL, or JSON with url, or with username and password"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmqpSettings:
    """How one process reaches its broker; raises `ValueError` for what is no address of one."""

    url: str = field(repr=False)
    """`amqp[s]://user:password@host[:port][/virtual-host]`, each part percent-encoded."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    ca_pem: str | None = field(default=None, repr=False)
    """As `ca_file`, in PEM."""
    name: str = "laneway"
    """What the broker shows as this connection's name."""
    heartbeat_s: int = 15
    """A peer that is silent for so long is gone; RabbitMQ advises 5 to 20."""
    blocked_timeout_s: float = 30.0
    """A broker that takes no messages (out of memory or disk) for so long is given up."""
    connect_timeout_s: float = 5.0
    """TCP, TLS and AMQP together."""
    confirm_timeout_s: float = 10.0
    """How long a send waits for a connection and for the broker's confirm."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            told = parts.scheme in _PORTS and parts.hostname and parts.port != 0
            usable = told and "@" not in parts.path  # a slash in the password
        except ValueError:  # its text quotes what it takes for a port, which may be of a password
            usable = False
        if not usable:
            raise ValueError(_FORM)

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"


def connection_parameters(settings: AmqpSettings) -> Any:
    """What pika connects with."""
    parts = urlsplit(settings.url)
    return pika.ConnectionParameters(
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=pika.PlainCredentials(
            unquote(parts.username or "guest"), unquote(parts.password or "guest")
        ),
        ssl_options=_tls(settings, parts.hostname or "") if parts.scheme == "amqps" else None,
        heartbeat=settings.heartbeat_s,
        blocked_connection_timeout=settings.blocked_timeout_s,
        socket_timeout=settings.connect_timeout_s,
        stack_timeout=settings.connect_timeout_s,
        connection_attempts=1,
        client_properties={"connection_name": settings.name},
    )


def settings_of(secret: str, *, url: str = "", **members: Any) -> AmqpSettings:
    """The settings in a secret's text: a URL, or JSON in the manner of Secrets Manager.

    JSON: `url`; or `username` and `password` with `host`, `port` and `virtual_host`, where `url`, an
    address without credentials, does not say those. `ca` is PEM. `members`: further settings.
    Raises `ValueError`, which quotes nothing of the secret.
    """
    text = secret.strip()
    if not text.startswith("{"):
        return AmqpSettings(url=text, **members)
    try:
        told = json.loads(text)
    except json.JSONDecodeError:
        raise ValueError(f"the broker's secret is not {_MEMBERS}") from None
    if told.get("ca"):
        members["ca_pem"] = told["ca"]
    if "url" in told:
        return AmqpSettings(url=told["url"], **members)
    if not {"username", "password"} <= told.keys() or not (url or "host" in told):
        raise ValueError(f"the broker's secret is not {_MEMBERS}; without a host the URL names it")
    return AmqpSettings(url=_with_credentials(url or _address(told), told), **members)


def read_settings(
    client: SecretsManagerClient, arn: str, *, url: str = "", **members: Any
) -> AmqpSettings:
    """`settings_of` the secret. Raises `QueueUnavailableError` where it cannot be read now."""
    with translated(QueueUnavailableError, "the broker's secret"):
        secret = client.get_secret_value(SecretId=arn)["SecretString"]
    return settings_of(secret, url=url, **members)


def _tls(settings: AmqpSettings, host: str) -> Any:
    context = ssl.create_default_context(cafile=settings.ca_file, cadata=settings.ca_pem)
    return pika.SSLOptions(context, host)


def _address(told: dict[str, Any]) -> str:
    port = f":{told['port']}" if told.get("port") else ""
    scheme = "amqp" if str(told.get("port")) == str(_PORTS["amqp"]) else "amqps"
    virtual_host = quote(told.get("virtual_host", "/"), safe="")
    return f"{scheme}://{told['host']}{port}/{virtual_host}"


def _with_credentials(url: str, told: dict[str, Any]) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user, password = (quote(str(told[name]), safe="") for name in ("username", "password"))
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()
