"""The blocking client: one method per call of the protocol."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from cli.client.base import (
    failed,
    failure_in,
    names_in,
    needs_signature,
    origin,
    request_parts,
    result_in,
    says_not_ready,
    tensors_of,
)
from cli.client.errors import (
    ClientError,
    ConnectionFailedError,
    RequestTimeoutError,
    ServiceError,
    StatusError,
)
from cli.client.metadata import parse_model, parse_server
from cli.client.protocol import Call, infer_call, model_path
from cli.client.retry import NO_RETRIES
from cli.client.storage import replacing, storage_failure
from cli.client.sync_batches import BatchCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cli.client.metadata import ModelMetadata, ServerMetadata
    from cli.client.protocol import Result
    from cli.client.retry import RetryPolicy
    from cli.client.storage import Request


class Laneway(BatchCalls):
    """A blocking client of one endpoint. Safe to share between threads; close it, or use `with`."""

    _http: httpx.Client

    def _open(self, **settings: Any) -> None:
        self._http = httpx.Client(**settings)

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | None = None,
        outputs: Sequence[str] | None = None,
        binary: bool = True,
        request_id: str | None = None,
    ) -> Result:
        """Run `model` on `inputs`: name -> array, nested list or `Tensor`.

        Arrays travel packed when `binary`, with the datatype of their dtype; lists travel as JSON
        with the datatype that the model declares (asked once per model). `outputs` limits the
        answer. Raises `InputError` before sending, `StatusError` and its kin after.
        """
        signature = self._signature(model, version) if needs_signature(inputs) else None
        call = infer_call(
            model,
            tensors_of(inputs, signature),
            version=version,
            outputs=outputs,
            binary=binary,
            request_id=request_id,
            compress=self._compress,
        )
        return result_in(self.send(call))

    def models(self) -> list[str]:
        """The names of the models that are served."""
        return names_in(self.send(Call("GET", "/v2/models")))

    def model(self, name: str, version: str | None = None) -> ModelMetadata:
        """A model's versions and signature."""
        return parse_model(self.send(Call("GET", model_path(name, version))).content)

    def server_metadata(self) -> ServerMetadata:
        """The service's name, version and protocol extensions."""
        return parse_server(self.send(Call("GET", "/v2")).content)

    def ready(self, name: str, version: str | None = None) -> bool:
        """Whether the model would answer now; an unknown model is a `NotFoundError`."""
        try:
            self.send(Call("GET", f"{model_path(name, version)}/ready"), retry=NO_RETRIES)
        except StatusError as error:
            if says_not_ready(error):
                return False
            raise
        return True

    def live(self) -> bool:
        """Whether the service answers at all; False when it cannot be reached."""
        try:
            self.send(Call("GET", "/v2/health/live"), retry=NO_RETRIES)
        except (ConnectionFailedError, RequestTimeoutError, ServiceError):
            return False
        return True

    def send(self, call: Call, *, retry: RetryPolicy | None = None) -> httpx.Response:
        """Send one call, again where the failure allows it; the answer is a success or an error."""
        return self._again(lambda: self._send_once(call), retry or self._retry)

    def send_to_storage(self, request: Request) -> httpx.Response:
        """Send one call to S3, without the service's credentials; retried as `send` does."""
        return self._again(lambda: self._store_once(request), self._retry)

    def fetch_from_storage(self, request: Request, target: str | Path) -> None:
        """Write what a call to S3 answers to a file, piece by piece; the file is whole or not there."""
        self._again(lambda: self._fetch_once(request, target), self._retry)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _again(
        self, attempt: Callable[[], httpx.Response | ClientError], policy: RetryPolicy
    ) -> httpx.Response:
        for retries_done in itertools.count():
            answer = attempt()
            if isinstance(answer, httpx.Response):
                return answer
            wait_s = policy.wait_s(answer, retries_done)
            if wait_s is None:
                raise answer
            time.sleep(wait_s)
        raise AssertionError  # unreachable: the policy ends the loop

    def _send_once(self, call: Call) -> httpx.Response | ClientError:
        response = self._exchange(self.endpoint, url=self._url(call), **request_parts(call))
        if isinstance(response, ClientError):
            return response
        return failure_in(response, call) or response

    def _store_once(self, request: Request) -> httpx.Response | ClientError:
        response = self._exchange(
            origin(request.url), method=request.method, url=request.url, **request.parts
        )
        if isinstance(response, ClientError):
            return response
        return storage_failure(response) or response

    def _fetch_once(self, request: Request, target: str | Path) -> httpx.Response | ClientError:
        try:
            with self._http.stream(request.method, request.url, **request.parts) as response:
                if not response.is_success:
                    response.read()
                    return storage_failure(response) or response
                with replacing(target) as file:
                    for piece in response.iter_bytes():
                        file.write(piece)
                return response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return failed(error, origin(request.url))

    def _exchange(self, place: str, **request: Any) -> httpx.Response | ClientError:
        try:
            return self._http.request(**request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return failed(error, place)

    def _signature(self, model: str, version: str | None) -> ModelMetadata:
        key = (model, version)
        if key not in self._signatures:
            self._signatures[key] = self.model(model, version)
        return self._signatures[key]
