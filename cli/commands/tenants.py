"""`laneway tenants`: what the tenants of a stage may ask for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.output import CommandError, answer, answer_table, say
from cli.stages import LOCAL, RegionOption, StageOption, aws_client, explained, tenants_table
from shared.principal import TENANT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.limiting.tenants import TenantStore

app = typer.Typer(no_args_is_help=True, help="List, show and set the limits of tenants.")

UNLIMITED: Final = "none"
STAGE: Final = "stage"


def _tenant(value: str) -> str:
    if not TENANT.fullmatch(value):
        raise typer.BadParameter("no tenant has such a name")
    return value


_Tenant = Annotated[str, typer.Argument(callback=_tenant, help="As its keys or tokens name it.")]
_Limit = Annotated[str | None, typer.Option(metavar="NUMBER|none|stage")]


@app.command("list")
def list_(stage: StageOption = LOCAL, region: RegionOption = None) -> None:
    """Show every tenant that has limits of its own."""
    from shared.schema.tenants import MEMBERS

    with tenant_store(stage, region) as store:
        rows = store.all()
    if not rows:
        say(f"no tenant of stage {stage} has limits of its own; all have what the stage gives")
        return
    answer_table(
        ("tenant", *MEMBERS),
        [(row.tenant, *(_shown(row.limits, name) for name in MEMBERS)) for row in rows],
    )


@app.command()
def show(tenant: _Tenant, stage: StageOption = LOCAL, region: RegionOption = None) -> None:
    """Show one tenant's own limits; what is `stage` is what its stage gives to all."""
    from shared.schema.tenants import MEMBERS

    with tenant_store(stage, region) as store:
        row = store.get(tenant)
    limits = {} if row is None else row.limits
    for name in MEMBERS:
        answer(f"{name} {_shown(limits, name)}")


@app.command("set")
def set_(  # noqa: PLR0917  typer calls it by names
    tenant: _Tenant,
    requests_per_s: _Limit = None,
    burst: _Limit = None,
    concurrent_jobs: _Limit = None,
    bytes_per_day: _Limit = None,
    stage: StageOption = LOCAL,
    region: RegionOption = None,
) -> None:
    """Set limits: a number, `none` for no limit, `stage` for what the stage gives to all.

    What is not named stays. A limit holds from when the gateway asks the authorizer again, and for callers
    known to AWS IAM (tenants iam.ACCOUNT.role.NAME) within a minute.
    """
    from shared.limiting.tenants import TenantRow
    from shared.schema.tenants import NO_LIMITS, merged

    given = {
        "requests_per_s": requests_per_s,
        "burst": burst,
        "concurrent_jobs": concurrent_jobs,
        "bytes_per_day": bytes_per_day,
    }
    named = {name: text for name, text in given.items() if text is not None}
    if not named:
        raise CommandError("nothing to set: name a limit, such as --requests-per-s 20")
    with tenant_store(stage, region) as store:
        row = store.get(tenant)
        limits = _changed({} if row is None else dict(row.limits), named)
        try:
            merged(NO_LIMITS, limits)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if limits:
            store.put(TenantRow(tenant=tenant, limits=limits))
        else:
            store.remove(tenant)
    say(f"limits of tenant {tenant} in stage {stage} are set")


@contextmanager
def tenant_store(stage: str, region: str | None) -> Iterator[TenantStore]:
    """The stage's tenants; what AWS refuses meanwhile becomes a message with the way out."""
    from cli.audited import open_audit
    from cli.audited_stores import AuditedTenants
    from shared.limiting.tenants import DynamoTenantStore

    table = tenants_table(stage)
    with explained(table, stage):
        store = DynamoTenantStore(aws_client("dynamodb", stage, region), table=table)
        yield AuditedTenants(store, open_audit(stage, region))


def _changed(limits: dict[str, float | None], named: dict[str, str]) -> dict[str, float | None]:
    for name, text in named.items():
        if text == STAGE:
            limits.pop(name, None)
        else:
            limits[name] = None if text == UNLIMITED else _number(name, text)
    return limits


def _number(name: str, text: str) -> float:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        option = name.replace("_", "-")
        raise CommandError(
            f"--{option} should be a number, {UNLIMITED} or {STAGE}, not {text!r:.40}"
        ) from None


def _shown(limits: Any, name: str) -> str:
    if name not in limits:
        return STAGE
    value = limits[name]
    return UNLIMITED if value is None else f"{value}"
