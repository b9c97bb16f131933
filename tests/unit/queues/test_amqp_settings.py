"""Where a broker is: URLs, secrets in every form that they have, and what is refused of them."""

from __future__ import annotations

import json

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.errors import QueueUnavailableError
from shared.queues.rabbitmq.settings import (
    AmqpSettings,
    connection_parameters,
    read_settings,
    settings_of,
)

PASSWORD = "p@ss/w:rd%☃"
ENCODED = "p%40ss%2Fw%3Ard%25%E2%98%83"


def told(settings):
    """What pika is told of an address."""
    parameters = connection_parameters(settings)
    return (
        parameters.host,
        parameters.port,
        parameters.virtual_host,
        parameters.credentials.username,
        parameters.credentials.password,
        parameters.ssl_options is not None,
    )


@pytest.mark.parametrize(
    ("secret", "url", "expected"),
    [
        (f"amqps://me:{ENCODED}@b.example", "", ("b.example", 5671, "/", True)),
        (f"  amqp://me:{ENCODED}@b.example:1/a%2Fb\n", "", ("b.example", 1, "a/b", False)),
        (
            json.dumps({"url": f"amqps://me:{ENCODED}@b.example/v"}),
            "",
            ("b.example", 5671, "v", True),
        ),
        (
            json.dumps({"username": "me", "password": PASSWORD}),
            "amqps://b.example:5671/v",
            ("b.example", 5671, "v", True),
        ),
        (
            json.dumps({"username": "me", "password": PASSWORD, "host": "b.example"}),
            "",
            ("b.example", 5671, "/", True),
        ),
        (
            json.dumps(
                {
                    "username": "me",
                    "password": PASSWORD,
                    "host": "b.example",
                    "port": 5672,
                    "virtual_host": "a/b",
                }
            ),
            "",
            ("b.example", 5672, "a/b", False),
        ),
    ],
)
def test_every_form_of_a_secret_leads_to_the_broker(secret, url, expected):
    host, port, virtual_host, tls = expected
    assert told(settings_of(secret, url=url)) == (host, port, virtual_host, "me", PASSWORD, tls)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "CANARY",
        "https://me:CANARY@b.example",
        "amqps://",
        '{"password": "CANARY"}',
        '{"username": "me", "password": "CANARY"}',
        '{"url": "CANARY"}',
        "amqp://me:CANARY/2@b.example",
        "amqp://me:1/CANARY@b.example:x",
        "amqp://me:it@[CANARY",
        '{"CANARY',
    ],
)
def test_what_is_no_address_is_refused_without_being_quoted(secret):
    with pytest.raises(ValueError, match=r"URL|secret") as refused:
        settings_of(secret)
    assert "CANARY" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_credentials_are_in_no_representation():
    settings = AmqpSettings(url=f"amqps://me:{ENCODED}@b.example", ca_pem="PEM-CANARY")
    assert settings.address == "b.example:5671"
    for text in (repr(settings), str(settings)):
        assert ENCODED not in text
        assert "PEM-CANARY" not in text


def test_every_wait_for_the_broker_has_an_end():
    parameters = connection_parameters(AmqpSettings(url="amqp://b.example"))
    assert parameters.heartbeat == 15
    assert parameters.blocked_connection_timeout == 30
    assert parameters.socket_timeout == parameters.stack_timeout == 5


def test_settings_are_read_from_the_secret_and_a_missing_one_is_named_unavailable():
    with mock_aws():
        client = make_client("secretsmanager", session=boto3.Session(region_name="us-east-1"))
        arn = client.create_secret(Name="broker", SecretString="amqps://me:it@b.example")["ARN"]
        assert told(read_settings(client, arn, name="x"))[:2] == ("b.example", 5671)
        with pytest.raises(QueueUnavailableError, match="the broker's secret"):
            read_settings(client, arn[:-1])
