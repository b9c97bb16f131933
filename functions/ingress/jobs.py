"""Jobs over HTTP: reads a call, makes one call of `shared.jobs`, writes the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from functions.api_gateway import RETRY_AFTER_S, HttpRequest, Response, json_response
from functions.ingress import asked
from shared.errors import (
    GoneError,
    InvalidRequestError,
    JobNotFoundError,
    UnavailableError,
)
from shared.jobs.ask import AcceptedJobs, Answer, Elsewhere
from shared.jobs.page import iso_time, job_list, job_page, job_url
from shared.jobs.submission import Submission, read_submission
from shared.limits import DECODED_BODY_BYTES_MAX, PREFER_WAIT_S_MAX
from shared.principal import READ, SUBMIT
from shared.results.rows import JobKey
from shared.schema import wire
from shared.schema.compression import inflate
from shared.schema.prefer import RESPOND_ASYNC, Preference
from shared.schema.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from shared.jobs.submit import Accepted, Jobs
    from shared.limiting.gate import Gate
    from shared.results.rows import JobFailure, JobRow

ANSWER_MARGIN_MS: Final = 1000
"""Kept of an invocation's time to answer after a wait."""


class JobCalls:
    """The calls about jobs. `public_url` is the base of the addresses in answers."""

    def __init__(
        self, jobs: Jobs, accepted: AcceptedJobs, *, public_url: str, gate: Gate | None = None
    ) -> None:
        self._jobs = jobs
        self._accepted = accepted
        self._base = public_url
        self._gate = gate

    def collection(self, request: HttpRequest) -> Response:
        """`POST /v2/jobs` and `GET /v2/jobs`."""
        if request.method == "GET":
            return self._list(request)
        return self._create(request, job_id=None)

    def job(self, request: HttpRequest, job: str) -> Response:
        """`PUT /v2/jobs/{id}` and `GET /v2/jobs/{id}`."""
        if request.method == "PUT":
            return self._create(request, job_id=asked.chosen_id(job))
        return self._page(self._found(request, job, READ))

    def cancel(self, request: HttpRequest, job: str) -> Response:
        """`POST /v2/jobs/{id}/cancel`."""
        if not request.principal.may(SUBMIT):
            self._found(request, job, SUBMIT)
        return self._page(self._accepted.cancel(_key(request, job)))

    def result(self, request: HttpRequest, job: str) -> Response:
        """`GET /v2/jobs/{id}/result`."""
        row = self._found(request, job, READ)
        if row.failure is not None:
            return _failed(row.failure, request)
        found = self._accepted.result(row)
        if isinstance(found, Elsewhere):
            return Response(307, {**found.headers, "location": found.url}, b"")
        return _answered(found, request)

    def upload(self, request: HttpRequest) -> Response:
        """`POST /v2/uploads`."""
        max_bytes = asked.max_bytes(request)
        if self._gate is not None:
            self._gate.charge(request.tenant, request.principal.limits, max_bytes)
        uri, expires_at, place = self._jobs.upload(request.tenant, max_bytes=max_bytes)
        upload = Upload(
            uri=uri,
            url=place.url,
            fields=dict(place.fields),
            max_bytes=max_bytes,
            expires_at=iso_time(expires_at),
        )
        return _model_response(upload, 201)

    def infer(
        self, request: HttpRequest, preference: Preference, *, model: str, version: str | None
    ) -> Response:
        """An inference call that prefers an asynchronous answer: 202, or 200 if done in time."""
        submission = _as_submission(request, model=model, version=version)
        accepted = self._jobs.submit(
            submission,
            tenant=request.tenant,
            principal=request.principal.name,
            request_id=request.request_id,
            idempotency_key=asked.idempotency_key(request),
            jobs_max=asked.jobs_max(request, self._gate),
        )
        wait_s = _wait_s(preference, request)
        row = self._accepted.wait(accepted.row, wait_s=wait_s)
        applied = f"{RESPOND_ASYNC}, wait={wait_s}" if preference.wait_s else RESPOND_ASYNC
        headers = {"preference-applied": applied}
        answer = self._answer_now(row, request)
        if answer is not None:
            told = {**answer.headers, **headers}
            return Response(answer.status, told, answer.body, _about(row))
        return self._created(row, headers)

    def _found(self, request: HttpRequest, job: str, scope: str) -> JobRow:
        """The caller's job; raises `ForbiddenError` for one of a model that the scope is not for."""
        row = self._accepted.get(_key(request, job))
        request.principal.require(scope, row.model)
        return row

    def _create(self, request: HttpRequest, *, job_id: str | None) -> Response:
        submission = read_submission(_decoded(request))
        request.principal.require(SUBMIT, submission.model)
        key = asked.idempotency_key(request)
        if job_id is not None and key is not None:
            raise InvalidRequestError(
                "PUT is idempotent by its address; send no Idempotency-Key", field="Idempotency-Key"
            )
        accepted = self._jobs.submit(
            submission,
            tenant=request.tenant,
            principal=request.principal.name,
            request_id=request.request_id,
            job_id=job_id,
            idempotency_key=key,
            jobs_max=asked.jobs_max(request, self._gate),
        )
        return self._accepted_answer(accepted)

    def _accepted_answer(self, accepted: Accepted) -> Response:
        return self._created(accepted.row, {}) if accepted.created else self._page(accepted.row)

    def _created(self, row: JobRow, headers: Mapping[str, str]) -> Response:
        location = job_url(row.key.id, base_url=self._base)
        told = {"location": location, "retry-after": str(RETRY_AFTER_S), **headers}
        page = job_page(row, base_url=self._base)
        return _model_response(page, 202, told, about=_about(row))

    def _page(self, row: JobRow) -> Response:
        page = job_page(row, base_url=self._base)
        return _model_response(page, about=_about(row))

    def _list(self, request: HttpRequest) -> Response:
        query = asked.known_query(request.query)
        request.principal.require(READ, query.get("model"))
        page = self._accepted.list(
            request.tenant,
            cursor=query.get("cursor"),
            limit=asked.limit(query.get("limit")),
            status=asked.status(query.get("status")),
            model=query.get("model"),
        )
        return _model_response(job_list(page, base_url=self._base))

    def _answer_now(self, row: JobRow, request: HttpRequest) -> Response | None:
        """The very answer of a job that has ended; None where it has to be asked for."""
        if row.failure is not None:
            return _failed(row.failure, request)
        if row.status != "succeeded":
            return None
        try:
            found = self._accepted.result(row)
        except (UnavailableError, GoneError):
            return None  # the job is there: 503 would deny it
        return _answered(found, request) if isinstance(found, Answer) else None


