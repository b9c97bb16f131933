"""Who calls: the tenant, a name for logs, and what the caller may do; read from the gateway's context.

The authorizer's verdict, or the gateway's own for SigV4, is in every event. It is turned into a
`Principal` once for each distinct verdict and kept. What a call needs stands in the table of
`docs/security.md`; a scope is one of `SCOPES`, or one of them for a single model: `infer:breast-cancer`.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from shared.errors import ForbiddenError, UnauthorizedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

INFER: Final = "infer"
SUBMIT: Final = "submit"
READ: Final = "read"
ADMIN: Final = "admin"
SCOPES: Final = (INFER, SUBMIT, READ, ADMIN)
"""`admin` includes the others."""
DEFAULT_SCOPES: Final = f"{INFER} {SUBMIT} {READ}"
"""What a key has that was made without scopes, and a caller known to AWS IAM where a stage grants nobody else."""
DEFAULT_TENANT: Final = "default"
TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A tenant is a part of keys, prefixes and names: it must not hold what separates them there."""
LOOK_UP: Final = "?"
"""In the place of a tenant's limits, of a caller who came by no authorizer of ours: its row was not read."""
_SCOPE: Final = re.compile(rf"({'|'.join(SCOPES)})(:[a-z0-9][a-z0-9-]*)?")
_HASHED: Final = "sha256-"
_DIGEST: Final = "verdict"
_KEPT_MAX: Final = 1000
"""Verdicts that are kept; more callers than that at once start the collection anew."""


@dataclass(frozen=True, slots=True)
class Principal:
    """One caller, as far as an authorizer knows it."""

    tenant: str
    """Whose jobs, batches, uploads and results the caller sees."""
    name: str
    """`key:<key id>`, `jwt:<issuer>#<subject>`, `iam:<ARN without session>`, `none` or `queue`."""
    scopes: frozenset[str]
    """As granted, `admin` beside the scopes that it includes."""
    limits: str = field(default="", compare=False)
    """The tenant's own limits as compact JSON; empty: the stage's; `LOOK_UP`: nobody has read them."""
    expires_at: float | None = field(default=None, compare=False)
    """Seconds since 1970 from which the proof is no longer one, however long a verdict is kept."""

    def may(self, scope: str, model: str | None = None) -> bool:
        """Whether `scope` is granted: for this model, or for all where `model` is None."""
        return scope in self.scopes or (model is not None and f"{scope}:{model}" in self.scopes)

    def may_some(self, scope: str) -> bool:
        """Whether `scope` is granted for one model at least."""
        return any(granted.partition(":")[0] == scope for granted in self.scopes)

    def require(self, scope: str, model: str | None = None) -> None:
        """Refuse with `ForbiddenError`, naming the scope, where `may` is false."""
        if not self.may(scope, model):
            raise _forbidden(scope, model)

    def require_some(self, scope: str) -> None:
        """Refuse with `ForbiddenError`, naming the scope, where `may_some` is false."""
        if not self.may_some(scope):
            raise _forbidden(scope, None)

    def require_any(self) -> None:
        """Refuse with `ForbiddenError` a caller without a single scope."""
        if not self.scopes:
            raise _forbidden(f"{', '.join(SCOPES[:-1])} or {ADMIN}", None)


def _forbidden(scope: str, model: str | None) -> ForbiddenError:
    wanted = scope if model is None else f"{scope} or {scope}:{model}"
    return ForbiddenError(
        f"this call needs the scope {wanted}, which the caller does not have; the owner of the stage "
        "grants scopes with the key (`laneway keys create --scope`), in the token, or to the signer's role"
    )


NOBODY: Final = Principal(DEFAULT_TENANT, "none", frozenset())
"""A call without a verdict: it may do nothing that needs a scope."""


def read_scopes(text: str) -> frozenset[str]:
    """The scopes of a context or a claim, with those that they include; other words are not ours."""
    return with_included(word for word in text.split() if _SCOPE.fullmatch(word))


def check_scopes(scopes: Iterable[str]) -> str:
    """Scopes as they are kept: sorted, with spaces between; `ValueError` for one that there is not."""
    asked = sorted(set(scopes))
    for scope in asked:
        if not _SCOPE.fullmatch(scope):
            raise ValueError(
                f"{scope!r} is no scope; there are {', '.join(SCOPES)}, each also for one model: "
                "infer:my-model"
            )
    return " ".join(asked)


