"""Every failure that Laneway reports: its type, its HTTP status, its code and whether a retry helps.

    LanewayError
    +-- CallerError ................... the caller can mend it (4xx)
    |   +-- MalformedBodyError ........ 400 malformed_body: the bytes are not a request
    |   +-- InvalidRequestError ....... 400 invalid_request: a request, but not one that the protocol allows
    |   +-- SignatureError ............ 400 signature_mismatch: not what the model takes
    |   +-- NonFiniteInputError ....... 400 non_finite_input
    |   +-- TransformRefusedError ..... 400 transform_refused: the model's own transform refused the input
    |   +-- UnsupportedClassError ..... 400 latency_class_not_offered
    |   +-- UriNotAllowedError ........ 400 uri_not_allowed: a place that the tenant may not name
    |   +-- UnauthorizedError ......... 401 unauthorized
    |   +-- ForbiddenError ............ 403 forbidden
    |   +-- NotFoundError ............. 404 not_found
    |   |   +-- ModelNotFoundError .... 404 model_not_found
    |   |   +-- VersionNotFoundError .. 404 version_not_found
    |   |   +-- JobNotFoundError ...... 404 job_not_found: or another tenant's, which looks the same
    |   +-- MethodNotAllowedError ..... 405 method_not_allowed
    |   +-- ConflictError ............. 409 conflict: the same id or key with another payload
    |   +-- NotFinishedError .......... 409 not_finished: the job has no result yet
    |   +-- GoneError ................. 410 gone: the job ended without a result, or it was removed
    |   +-- TooLargeError ............. 413 too_large: the body, or the answer to it
    |   +-- MediaTypeError ............ 415 unsupported_media_type
    |   +-- LimitError ................ 429 limited: more than the tenant may ask for now
    |   |   +-- RateLimitedError ...... 429 rate_limited: more calls a second
    |   |   +-- QuotaUsedError ........ 429 quota_used: more bytes a day
    |   |   +-- TooManyJobsError ...... 429 too_many_jobs: more jobs that have not ended
    +-- ServiceError .................. ours (5xx)
        +-- InternalError ............. 500 internal_error: a defect of ours
        +-- TransformFailedError ...... 500 transform_failed: the model's own transform broke
        +-- ModelRunError ............. 500 model_run_failed: onnxruntime gave up on a valid input
        |   +-- ModelLimitError ....... 500 model_limit_exceeded: the run needed more memory than there is
        +-- NonFiniteOutputError ...... 500 model_output_non_finite
        +-- ModelDigestError .......... 500 model_digest_mismatch: a file is not the one that was locked
        +-- NotSupportedError ......... 501 not_supported: a call of the protocol that we do not serve
        +-- UnavailableError .......... 503 unavailable
            +-- ModelUnavailableError . 503 model_unavailable: the model cannot be loaded now
            +-- StoreUnavailableError . 503 store_unavailable: jobs or payloads cannot be read or written
            +-- QueueUnavailableError . 503 queue_unavailable: the broker does not take messages
            +-- DeadlineExceededError . 503 deadline_exceeded: the run was stopped at its deadline

Messages hold the facts (what came, what was expected) and the way out; they never hold a tensor's
values beyond the one that is wrong, a key, or a path of the machine.
"""

from __future__ import annotations

from copy import copy
from typing import ClassVar, Final

ERROR_LENGTH_MAX: Final = 2000
"""Characters of a message, which may quote its caller: a refusal is never a large answer."""
ERROR_FIELD_LENGTH_MAX: Final = 300


class LanewayError(Exception):
    """A failure with a status, a stable code and a message for the caller."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None) -> None:
        self.message = message if len(message) <= ERROR_LENGTH_MAX else _cut(message)
        self.field = None if field is None else field[:ERROR_FIELD_LENGTH_MAX]
        super().__init__(self.message)

    def body(self, request_id: str | None = None) -> dict[str, str]:
        """The JSON body of the answer: the protocol's `error` and further members beside it."""
        members = {"error": self.message, "code": self.code}
        if self.field is not None:
            members["field"] = self.field
        if request_id is not None:
            members["request_id"] = request_id
        return members


def _cut(message: str) -> str:
    """Short enough to be answered, stored in a row, and sent on: what is quoted may be megabytes."""
    return f"{message[: ERROR_LENGTH_MAX - 1]}…"


class CallerError(LanewayError):
    """The caller can mend it."""

    status = 400
    code = "bad_request"


class MalformedBodyError(CallerError):
    """The bytes of the body cannot be read as a request."""

    code = "malformed_body"


class InvalidRequestError(CallerError):
    """The body is readable, but the protocol does not allow it."""

    code = "invalid_request"


