"""The settings of each entry point: frozen values, read from the environment and written back to it.

Only entry points call `from_env`; the stacks build each function's environment with `to_env`, so a
missing variable fails at synth and not at the first request.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Self

from shared.compact import read_aliases, read_queues, write_aliases, write_queues

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAlias:
    """Where a pool answers: its function, the alias, and whether it has provisioned concurrency."""

    function: str
    alias: str = "live"
    provisioned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """Who issues tokens (JWT) that a stage takes, and what its tokens must say."""

    issuer: str
    """The claim `iss`, exactly as the issuer writes it."""
    jwks_url: str
    """Where the issuer publishes its keys; https."""
    audiences: tuple[str, ...]
    """One of them must be in `aud`; in a token without `aud`, as Cognito's access tokens are, be `client_id`."""
    tenant_claim: str
    """The claim that says whose the token is; a token without it is refused."""
    scope_claim: str = "scope"
    """Text with spaces between, or a list."""
    scope_prefix: str = ""
    """What our scopes begin with there, such as `laneway/`; others are passed over."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")


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
        return {
            item.name.upper(): _write(getattr(self, item.name), str(item.type))
            for item in fields(self)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeSettings(Settings):
    """The realtime function of one pool."""

    pool: str
    session_budget_mib: int = 512
    """Bytes of model files whose sessions are kept; the least recently used go first."""
    models_bucket: str = ""
    """Has the models that are too large for the package; empty: none is."""
    timeout_s: int = 10
    """How long a run may take. The function's own time is longer: it also waits for ingress."""
    deadline_margin_ms: int = 250
    """Kept of the invocation's time to answer after a run was stopped."""
    ingress_function: str = ""
    """Takes the requests that prefer an asynchronous answer; empty: nobody does."""
    usage_table: str = ""
    """Counts what tenants with limits have used; empty: nothing is limited."""
    tenant_limits: str = ""
    """Limits of tenants that have none of their own, as compact JSON; empty: none."""
    tenants_table: str = ""
    """Rows of tenants with limits of their own, for callers known to AWS IAM; empty: there are none of these."""
    iam_grants: dict[str, str] = field(default_factory=dict)
    """Scopes by `role/<name>` and `user/<name>`, with `*` for any characters; empty: all but `admin` for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizerSettings(Settings):
    """The authorizer for API keys and tokens."""

    keys_table: str = ""
    """Empty: keys are not accepted."""
    issuers: tuple[TokenIssuer, ...] = ()
    """Empty: tokens are not accepted."""
    tenants_table: str = ""
    """Rows of tenants with limits of their own; empty: there are none."""
    tenant_limits: str = ""
    """As in `RealtimeSettings`: what a tenant's row leaves out."""


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _read(name: str, text: str, type_name: str) -> Any:
    try:
        return _PARSERS[type_name](text)
    except (AttributeError, TypeError, ValueError) as error:
        raise SettingError(f"{name} is not a valid {type_name}: {text[:200]!r}") from error


def _write(value: Any, type_name: str) -> str:
    write = _WRITERS.get(type_name)
    if write is not None:
        return write(value)
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else str(value)


def _pool_aliases(text: str) -> dict[str, PoolAlias]:
    return {pool: PoolAlias(**alias) for pool, alias in read_aliases(text).items()}


def _write_pool_aliases(aliases: Mapping[str, PoolAlias]) -> str:
    return write_aliases({pool: asdict(alias) for pool, alias in aliases.items()})


def _issuers(text: str) -> tuple[TokenIssuer, ...]:
    return tuple(
        TokenIssuer(**{name: _text_or_texts(value) for name, value in item.items()})
        for item in json.loads(text or "[]")
    )


def _text_or_texts(value: object) -> Any:
    return tuple(_text(item) for item in value) if isinstance(value, list) else _text(value)


def _write_issuers(issuers: tuple[TokenIssuer, ...]) -> str:
    items = [asdict(issuer) for issuer in issuers]
    return json.dumps(items, separators=(",", ":")) if items else ""


def _texts(text: str) -> dict[str, str]:
    return {str(name): _text(value) for name, value in json.loads(text).items()}


def _numbers(text: str) -> dict[str, float]:
    return {str(name): float(value) for name, value in json.loads(text).items()}


def _lists(text: str) -> dict[str, list[str]]:
    return {name: [_text(item) for item in items] for name, items in json.loads(text).items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "str": str,
    "int": int,
    "float": float,
    "dict[str, PoolAlias]": _pool_aliases,
    "tuple[TokenIssuer, ...]": _issuers,
    "dict[str, str]": _texts,
    "dict[str, float]": _numbers,
    "dict[str, list[str]]": _lists,
    "dict[str, dict[str, str]]": read_queues,
}
"""Keyed by the annotation as written; a test reads every field of every class."""
_WRITERS: Final[Mapping[str, Callable[[Any], str]]] = {
    "dict[str, PoolAlias]": _write_pool_aliases,
    "tuple[TokenIssuer, ...]": _write_issuers,
    "dict[str, dict[str, str]]": write_queues,
}