def with_included(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes and those that `admin`, or `admin` of a model, includes."""
    granted = set(scopes)
    for scope in tuple(granted):
        name, colon, model = scope.partition(":")
        if name == ADMIN:
            granted.update(f"{included}{colon}{model}" for included in SCOPES)
    return frozenset(granted)


def write_verdict(principal: Principal, *, key_id: str = "") -> dict[str, str]:
    """The authorizer's context from which `principal_of` reads the caller, all of it text.

    A digest of the members is one of them: by this one string a function finds the caller it has
    seen before, where hashing every member would cost each request more.
    """
    verdict = {
        "tenant": principal.tenant,
        "principal": principal.name,
        "scopes": " ".join(sorted(principal.scopes)),
        "limits": principal.limits,
    }
    if key_id:
        verdict["key_id"] = key_id
    if principal.expires_at is not None:
        verdict["expires_at"] = f"{principal.expires_at:.0f}"
    digest = hashlib.sha256("\n".join(f"{k}={v}" for k, v in verdict.items()).encode())
    return {**verdict, _DIGEST: digest.hexdigest()[:32]}


class Signers:
    """What callers known to AWS IAM may do: `grants` has scopes by `role/<name>` and `user/<name>`.

    A name may have `*` for any characters; who is under several names has the scopes of all of them, and who is
    under none has none. Without any grants everybody has `DEFAULT_SCOPES`.
    """

    def __init__(self, grants: Mapping[str, str] | None = None) -> None:
        self._grants = [
            (re.compile(".*".join(map(re.escape, name.split("*")))), read_scopes(scopes))
            for name, scopes in (grants or {}).items()
        ]
        self._everybody = frozenset() if grants else read_scopes(DEFAULT_SCOPES)
        self._kept: dict[str, Principal] = {}

    def principal(self, arn: str) -> Principal:
        """The caller that AWS IAM knows by this ARN."""
        found = self._kept.get(arn)
        if found is None:
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            known = principal_of_arn(arn)
            found = self._kept[arn] = replace(known, scopes=self._scopes(known.name))
        return found

    def _scopes(self, name: str) -> frozenset[str]:
        """Of `iam:<ARN without session>`: a path is no part of who somebody is, and a role's is not told."""
        kind, _, rest = name.split(":", 6)[6].partition("/")
        caller = f"{_KINDS.get(kind, kind)}/{rest.rpartition('/')[2]}"
        return self._everybody.union(
            *(scopes for pattern, scopes in self._grants if pattern.fullmatch(caller))
        )


_KINDS: Final = {"assumed-role": "role"}


def principal_of(event: Mapping[str, Any], signers: Signers | None = None) -> Principal:
    """Who makes the call of this event; `NOBODY` where no authorizer was asked.

    `signers`: what callers known to AWS IAM may do. Raises `UnauthorizedError` for a proof that expired while
    the gateway kept its verdict.
    """
    authorizer = event["requestContext"].get("authorizer")
    if authorizer is None:
        return NOBODY
    verdict = authorizer.get("lambda")
    if verdict is None:
        arn = (authorizer.get("iam") or {}).get("userArn")
        return (signers or _ANY_SIGNER).principal(arn) if arn else NOBODY
    seen = verdict.get(_DIGEST) or tuple(verdict.items())
    principal = _kept.get(seen)
    if principal is None:
        principal = _keep(seen, _of_verdict(verdict))
    if principal.expires_at is not None and time.time() >= principal.expires_at:
        raise UnauthorizedError("the token has expired; get a new one")
    return principal


_ANY_SIGNER: Final = Signers()
_kept: Final[dict[Any, Principal]] = {}


def _keep(seen: Any, principal: Principal) -> Principal:
    if len(_kept) >= _KEPT_MAX:
        _kept.clear()
    _kept[seen] = principal
    return principal


def _of_verdict(verdict: Mapping[str, str]) -> Principal:
    expires_at = verdict.get("expires_at")
    return Principal(
        verdict.get("tenant", DEFAULT_TENANT),
        verdict.get("principal", "none"),
        read_scopes(verdict.get("scopes", "")),
        verdict.get("limits", ""),
        float(expires_at) if expires_at else None,
    )


def principal_of_arn(arn: str) -> Principal:
    """The caller that AWS IAM knows by this ARN; all sessions of a role are one.

    The tenant is `iam.<account>.<kind>.<name>` and not the ARN, whose slashes and colons separate
    parts of keys and prefixes; a name that holds more than a tenant may is told by its digest.
    """
    _, _, _, _, account, resource = arn.split(":", 5)
    kind, _, rest = resource.partition("/")
    if kind == "assumed-role":
        role = rest.partition("/")[0]
        name = f"iam:{arn.removesuffix(resource)}{kind}/{role}"
        return _signer(_iam_tenant(account, "role", role), name)
    # A path is no part of a user's identity, and names are unique in an account whatever it is.
    tenant = _iam_tenant(account, kind, rest.rpartition("/")[2])
    return _signer(tenant, f"iam:{arn}")


def _signer(tenant: str, name: str) -> Principal:
    return Principal(tenant, name, read_scopes(DEFAULT_SCOPES), LOOK_UP)


def _iam_tenant(account: str, kind: str, name: str) -> str:
    tenant = ".".join(("iam", account, kind, name) if name else ("iam", account, kind))
    if TENANT.fullmatch(tenant) and not name.startswith(_HASHED):
        return tenant
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"iam.{account}.{kind}.{_HASHED}{digest}"