class SignatureError(CallerError):
    """The request does not fit the model's inputs and outputs."""

    code = "signature_mismatch"


class NonFiniteInputError(CallerError):
    """An input holds NaN or an infinity and the model does not allow it."""

    code = "non_finite_input"


class TransformRefusedError(CallerError):
    """The model's own transform refused the input."""

    code = "transform_refused"


class UnsupportedClassError(CallerError):
    """The model does not offer the latency class that was asked for."""

    code = "latency_class_not_offered"


class UriNotAllowedError(CallerError):
    """A URI that the tenant may not read from or write to."""

    code = "uri_not_allowed"


class UnauthorizedError(CallerError):
    """No credential, or one that is not known."""

    status = 401
    code = "unauthorized"


class ForbiddenError(CallerError):
    """A known caller that may not do this."""

    status = 403
    code = "forbidden"


class NotFoundError(CallerError):
    """There is nothing at this address."""

    status = 404
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    """No model of this name is served here."""

    code = "model_not_found"


class VersionNotFoundError(NotFoundError):
    """The model is served, but not in this version."""

    code = "version_not_found"


class JobNotFoundError(NotFoundError):
    """The tenant has no job or batch of this id."""

    code = "job_not_found"


class MethodNotAllowedError(CallerError):
    """The address exists and does not take this method."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class ConflictError(CallerError):
    """The id or the idempotency key belongs to another payload."""

    status = 409
    code = "conflict"


class NotFinishedError(CallerError):
    """The job has no result yet; ask again later."""

    status = 409
    code = "not_finished"
    retryable = True


class GoneError(CallerError):
    """The job ended without a result, or its result was removed."""

    status = 410
    code = "gone"


class TooLargeError(CallerError):
    """The body, its decoded form or the answer is past a limit."""

    status = 413
    code = "too_large"


class MediaTypeError(CallerError):
    """The body's type or encoding cannot be taken as it arrived."""

    status = 415
    code = "unsupported_media_type"


class LimitError(CallerError):
    """More than the tenant's limits allow for now; `headers` say when to call again and what is left."""

    status = 429
    code = "limited"
    retryable = True

    def __init__(self, message: str, *, headers: dict[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class RateLimitedError(LimitError):
    """More calls a second than the tenant may make."""

    code = "rate_limited"


class QuotaUsedError(LimitError):
    """The tenant has sent as many bytes as it may on one day."""

    code = "quota_used"


class TooManyJobsError(LimitError):
    """As many of the tenant's jobs as it may have are waiting or running."""

    code = "too_many_jobs"


class ServiceError(LanewayError):
    """The failure is ours."""


class InternalError(ServiceError):
    """A defect of ours; the log has the details under the request's id."""


class TransformFailedError(ServiceError):
    """The model's own transform broke on an input that it did not refuse."""

    code = "transform_failed"


class ModelRunError(ServiceError):
    """onnxruntime failed on an input that fits the model's signature.

    `detail`: its own words, for the log alone.
    """

    code = "model_run_failed"

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail


class ModelLimitError(ModelRunError):
    """The run needed more memory than the process may have; the model is loaded anew."""

    code = "model_limit_exceeded"


class NonFiniteOutputError(ServiceError):
    """The model answered with NaN or an infinity, which JSON cannot carry."""

    code = "model_output_non_finite"


class ModelDigestError(ServiceError):
    """A file of the model is not the one that was locked."""

    code = "model_digest_mismatch"


class NotSupportedError(ServiceError):
    """A call of the protocol that this service does not offer."""

    status = 501
    code = "not_supported"


class UnavailableError(ServiceError):
    """Cannot be answered now; a later try may succeed."""

    status = 503
    code = "unavailable"
    retryable = True


class ModelUnavailableError(UnavailableError):
    """The model cannot be loaded now."""

    code = "model_unavailable"


class StoreUnavailableError(UnavailableError):
    """Jobs or payloads cannot be read or written now."""

    code = "store_unavailable"


class QueueUnavailableError(UnavailableError):
    """The broker does not take or give messages now."""

    code = "queue_unavailable"


class DeadlineExceededError(UnavailableError):
    """The model's run was stopped at its deadline."""

    code = "deadline_exceeded"
    retryable = False


def without_memory(error: Exception, model: str) -> LanewayError:
    """The failure of a run that there was no memory for, less its traceback: that holds the run's tensors."""
    if isinstance(error, LanewayError):
        return copy(error)
    return ModelLimitError(
        f"there was no memory for a request to model {model!r}; send less at once, or give its pool "
        "more memory_mib"
    )
