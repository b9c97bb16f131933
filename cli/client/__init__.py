"""The Python client for people who call a Laneway service: typed, sync and async, realtime calls.

from cli.client import Laneway

with Laneway() as client:                      # LANEWAY_ENDPOINT, or the local service
    result = client.infer("iris", {"x": [[5.1, 3.5, 1.4, 0.2]]})
    print(result["label"].tolist())
"""

from cli.client.aio import AsyncLaneway
from cli.client.errors import (
    BadGatewayError,
    BadRequestError,
    CallerError,
    ClientError,
    ConfigurationError,
    ConnectionFailedError,
    ForbiddenError,
    GatewayTimeoutError,
    InputError,
    InternalError,
    MediaTypeError,
    MethodNotAllowedError,
    NotFoundError,
    NotSupportedError,
    ProtocolError,
    RequestTimeoutError,
    ServiceError,
    StatusError,
    ThrottledError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from cli.client.metadata import ModelMetadata, ServerMetadata, TensorSpec
from cli.client.protocol import Result
from cli.client.retry import NO_RETRIES, RetryPolicy
from cli.client.sync import Laneway
from cli.client.tensors import Tensor

__all__ = [
    "NO_RETRIES",
    "AsyncLaneway",
    "BadGatewayError",
    "BadRequestError",
    "CallerError",
    "ClientError",
    "ConfigurationError",
    "ConnectionFailedError",
    "ForbiddenError",
    "GatewayTimeoutError",
    "InputError",
    "InternalError",
    "Laneway",
    "MediaTypeError",
    "MethodNotAllowedError",
    "ModelMetadata",
    "NotFoundError",
    "NotSupportedError",
    "ProtocolError",
    "RequestTimeoutError",
    "Result",
    "RetryPolicy",
    "ServerMetadata",
    "ServiceError",
    "StatusError",
    "Tensor",
    "TensorSpec",
    "ThrottledError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
]
