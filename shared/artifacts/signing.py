"""Signs a GET for S3 (Signature Version 4), and finds out as whom.

A boto3 client would more than double a cold start. What is signed is one fixed request, and a test holds it to
botocore's own signature.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from shared.errors import ModelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM: Final = "AWS4-HMAC-SHA256"
NO_BODY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """As whom a request is signed."""

    key_id: str
    secret: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bucket is: `host` with its port, and what stands before a key in the path."""

    host: str
    path: str
    region: str
    secure: bool = True


def credentials_of(env: Mapping[str, str]) -> Credentials:
    """Those that Lambda puts into the environment; under SnapStart, those that it serves on the machine itself."""
    if "AWS_ACCESS_KEY_ID" in env:
        return Credentials(
            env["AWS_ACCESS_KEY_ID"],
            env["AWS_SECRET_ACCESS_KEY"],
            env.get("AWS_SESSION_TOKEN", ""),
        )
    found = _served(env)
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])


def address_of(bucket: str, env: Mapping[str, str]) -> Address:
    """Amazon's own for the region, or below the endpoint that the environment names."""
    region = env["AWS_REGION"]
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if endpoint:
        parts = urlsplit(endpoint)
        path = f"{parts.path.rstrip('/')}/{bucket}"
        return Address(parts.netloc, path, region, secure=parts.scheme == "https")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return Address(f"{bucket}.s3.{region}.{suffix}", "", region)


def path_of(address: Address, key: str) -> str:
    """The request's path for an object."""
    return quote(f"{address.path}/{key}")


def signed_headers(
    address: Address, path: str, credentials: Credentials, *, now_s: float | None = None
) -> dict[str, str]:
    """What a GET of `path` has to carry; a range may be added, it is not signed."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    signed = {"host": address.host, "x-amz-content-sha256": NO_BODY_SHA256, "x-amz-date": stamp}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = f"GET\n{path}\n\n{lines}\n{names}\n{NO_BODY_SHA256}"
    scope = f"{stamp[:8]}/{address.region}/s3/aws4_request"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret}".encode()
    for part in (stamp[:8], address.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = (
        f"{ALGORITHM} Credential={credentials.key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return {**signed, "authorization": authorization}


def _served(env: Mapping[str, str]) -> dict[str, str]:
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415  not on the way of others

    url = urlsplit(env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""))
    token = env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    try:
        connection = HTTPConnection(url.netloc, timeout=_TIMEOUT_S)
        connection.request("GET", url.path, headers={"Authorization": token})
        found: dict[str, str] = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError) as error:
        raise ModelUnavailableError("there are no credentials to fetch models with") from error
    return found
