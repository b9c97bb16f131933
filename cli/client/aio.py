"""The asyncio client, the blocking one's twin: one method per call of the realtime lane."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Self

import httpx

from cli.client.base import (
    ClientBase,
    failure_in,
    names_in,
    needs_signature,
    request_parts,
    result_in,
    says_not_ready,
    tensors_of,
    translated,
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli.client.metadata import ModelMetadata, ServerMetadata
    from cli.client.protocol import Result
    from cli.client.retry import RetryPolicy


class AsyncLaneway(ClientBase):
    """An asyncio client of one endpoint. Close it, or use `async with`."""

    _http: httpx.AsyncClient

    def _open(self, **settings: Any) -> None:
        self._http = httpx.AsyncClient(**settings)

    async def infer(
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
        signature = await self._signature(model, version) if needs_signature(inputs) else None
        call = infer_call(
            model,
            tensors_of(inputs, signature),
            version=version,
            outputs=outputs,
            binary=binary,
            request_id=request_id,
            compress=self._compress,
        )
        return result_in(await self.send(call))

    async def models(self) -> list[str]:
        """The names of the models that are served."""
        return names_in(await self.send(Call("GET", "/v2/models")))

    async def model(self, name: str, version: str | None = None) -> ModelMetadata:
        """A model's versions and signature."""
        return parse_model((await self.send(Call("GET", model_path(name, version)))).content)

    async def server_metadata(self) -> ServerMetadata:
        """The service's name, version and protocol extensions."""
        return parse_server((await self.send(Call("GET", "/v2"))).content)

    async def ready(self, name: str, version: str | None = None) -> bool:
        """Whether the model would answer now; an unknown model is a `NotFoundError`."""
        try:
            await self.send(Call("GET", f"{model_path(name, version)}/ready"), retry=NO_RETRIES)
        except StatusError as error:
            if says_not_ready(error):
                return False
            raise
        return True

    async def live(self) -> bool:
        """Whether the service answers at all; False when it cannot be reached."""
        try:
            await self.send(Call("GET", "/v2/health/live"), retry=NO_RETRIES)
        except (ConnectionFailedError, RequestTimeoutError, ServiceError):
            return False
        return True

    async def send(self, call: Call, *, retry: RetryPolicy | None = None) -> httpx.Response:
        """Send one call, again where the failure allows it; the answer is a success or an error."""
        policy = retry or self._retry
        for retries_done in itertools.count():
            answer = await self._send_once(call)
            if isinstance(answer, httpx.Response):
                return answer
            wait_s = policy.wait_s(answer, retries_done)
            if wait_s is None:
                raise answer
            await asyncio.sleep(wait_s)
        raise AssertionError  # unreachable: the policy ends the loop

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send_once(self, call: Call) -> httpx.Response | ClientError:
        try:
            response = await self._http.request(url=self._url(call), **request_parts(call))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = translated(error, self.endpoint)
            failure.__cause__ = error
            return failure
        return failure_in(response) or response

    async def _signature(self, model: str, version: str | None) -> ModelMetadata:
        key = (model, version)
        if key not in self._signatures:
            self._signatures[key] = await self.model(model, version)
        return self._signatures[key]
