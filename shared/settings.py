"""The settings of each entry point: frozen values, read from the environment and written back to it.

Only entry points call `from_env`; the stacks build each function's environment with `to_env`, so a
missing variable fails at synth and not at the first request.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAlias:
    """Where a pool answers: its function, the alias, and whether it has provisioned concurrency."""

    function: str
    alias: str = "live"
    provisioned: bool = False


class SettingError(ValueError):
    """A variable of the environment is missing, or is not what its type says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every function is told; the variable of a field is its name in capitals."""

    stage: str
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the fields from `env`; raises `SettingError` naming the variable."""
        missing = [
            item.name.upper()
            for item in fields(cls)
            if _is_required(item) and item.name.upper() not in env
        ]
        if missing:
            raise SettingError(f"{cls.__name__} needs {', '.join(missing)} in the environment")
        return cls(
            **{
                item.name: _read(item.name.upper(), env[item.name.upper()], str(item.type))
                for item in fields(cls)
                if item.name.upper() in env
            }
        )

    def to_env(self) -> dict[str, str]:
        """The environment from which `from_env` makes an equal value."""
        return {item.name.upper(): _write(getattr(self, item.name)) for item in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeSettings(Settings):
    """The realtime function of one pool."""

    pool: str
    session_budget_mib: int = 512
    """Bytes of model files whose sessions are kept; the least recently used go first."""
    deadline_margin_ms: int = 250
    """Kept of the invocation's time to answer after a run was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressSettings(Settings):
    """The function behind `$default`."""

    public_url: str = ""
    """Base of links and OpenAPI servers; empty means the address that the caller used."""
    pool_aliases: dict[str, PoolAlias] = field(default_factory=dict)
    ready_cache_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizerSettings(Settings):
    """The authorizer for API keys."""

    keys_table: str


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _read(name: str, text: str, type_name: str) -> Any:
    try:
        return _PARSERS[type_name](text)
    except (AttributeError, TypeError, ValueError) as error:
        raise SettingError(f"{name} is not a valid {type_name}: {text[:200]!r}") from error


def _write(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps({name: asdict(item) for name, item in value.items()})
    return str(value)


def _pool_aliases(text: str) -> dict[str, PoolAlias]:
    return {pool: PoolAlias(**alias) for pool, alias in json.loads(text).items()}


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "str": str,
    "int": int,
    "float": float,
    "dict[str, PoolAlias]": _pool_aliases,
}
"""Keyed by the annotation as written; a test reads every field of every class."""
