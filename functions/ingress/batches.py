"""Batches over HTTP: reads a call, makes one call of `shared.jobs.batches`, writes the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from pydantic import ValidationError

from functions.api_gateway import RETRY_AFTER_S, HttpRequest, Response
from functions.ingress import asked
from shared.errors import InvalidRequestError, JobNotFoundError
from shared.jobs.batches.page import batch_list, batch_page
from shared.jobs.submission import job_refusal
from shared.limits import PRESIGNED_S_MAX
from shared.principal import READ, SUBMIT
from shared.results.batches import BatchKey
from shared.schema.batch import BatchSubmission
from shared.schema.wire import JSON_TYPE, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from shared.jobs.batches.submit import AcceptedBatch, Batches
    from shared.limiting.gate import Gate
from shared.results.batches import BatchRow

PRESIGNED_S: Final = PRESIGNED_S_MAX
_QUERY: Final = ("cursor", "limit")


class BatchCalls:
    """The calls about batches. `presign`: the address at which an object can be read for a while."""

    def __init__(
        self,
        batches: Batches,
        *,
        bucket: str,
        presign: Callable[[str], str],
        public_url: str,
        gate: Gate | None = None,
    ) -> None:
        self._batches = batches
        self._gate = gate
        self._bucket = bucket
        self._presign = presign
        self._base = public_url.rstrip("/")

    def collection(self, request: HttpRequest) -> Response:
        """`POST /v2/batches` and `GET /v2/batches`."""
        if request.method == "GET":
            return self._list(request)
        submission = _read(request)
        request.principal.require(SUBMIT, submission.model)
        accepted = self._batches.submit(
            submission,
            tenant=request.tenant,
            principal=request.principal.name,
            request_id=request.request_id,
            idempotency_key=asked.idempotency_key(request),
            jobs_max=asked.jobs_max(request, self._gate),
        )
        return self._accepted(request, accepted)

    def batch(self, request: HttpRequest, batch: str) -> Response:
        """`GET /v2/batches/{id}`."""
        return self._page(request, self._found(request, batch, READ))

    def cancel(self, request: HttpRequest, batch: str) -> Response:
        """`POST /v2/batches/{id}/cancel`."""
        if not request.principal.may(SUBMIT):
            self._found(request, batch, SUBMIT)
        return self._page(request, self._batches.cancel(_key(request, batch)))

    def retry(self, request: HttpRequest, batch: str) -> Response:
        """`POST /v2/batches/{id}/retry`: a new batch of the lines that failed."""
        if not request.principal.may(SUBMIT):
            self._found(request, batch, SUBMIT)
        accepted = self._batches.retry(
            _key(request, batch),
            principal=request.principal.name,
            request_id=request.request_id,
            jobs_max=asked.jobs_max(request, self._gate),
        )
        return self._accepted(request, accepted)

    def _found(self, request: HttpRequest, batch: str, scope: str) -> BatchRow:
        """The caller's batch; raises `ForbiddenError` for one of a model that the scope is not for."""
        row = self._batches.get(_key(request, batch))
        request.principal.require(scope, row.model)
        return row

    def _accepted(self, request: HttpRequest, accepted: AcceptedBatch) -> Response:
        if not accepted.created:
            return self._page(request, accepted.row)
        location = f"{self._base}/v2/batches/{accepted.row.key.id}"
        told = {"location": location, "retry-after": str(RETRY_AFTER_S)}
        page = batch_page(accepted.row, bucket=self._bucket)
        return _answer(page, 202, told, about=_about(accepted.row))

    def _page(self, request: HttpRequest, row: BatchRow) -> Response:
        """The batch, with the addresses of its files for a caller who may read them."""
        may_read = request.principal.may(READ, row.model)
        page = batch_page(row, bucket=self._bucket, presign=self._presign if may_read else None)
        return _answer(page, about=_about(row))

    def _list(self, request: HttpRequest) -> Response:
        request.principal.require(READ)
        for name in request.query:
            if name not in _QUERY:
                raise InvalidRequestError(
                    f"{name[:64]!r} is no filter of batches; there are {', '.join(_QUERY)}",
                    field=name[:64],
                )
        page = self._batches.list(
            request.tenant,
            cursor=request.query.get("cursor"),
            limit=asked.limit(request.query.get("limit")),
        )
        return _answer(batch_list(page, bucket=self._bucket))


def _read(request: HttpRequest) -> BatchSubmission:
    try:
        return BatchSubmission.model_validate(parse_json(asked.control_body(request)))
    except ValidationError as error:
        raise job_refusal(error) from error


def _key(request: HttpRequest, batch: str) -> BatchKey:
    if not asked.ID.fullmatch(batch):
        raise JobNotFoundError(f"you have no batch {batch[:64]!r}")
    return BatchKey(request.tenant, batch)


def _about(row: BatchRow) -> dict[str, str]:
    return {"model": row.model, "version": row.version, "batch_id": row.key.id}


def _answer(
    page: BaseModel,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    about: Mapping[str, str] | None = None,
) -> Response:
    body = orjson.dumps(page.model_dump(mode="json"))
    return Response(status, {"content-type": JSON_TYPE, **(headers or {})}, body, about)
