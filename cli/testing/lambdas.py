"""Functions in this process, called as Lambda calls them: by name and alias, one request at a time.

Stands in for two calls of the Lambda API, which moto can only run in containers.
"""

from __future__ import annotations

import io
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

REGION: Final = "us-east-1"
ACCOUNT: Final = "123456789012"


class LambdaContext:
    """What a handler is told of its invocation."""

    def __init__(self, function: str, *, memory_mib: int, timeout_s: float) -> None:
        self.function_name = function
        self.function_version = "1"
        self.memory_limit_in_mb = memory_mib
        self.invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}:live"
        self.aws_request_id = str(uuid.uuid4())
        self.log_group_name = f"/aws/lambda/{function}"
        self.log_stream_name = "local"
        self._end_s = time.monotonic() + timeout_s

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation would be stopped."""
        return max(0, int((self._end_s - time.monotonic()) * 1000))


@dataclass(eq=False)
class LocalFunction:
    """One function; `warm` is its provisioned concurrency, None without.

    `environments`: how many calls its handler takes at once, as Lambda would have them served by as
    many environments.
    """

    name: str
    handler: Callable[[dict[str, Any], Any], Any]
    alias: str = "live"
    timeout_s: float = 10.0
    memory_mib: int = 1769
    warm: int | None = None
    environments: int = 1
    _free: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._free = threading.Semaphore(self.environments)

    def call(self, event: dict[str, Any]) -> Any:
        """The handler's answer, having passed through JSON both ways as on Lambda."""
        with self._free:
            context = LambdaContext(self.name, memory_mib=self.memory_mib, timeout_s=self.timeout_s)
            answer = self.handler(orjson.loads(orjson.dumps(event)), context)
        return orjson.loads(orjson.dumps(answer))


class LocalLambda:
    """Functions by name, with the two calls of the Lambda API that readiness makes."""

    def __init__(self) -> None:
        self._functions: dict[str, LocalFunction] = {}

    def add(self, function: LocalFunction) -> LocalFunction:
        """Deploy a function, in place of one of the same name."""
        self._functions[function.name] = function
        return function

    def remove(self, name: str) -> LocalFunction:
        """Delete a function; gives it, to be added again."""
        return self._functions.pop(name)

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        """Run a function; an exception of its handler becomes a FunctionError, as on Lambda."""
        function = self._find(arguments, "Invoke")
        try:
            answer = orjson.dumps(function.call(orjson.loads(arguments["Payload"])))
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is reported to the invoker
            failure = orjson.dumps({"errorType": type(error).__name__})
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(failure)}
        return {"StatusCode": 200, "Payload": io.BytesIO(answer)}

    def get_provisioned_concurrency_config(self, **arguments: Any) -> dict[str, Any]:
        """The state of the alias's warm environments."""
        operation = "GetProvisionedConcurrencyConfig"
        function = self._find(arguments, operation)
        if function.warm is None:
            raise _failure("ProvisionedConcurrencyConfigNotFoundException", operation)
        return {
            "AvailableProvisionedConcurrentExecutions": function.warm,
            "Status": "READY" if function.warm else "IN_PROGRESS",
        }

    def _find(self, arguments: dict[str, Any], operation: str) -> LocalFunction:
        function = self._functions.get(arguments["FunctionName"])
        if function is None or arguments.get("Qualifier", function.alias) != function.alias:
            raise _failure("ResourceNotFoundException", operation)
        return function


def _failure(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)
