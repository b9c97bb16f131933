"""Where the client sends and as whom: what the caller said, else the environment, else `make dev`.

`LANEWAY_ENDPOINT`, and `LANEWAY_API_KEY` or else `LANEWAY_TOKEN`, are the environment;
`.laneway/dev.json`, looked for from the working folder upwards, is the local service. The local key goes
to the local endpoint only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.client.errors import ConfigurationError

if TYPE_CHECKING:
    from cli.client.auth import Token


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint without trailing slash, and the key or the token to send there, if any."""

    endpoint: str
    api_key: str | None = None
    token: Token | None = None

    def __repr__(self) -> str:
        return f"Target({self.endpoint!r})"


def resolve_target(
    endpoint: str | None = None, api_key: str | None = None, token: Token | None = None
) -> Target:
    """The target, or `ConfigurationError` with the three ways to name one."""
    endpoint = endpoint or os.environ.get("LANEWAY_ENDPOINT")
    if not token:
        api_key = api_key or os.environ.get("LANEWAY_API_KEY") or None
        token = None if api_key else os.environ.get("LANEWAY_TOKEN") or None
    local = read_dev_file()
    local_endpoint = str(local.get("endpoint", "")).rstrip("/")
    endpoint = (endpoint or local_endpoint).rstrip("/")
    if not endpoint:
        raise ConfigurationError(
            "no endpoint: pass one, set LANEWAY_ENDPOINT, or start the local service with `make dev`"
        )
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigurationError(f"the endpoint {endpoint!r} must begin with http:// or https://")
    if api_key is None and token is None and endpoint == local_endpoint:
        api_key = local.get("api_key")
    return Target(endpoint, api_key, token)


def read_dev_file(start: Path | None = None) -> dict[str, Any]:
    """What `make dev` wrote in `.laneway/dev.json`, in `start` or a folder above; {} without one."""
    start = start or Path.cwd()
    for folder in (start, *start.parents):
        path = folder / ".laneway" / "dev.json"
        if path.is_file():
            return _parse(path)
    return {}


def _parse(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigurationError(
            f"{path.parent.name}/{path.name} is not JSON ({error}): restart `make dev`"
        ) from error
    return value if isinstance(value, dict) else {}
