"""Calls of a deployed service as its users make them, and waiting for what comes of them."""

from __future__ import annotations

import boto3
import httpx

from tests.e2e.local_service import eventually

ENDED = ("succeeded", "failed", "canceled", "expired")
TIMEOUT_S = 60.0
"""A worker starts cold, on a machine that other tests may share."""


def aws_client(service, name):
    aws = service.facts["aws"]
    return boto3.client(
        name,
        endpoint_url=aws["endpoint_url"],
        aws_access_key_id=aws["access_key_id"],
        aws_secret_access_key=aws["secret_access_key"],
        region_name=aws["region"],
    )


def call(service, method, path, *, headers=None, **arguments):
    return httpx.request(
        method,
        service.endpoint + path,
        headers=service.headers | (headers or {}),
        timeout=TIMEOUT_S,
        **arguments,
    )


def ended(service, path, *, headers=None, timeout_s=TIMEOUT_S):
    """The job or batch once it has ended."""
    found = {}

    def has_ended():
        answer = call(service, "GET", path, headers=headers)
        found.update(answer.json() if answer.is_success else {})
        return found.get("status") in ENDED

    assert eventually(has_ended, timeout_s=timeout_s), found
    return found


def upload(place, data):
    posted = httpx.post(
        place["url"], data=place["fields"], files={"file": ("input", data)}, timeout=TIMEOUT_S
    )
    assert posted.is_success, posted.text
