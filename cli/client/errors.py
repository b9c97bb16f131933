"""What can go wrong for a user of the client, and whether the same call may succeed later.

    ClientError
    +-- ConfigurationError ....... no endpoint, no credentials, no region: nothing was sent
    +-- InputError ............... these values cannot be made into a request: nothing was sent
    +-- ConnectionFailedError .... no answer came: refused, unknown host, broken off
    +-- RequestTimeoutError ...... no answer came in time
    +-- WaitTimeoutError ......... a job or batch had not ended when the wait for it did
    +-- ProtocolError ............ an answer came that the protocol does not know
    +-- StatusError .............. an answer came, and it is a refusal or a failure
        +-- CallerError .......... 4xx, the caller can mend it
        |   +-- BadRequestError 400, UnauthorizedError 401, ForbiddenError 403, NotFoundError 404,
        |   |   MethodNotAllowedError 405, ConflictError 409, GoneError 410, TooLargeError 413,
        |   |   MediaTypeError 415
        |   +-- NotFinishedError ..... 409, the job has no result yet: `wait` for it
        |   +-- ThrottledError ... 429, the one 4xx that a later try mends
        +-- ServiceError ......... 5xx
            +-- InternalError 500, NotSupportedError 501, BadGatewayError 502,
                UnavailableError 503, GatewayTimeoutError 504

Two parties answer. The service says `{"error", "code", ...}`; the gateway in front of it says
`{"message"}`, and then the service has not seen the request or was cut off: `from_gateway` tells
which. The names mirror `shared.errors`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final


class ClientError(Exception):
    """A failure of a call, with a message that holds the facts and the way out."""

    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(ClientError):
    """The client does not know where to send, or as whom."""


class InputError(ClientError, ValueError):
    """The values cannot be made into a request."""


class ConnectionFailedError(ClientError):
    """No answer came."""

    retryable = True


class RequestTimeoutError(ClientError, TimeoutError):
    """No answer came in time; the service may still have worked on it."""


class WaitTimeoutError(ClientError, TimeoutError):
    """The job or batch had not ended in time; it goes on."""


class ProtocolError(ClientError):
    """The answer is not one that the protocol knows."""


class StatusError(ClientError):
    """The service or the gateway in front of it answered with a failure.

    `status` is the HTTP status, `code` the service's stable code (None from the gateway), `field`
    the member of the request that is at fault, `retry_after_s` what the answer asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        field: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        from_gateway: bool = False,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.from_gateway = from_gateway
        self.retryable = retryable

    def __str__(self) -> str:
        facts = [str(self.status), self.code or ("gateway" if self.from_gateway else "")]
        if self.request_id:
            facts.append(f"request {self.request_id}")
        return f"{self.message} ({', '.join(fact for fact in facts if fact)})"


class CallerError(StatusError):
    """The caller can mend it."""


class BadRequestError(CallerError):
    """The request is malformed, or does not fit the model."""


class UnauthorizedError(CallerError):
    """No credential, or one that is not known."""


class ForbiddenError(CallerError):
    """A known caller that may not do this."""


class NotFoundError(CallerError):
    """No such model, version, job or address."""


class MethodNotAllowedError(CallerError):
    """The address does not take this method."""


class ConflictError(CallerError):
    """The id or the key belongs to another payload."""


class NotFinishedError(CallerError):
    """The job has no result yet."""


class GoneError(CallerError):
    """The job was canceled or expired, or its result was removed."""


class TooLargeError(CallerError):
    """The request, or the answer to it, is past a limit."""


class MediaTypeError(CallerError):
    """The body's type or encoding cannot be taken."""


class ThrottledError(CallerError):
    """Too many requests at once; a later try may succeed."""


class ServiceError(StatusError):
    """The failure is on the other side."""


class InternalError(ServiceError):
    """A defect of the service, or, from the gateway, no free environment to run it."""


class NotSupportedError(ServiceError):
    """A call of the protocol that this service does not offer."""


class BadGatewayError(ServiceError):
    """The gateway could not read the function's answer."""


class UnavailableError(ServiceError):
    """Cannot be answered now."""


class GatewayTimeoutError(ServiceError):
    """The gateway gave up waiting for the function."""


BY_STATUS: Final[dict[int, type[StatusError]]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    409: ConflictError,
    410: GoneError,
    413: TooLargeError,
    415: MediaTypeError,
    429: ThrottledError,
    500: InternalError,
    501: NotSupportedError,
    502: BadGatewayError,
    503: UnavailableError,
    504: GatewayTimeoutError,
}


BY_CODE: Final[dict[str, type[StatusError]]] = {"not_finished": NotFinishedError}
"""Where one status has two meanings."""


def status_class(status: int, code: object = None) -> type[StatusError]:
    """The class of an HTTP `status` and our code; one that is not listed becomes its family's."""
    if isinstance(code, str) and code in BY_CODE:
        return BY_CODE[code]
    family = CallerError if status < HTTPStatus.INTERNAL_SERVER_ERROR else ServiceError
    return BY_STATUS.get(status, family)