def _about(row: JobRow) -> dict[str, str]:
    return {"model": row.model, "version": row.version, "job_id": row.key.id}


def _model_response(
    model: BaseModel,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    about: Mapping[str, str] | None = None,
) -> Response:
    body = orjson.dumps(model.model_dump(mode="json"))
    return Response(status, {"content-type": wire.JSON_TYPE, **(headers or {})}, body, about)


def _answered(answer: Answer, request: HttpRequest) -> Response:
    """The stored answer in an encoding that this caller accepts, as the realtime call would."""
    sent = wire.compress(
        wire.Answer(answer.body, dict(answer.headers)), request.headers.get("accept-encoding")
    )
    return Response(answer.status, sent.headers, sent.body)


def _failed(failure: JobFailure, request: HttpRequest) -> Response:
    body = {"error": failure.error, "code": failure.code, "request_id": request.request_id}
    if failure.field is not None:
        body["field"] = failure.field
    return json_response(body, status=failure.status_code)


def _as_submission(request: HttpRequest, *, model: str, version: str | None) -> Submission:
    body = _decoded(request)
    header = request.headers.get(wire.HEADER_LENGTH)
    frame = wire.open_body(body, header_length=header)
    return Submission(
        model=model,
        version=version,
        body=body,
        header_length=None if header is None else len(frame.json),
    )


def _decoded(request: HttpRequest) -> bytes:
    """The body without its Content-Encoding."""
    return inflate(
        request.body,
        content_encoding=request.headers.get("content-encoding", ""),
        max_decoded_bytes=DECODED_BODY_BYTES_MAX,
    )


def _wait_s(preference: Preference, request: HttpRequest) -> int:
    """Whole seconds to wait: as asked, capped, and never past the end of an invocation."""
    left_s = max(0, request.remaining_ms - ANSWER_MARGIN_MS) // 1000
    return min(preference.wait_s, PREFER_WAIT_S_MAX, left_s)


def _key(request: HttpRequest, job: str) -> JobKey:
    if not asked.ID.fullmatch(job):
        raise JobNotFoundError(f"you have no job {job[:64]!r}")
    return JobKey(request.tenant, job)
