"""How every AWS client of jobs is made, and what its failures are called here.

This is the one seam: clients come from `make_client`, so retries are few and bounded, timeouts are
short and URLs are signed with SigV4; a test that hooks botocore's events on such a client sees every
call (tests/fixtures/aws_calls.py stops before and after each).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError

from shared.errors import InternalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_S: Final = 1.0
READ_TIMEOUT_S: Final = 5.0
ATTEMPTS: Final = 3
"""The first try and two more, with botocore's jittered backoff of at most a second or two."""
POOL_CONNECTIONS: Final = 32
"""As many as a worker publishes at once."""

_DEFECTS: Final = frozenset(
    {
        "ValidationException",
        "SerializationException",
        "InvalidParameterValue",
        "InvalidMessageContents",
        "InvalidAttributeValue",
        "InvalidArgument",
        "InvalidRequest",
        "MissingParameter",
    }
)
"""What AWS answers to a request that we should not have made; a later try cannot succeed."""


def make_client_config(service: str, *, read_timeout_s: float = READ_TIMEOUT_S) -> Config:
    """The configuration of a client; a queue that is polled needs more than its longest wait."""
    return Config(
        signature_version="s3v4" if service == "s3" else None,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        max_pool_connections=POOL_CONNECTIONS,
    )


def make_client(
    service: str,
    *,
    session: boto3.Session | None = None,
    endpoint_url: str | None = None,
    read_timeout_s: float = READ_TIMEOUT_S,
) -> Any:
    """A boto3 client of any service, for the region and credentials of `session`."""
    session = session or boto3.Session()
    config = make_client_config(service, read_timeout_s=read_timeout_s)
    return session.client(service, endpoint_url=endpoint_url, config=config)  # type: ignore[call-overload]  # any service


@contextmanager
def translated(unavailable: type[UnavailableError], what: str) -> Iterator[None]:
    """Give botocore's failures our names: `unavailable` where a later try may succeed.

    A request that we should not have made is an `InternalError`. Refusals that a method knows how
    to answer are caught inside, before they come here.
    """
    try:
        yield
    except ParamValidationError as error:
        raise InternalError(f"{what}: the request was not valid") from error
    except ClientError as error:
        code = error_code(error)
        if code in _DEFECTS:
            raise InternalError(f"{what}: AWS refused the request: {code}") from error
        raise unavailable(f"{what} cannot be reached now: {code}; try again later") from error
    except (BotoCoreError, HTTPClientError) as error:
        reason = type(error).__name__
        raise unavailable(f"{what} cannot be reached now: {reason}; try again later") from error


def error_code(error: ClientError) -> str:
    """AWS's code of a refusal, without the prefix that the query protocol puts before it."""
    code: str = error.response.get("Error", {}).get("Code", "Unknown")
    return code.rpartition(".")[2]
