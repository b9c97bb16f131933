"""`laneway webhooks`: the secrets that sign a tenant's webhooks.

A receiver verifies with them, so unlike an API key a secret can be shown again.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import answer, answer_table, say
from cli.stages import LOCAL, RegionOption, StageOption, aws_client, explained, own_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.jobs.webhook_secrets import SecretStore

app = typer.Typer(no_args_is_help=True, help="Sign the webhooks that a stage sends.")
secret = typer.Typer(no_args_is_help=True, help="Create, rotate and show signing secrets.")
app.add_typer(secret, name="secret")

_TENANT = re.compile(r"[A-Za-z0-9_.:@=+-]{1,128}")


def _tenant(value: str) -> str:
    if not _TENANT.fullmatch(value):
        raise typer.BadParameter(
            "use 1 to 128 letters, digits and '_', '.', ':', '@', '=', '+', '-'"
        )
    return value


TenantOption = Annotated[
    str, typer.Option(callback=_tenant, help="Whose webhooks the secret signs.")
]


@secret.command()
def create(
    tenant: TenantOption = "default", stage: StageOption = LOCAL, region: RegionOption = None
) -> None:
    """Make a tenant's first secret; stdout gets the secret alone."""
    from shared.jobs.webhook_secrets import create_secret

    with secret_store(stage, region, writes=True) as store:
        made = create_secret(store, tenant)
    say(f"webhooks of tenant {tenant} in stage {stage} are signed from now on with:")
    answer(made.value)


@secret.command()
def rotate(
    tenant: TenantOption = "default", stage: StageOption = LOCAL, region: RegionOption = None
) -> None:
    """Make a new secret; until `retire` or the next `rotate` the one before it signs too."""
    from shared.jobs.webhook_secrets import rotate_secret

    with secret_store(stage, region, writes=True) as store:
        made = rotate_secret(store, tenant)
    say(
        f"within a minute webhooks of tenant {tenant} carry two signatures; when every receiver has "
        "the new secret: laneway webhooks secret retire"
    )
    answer(made.value)


@secret.command()
def retire(
    tenant: TenantOption = "default", stage: StageOption = LOCAL, region: RegionOption = None
) -> None:
    """Stop signing with the secret before the newest."""
    from shared.jobs.webhook_secrets import retire_secret

    with secret_store(stage, region, writes=True) as store:
        retire_secret(store, tenant)
    say(f"within a minute webhooks of tenant {tenant} are signed with the newest secret alone")


@secret.command()
def show(
    tenant: TenantOption = "default", stage: StageOption = LOCAL, region: RegionOption = None
) -> None:
    """Show the active secrets of a tenant, newest first."""
    with secret_store(stage, region) as store:
        active = store.get(tenant)
    if not active:
        say(
            f"tenant {tenant} has no signing secret in stage {stage}; make one with: "
            f"laneway webhooks secret create --tenant {tenant} --stage {stage}"
        )
        return
    answer_table(("secret", "created"), [(item.value, item.created_at) for item in active])


@contextmanager
def secret_store(stage: str, region: str | None, *, writes: bool = False) -> Iterator[SecretStore]:
    """The stage's signing secrets; what AWS refuses meanwhile becomes a message with the way out.

    `writes`: new values are encrypted with the stage's own key, where it has one.
    """
    from cli.audited import open_audit
    from cli.audited_stores import AuditedSecrets
    from shared.jobs.webhook_secrets import SsmSecretStore

    key = own_key(stage, region) if writes else ""
    with explained("signing secrets", stage):
        store = SsmSecretStore(aws_client("ssm", stage, region), stage=stage, key=key)
        yield AuditedSecrets(store, open_audit(stage, region))
