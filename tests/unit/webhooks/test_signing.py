"""Our signatures, judged by the reference implementation of Standard Webhooks."""

from __future__ import annotations

import base64
import re
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.jobs.signing import make_secret, signed_headers

BODY = '{"type":"job.succeeded","data":{"note":"ünï ☃"}}'.encode()


def headers(*secrets, timestamp_s=None):
    return signed_headers(
        BODY,
        event_id="evt_job-1_succeeded",
        timestamp_s=int(time.time()) if timestamp_s is None else timestamp_s,
        signing_secrets=secrets,
    )


def test_a_secret_has_the_form_and_size_that_the_specification_asks_for():
    secret = make_secret()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]+=*", secret)
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    assert make_secret() != secret


def test_the_reference_library_accepts_a_signature():
    secret = make_secret()
    assert Webhook(secret).verify(BODY, headers(secret))["type"] == "job.succeeded"


def test_either_secret_verifies_while_both_are_active():
    new, old = make_secret(), make_secret()
    both = headers(new, old)
    assert len(both["webhook-signature"].split(" ")) == 2
    for secret in (new, old):
        Webhook(secret).verify(BODY, both)


def test_another_secret_body_id_or_time_does_not_verify():
    secret = make_secret()
    good = headers(secret)
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(BODY, good)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", good)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, good | {"webhook-id": "evt_job-2_succeeded"})
    later = str(int(good["webhook-timestamp"]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, good | {"webhook-timestamp": later})
