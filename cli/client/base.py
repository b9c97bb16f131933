"""What the sync and the async client share: settings, calls, and reading answers. No waiting here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from cli.client.auth import auth_of
from cli.client.errors import (
    ClientError,
    ConfigurationError,
    ConnectionFailedError,
    ProtocolError,
    RequestTimeoutError,
    ServiceError,
    StatusError,
)
from cli.client.failures import failure_of
from cli.client.metadata import parse_json
from cli.client.protocol import HEADER_LENGTH, Call, Result, parse_result, tensor_from
from cli.client.retry import RetryPolicy
from cli.client.settings import resolve_target
from cli.client.tensors import Tensor, is_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.client.auth import Token
    from cli.client.metadata import ModelMetadata

USER_AGENT: Final = "laneway-python"


class ClientBase(ABC):
    """An endpoint, an identity, a timeout and a retry policy.

    `timeout_s` bounds each wait of a try: connecting, sending, and every pause in the answer.
    `iam=True` signs with the AWS identity of the machine; otherwise a key or a token is sent if there is
    one. `token` may be a function, which is asked with each call and so can renew it.
    `compress` sends bodies as gzip and asks for gzip.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        api_key: str | None = None,
        token: Token | None = None,
        iam: bool = False,
        region: str | None = None,
        timeout_s: float = 60.0,
        retry: RetryPolicy | None = None,
        compress: bool = False,
    ) -> None:
        if [api_key is not None, token is not None, iam].count(True) > 1:
            raise ConfigurationError("api_key, token and iam=True are identities: choose one")
        target = resolve_target(endpoint, api_key, token)
        self.endpoint = target.endpoint
        self._retry = retry or RetryPolicy()
        self._compress = compress
        self._signatures: dict[tuple[str, str | None], ModelMetadata] = {}
        self._open(
            auth=auth_of(target, iam=iam, region=region),
            timeout=timeout_s,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )

    @abstractmethod
    def _open(self, **settings: Any) -> None:
        """Make httpx's client from its own settings."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint!r})"

    def _url(self, call: Call) -> str:
        return self.endpoint + call.path


def request_parts(call: Call) -> dict[str, Any]:
    """The keyword arguments of httpx's `request` for a call, without the URL."""
    return {"method": call.method, "headers": dict(call.headers), "content": call.content}


def failure_in(response: httpx.Response, call: Call) -> StatusError | None:
    """The typed error in the answer to a call; None for a success."""
    if response.is_success or (call.may_redirect and response.has_redirect_location):
        return None
    return failure_of(response.status_code, response.headers, response.content)


def translated(error: httpx.HTTPError | httpx.InvalidURL, endpoint: str) -> ClientError:
    """A failure of httpx in our terms: a connection that broke, a wait that ended, or bad bytes."""
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        return RequestTimeoutError(f"no answer from {endpoint} in time: raise timeout_s")
    if isinstance(error, httpx.DecodingError):
        return ProtocolError(f"the answer's Content-Encoding cannot be undone: {error}")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return ConfigurationError(f"{endpoint} is not a usable URL: {error}")
    reason = str(error) or type(error).__name__
    return ConnectionFailedError(f"no connection to {endpoint} ({reason}): is the service up?")


def failed(error: httpx.HTTPError | httpx.InvalidURL, place: str) -> ClientError:
    """As `translated`, with httpx's own words behind it."""
    failure = translated(error, place)
    failure.__cause__ = error
    return failure


def origin(url: str) -> str:
    """Scheme and host of an address: the rest may be a secret, when it is presigned."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def needs_signature(inputs: Mapping[str, Any]) -> bool:
    """Whether the model must be asked for its datatypes: plain lists do not carry one."""
    return any(not isinstance(value, Tensor) and not is_array(value) for value in inputs.values())


def tensors_of(inputs: Mapping[str, Any], signature: ModelMetadata | None) -> dict[str, Tensor]:
    """The caller's inputs as tensors; a list for an input that the model lacks is refused here."""
    specs = {spec.name: spec for spec in signature.inputs} if signature else {}
    return {name: tensor_from(name, value, specs) for name, value in inputs.items()}


def result_in(response: httpx.Response) -> Result:
    """The outputs in a successful answer."""
    return parse_result(response.content, response.headers.get(HEADER_LENGTH))


def names_in(response: httpx.Response) -> list[str]:
    """The model names in the answer of `GET /v2/models`."""
    return [str(name) for name in parse_json(response.content).get("models") or ()]


def says_not_ready(error: StatusError) -> bool:
    """Whether a failed ready call means "not now", rather than "no such model" or "not you"."""
    return isinstance(error, ServiceError) or error.status == HTTPStatus.BAD_REQUEST
