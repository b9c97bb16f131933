"""The embedded AWS emulator: one process on 127.0.0.1, and the functions that it runs.

It lives in an environment of its own, `.venv-emulator`, because it pins botocore. Why each setting is
there is said beside it; no timing is ever taken through it.
"""

from __future__ import annotations

import http
import http.client
import os
import time
from typing import TYPE_CHECKING, Final

from cli.dev.failures import DevError
from cli.dev.processes import Guarded, plain_environment
from cli.dev.state import AwsAccess

if TYPE_CHECKING:
    from pathlib import Path

    from cli.dev.state import State

ACCOUNT: Final = "100000000001"
"""Account id and access key are the same 12 digits: unsigned calls then land in the same account."""
REGION: Final = "us-east-1"
START_TIMEOUT_S: Final = 30.0
MAX_CONCURRENCY: Final = max(8, min(16, 2 * (os.cpu_count() or 1)))
"""Past so many requests at once the emulator answers 429, as Lambda does past an account's limit.

Each of them has a process of its own, with package and layer unpacked anew: about 200 MB of each kind.
"""
_IDLE_PROCESS_S: Final = 60
_POLL_S: Final = 0.05
_SERVICES: Final = "apigateway,cloudformation,dynamodb,ecr,events,iam,kms,lambda,logs,monitoring,s3,secretsmanager,sns,sqs,ssm,sts,tagging"


def access(port: int) -> AwsAccess:
    """How SDKs reach the emulator on this port."""
    return AwsAccess(
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id=ACCOUNT,
        secret_access_key="local",  # noqa: S106 - the emulator checks no secrets
        region=REGION,
    )


def start(project: Path, state: State, port: int) -> Guarded:
    """Start the emulator; DevError when its environment is missing. It may not answer yet."""
    python = project / ".venv-emulator" / "bin" / "python"
    if not python.exists():
        raise DevError(f"The emulator is not installed ({python.parent.parent}). Run: make setup")
    scratch = state.scratch("emulator")
    return Guarded(
        [str(python), "-m", "ministack"],
        environment=plain_environment(state.home, scratch) | _settings(port),
        working_folder=scratch,
        scratch=scratch,
        log=state.logs / "emulator.log",
    )


def wait_until_up(emulator: Guarded, port: int) -> None:
    """Return when it answers; DevError with its last lines when it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if emulator.poll() is not None:
            raise DevError(f"The emulator ended while it started.\n\n{emulator.tail()}")
        if _answers(port):
            return
        time.sleep(_POLL_S)
    raise DevError(f"The emulator did not answer in {START_TIMEOUT_S:.0f} s.\n\n{emulator.tail()}")


def _settings(port: int) -> dict[str, str]:
    credentials = access(port)
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_DEFAULT_REGION": REGION,
        "BIND_HOST": "127.0.0.1",  # its default is every interface
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # would open port 8883
        "LAMBDA_ACCOUNT_CONCURRENCY": str(MAX_CONCURRENCY),
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_WARM_TTL_SECONDS": str(_IDLE_PROCESS_S),
        "LOG_LEVEL": "INFO",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "SERVICES": _SERVICES,
        "SFTP_ENABLED": "0",  # would open port 2222
    }


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
