"""The Python client for people who call a Laneway service: typed, sync and async, answers now or later.

from cli.client import Laneway

with Laneway() as client:                      # LANEWAY_ENDPOINT, or the local service
    result = client.infer("iris", {"x": [[5.1, 3.5, 1.4, 0.2]]})
    print(result["label"].tolist())
    job = client.submit("iris", {"x": [[5.1, 3.5, 1.4, 0.2]]})
    print(client.wait(job).status, client.result(job)["label"].tolist())
"""

from cli.client.aio import AsyncLaneway
from cli.client.batches import Batch, BatchCounts, BatchFile, BatchOptions
from cli.client.errors import (
    BadGatewayError,
    BadRequestError,
    CallerError,
    ClientError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    GatewayTimeoutError,
    GoneError,
    InputError,
    InternalError,
    MediaTypeError,
    MethodNotAllowedError,
    NotFinishedError,
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
    WaitTimeoutError,
)
from cli.client.jobs import Job, JobError, JobInput, JobOptions, StoredInput
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
    "Batch",
    "BatchCounts",
    "BatchFile",
    "BatchOptions",
    "CallerError",
    "ClientError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "ForbiddenError",
    "GatewayTimeoutError",
    "GoneError",
    "InputError",
    "InternalError",
    "Job",
    "JobError",
    "JobInput",
    "JobOptions",
    "Laneway",
    "MediaTypeError",
    "MethodNotAllowedError",
    "ModelMetadata",
    "NotFinishedError",
    "NotFoundError",
    "NotSupportedError",
    "ProtocolError",
    "RequestTimeoutError",
    "Result",
    "RetryPolicy",
    "ServerMetadata",
    "ServiceError",
    "StatusError",
    "StoredInput",
    "Tensor",
    "TensorSpec",
    "ThrottledError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "WaitTimeoutError",
]
