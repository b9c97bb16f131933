"""Presigned addresses against an S3 that checks them: moto's takes any."""

from __future__ import annotations

import time

import pytest
import urllib3

from tests.faults.stage import wait_for

KEY = "results/default/j/1"
DATA = b"0123456789"
UPLOAD = "uploads/default/u"


@pytest.fixture
def payloads(stage):
    stage.payloads.put(KEY, DATA, content_type="application/json")
    return stage.payloads


def get(url):
    return urllib3.request("GET", url, retries=False, timeout=10)


def upload(address, data, **fields):
    form = {**address.fields, **fields, "file": ("f", data)}
    return urllib3.request("POST", address.url, fields=form, retries=False, timeout=10)


def test_an_address_opens_its_object_until_it_expires(payloads):
    url = payloads.presign_get(KEY, expires_s=3)
    began = time.monotonic()
    assert get(url).data == DATA
    wait_for(lambda: get(url).status == 403, what="the address expires", timeout_s=20)
    assert time.monotonic() - began > 1


def test_an_address_opens_no_other_object(payloads):
    payloads.put("results/other/j/1", b"secret", content_type="application/json")
    url = payloads.presign_get(KEY, expires_s=60)
    assert get(url.replace("results/default/", "results/other/")).status == 403


def test_an_upload_is_taken_under_its_key_and_no_other(payloads):
    address = payloads.presign_upload(UPLOAD, max_bytes=100, expires_s=60)
    assert upload(address, DATA).status == 204
    assert payloads.get(UPLOAD, max_bytes=100) == DATA
    assert upload(address, DATA, key="uploads/other/u").status == 403


def test_an_upload_past_its_size_is_refused(payloads):
    address = payloads.presign_upload(UPLOAD + "-large", max_bytes=5, expires_s=60)
    assert upload(address, DATA).status == 400


def test_a_form_that_is_used_again_writes_its_own_key_and_nothing_else(payloads):
    address = payloads.presign_upload(UPLOAD + "-twice", max_bytes=100, expires_s=60)
    assert upload(address, b"first").status == upload(address, b"second").status == 204
    assert payloads.get(UPLOAD + "-twice", max_bytes=100) == b"second"
    assert upload(address, DATA, key=KEY).status == 403
    assert payloads.get(KEY, max_bytes=100) == DATA
