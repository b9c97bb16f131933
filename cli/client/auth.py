"""Proof of who calls: a key or a token in a header, or a SigV4 signature with the caller's AWS identity.

botocore is loaded only for IAM; it finds the credentials as every AWS tool does, and refreshes them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx

from cli.client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cli.client.settings import Target

    Token = str | Callable[[], str]

# Only these are signed: what proxies add or rewrite on the way must not break the signature.
_SIGNED_HEADERS = ("content-type", "content-encoding")
_API_HOST = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$")


class ApiKeyAuth(httpx.Auth):
    """Sends the key as `x-api-key`, and as a bearer: a stage that takes tokens too looks there alone."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Add the header."""
        request.headers["x-api-key"] = self._api_key
        request.headers["authorization"] = f"Bearer {self._api_key}"
        yield request


class TokenAuth(httpx.Auth):
    """Sends a token as a bearer; a function is asked for one with each call, so that it can renew it."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Add the header."""
        token = self._token if isinstance(self._token, str) else self._token()
        request.headers["authorization"] = f"Bearer {token}"
        yield request


class SigV4Auth(httpx.Auth):
    """Signs method, path, query, body and host for `execute-api` in `region`."""

    requires_request_body = True

    def __init__(self, *, region: str, credentials: Any, service: str = "execute-api") -> None:
        self._region = region
        self._credentials = credentials
        self._service = service

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Sign a copy as botocore sees it, and carry the signature's headers over."""
        from botocore.auth import SigV4Auth as Signer
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        signed = AWSRequest(
            method=request.method,
            url=str(request.url),
            data=request.content,
            headers={
                name: request.headers[name] for name in _SIGNED_HEADERS if name in request.headers
            },
        )
        try:
            Signer(self._credentials, self._service, self._region).add_auth(signed)
        except BotoCoreError as error:
            raise ConfigurationError(f"the AWS credentials cannot sign: {error}") from error
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
            if name in signed.headers:
                request.headers[name] = signed.headers[name]
        yield request


def auth_of(target: Target, *, iam: bool, region: str | None) -> httpx.Auth | None:
    """How calls to the target prove who makes them; None where there is nothing to prove it by."""
    if iam:
        return iam_auth(target.endpoint, region)
    if target.token is not None:
        return TokenAuth(target.token)
    return ApiKeyAuth(target.api_key) if target.api_key else None


def iam_auth(endpoint: str, region: str | None) -> SigV4Auth:
    """SigV4 with the caller's own AWS identity; the region is the endpoint's when it names one."""
    from botocore.session import Session

    session = Session()
    host = httpx.URL(endpoint).host
    found = _API_HOST.search(host)
    region = region or (found.group(1) if found else session.get_config_variable("region"))
    if not region:
        raise ConfigurationError(f"{host} does not name its region: pass region=...")
    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigurationError(
            "no AWS credentials found: sign in, or pass api_key=... or token=... instead"
        )
    return SigV4Auth(region=region, credentials=credentials)
