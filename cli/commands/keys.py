"""`laneway keys`: API keys of a stage. A key is shown once, when it is made; its SHA-256 is kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import CommandError, answer, answer_table, say
from cli.stages import LOCAL, RegionOption, StageOption, aws_client, explained, keys_table
from shared.principal import TENANT, check_scopes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.keys import KeyStore

app = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke API keys of a stage.")


def _tenant(value: str) -> str:
    if not TENANT.fullmatch(value):
        raise typer.BadParameter(
            "use 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first"
        )
    return value


def _scopes(values: list[str]) -> list[str]:
    words = [word for value in values for word in value.replace(",", " ").split()]
    try:
        check_scopes(words)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return words


@app.command()
def create(
    tenant: Annotated[
        str, typer.Option(callback=_tenant, help="Whom the key's requests belong to.")
    ] = "default",
    name: Annotated[str, typer.Option(help="A word for people, to tell keys apart.")] = "",
    scope: Annotated[
        list[str],
        typer.Option(
            callback=_scopes,
            help="infer, submit, read or admin, for one model as infer:my-model; may be repeated. "
            "Default: all but admin.",
        ),
    ] = [],  # noqa: B006  typer reads the default and makes a list of its own
    stage: StageOption = LOCAL,
    region: RegionOption = None,
) -> None:
    """Make a key; stdout gets the key alone, this once."""
    from shared.keys import create_key

    with key_store(stage, region) as store:
        secret, key = create_key(store, tenant=tenant, name=name, scopes=scope)
    say(
        f"key {key.key_id} of tenant {key.tenant} in stage {stage}, for {key.scopes}; "
        "it is shown only now:"
    )
    answer(secret)


@app.command("list")
def list_(stage: StageOption = LOCAL, region: RegionOption = None) -> None:
    """Show every key of the stage, revoked ones too, oldest first."""
    from shared.keys import list_keys

    with key_store(stage, region) as store:
        keys = list_keys(store)
    if not keys:
        say(f"stage {stage} has no key; make one with: laneway keys create --stage {stage}")
        return
    answer_table(
        ("key id", "tenant", "name", "scopes", "created", "revoked"),
        [(k.key_id, k.tenant, k.name, k.scopes, k.created_at, k.revoked_at or "") for k in keys],
    )


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="The id, as `laneway keys list` shows it.")],
    now: Annotated[
        bool, typer.Option("--now", help="Revoke the old key in the same step.")
    ] = False,
    stage: StageOption = LOCAL,
    region: RegionOption = None,
) -> None:
    """Make a key with the tenant, name and scopes of another; stdout gets the key alone, this once."""
    from shared.keys import rotate_key

    with key_store(stage, region) as store:
        secret, key, old = rotate_key(store, key_id, now=now)
    until = "is revoked" if now else f"works until `laneway keys revoke {old.key_id}`"
    say(f"key {key.key_id} of tenant {key.tenant} in stage {stage}, for {key.scopes};")
    say(f"the old key {old.key_id} {until}. The new one is shown only now:")
    answer(secret)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id, as `laneway keys list` shows it.")],
    stage: StageOption = LOCAL,
    region: RegionOption = None,
) -> None:
    """Revoke a key; the gateway may accept it for as long as it keeps the authorizer's answers."""
    from shared.keys import revoke_key

    with key_store(stage, region) as store:
        key = revoke_key(store, key_id)
    say(f"key {key.key_id} of tenant {key.tenant} is revoked since {key.revoked_at}")


@contextmanager
def key_store(stage: str, region: str | None) -> Iterator[KeyStore]:
    """The stage's keys, whose changes are recorded; what AWS refuses meanwhile becomes a message with the way out."""
    from cli.audited import open_audit
    from cli.audited_stores import AuditedKeys
    from shared.keys_dynamodb import DynamoKeyStore

    table = keys_table(stage)
    with explained(table, stage):
        store = DynamoKeyStore(aws_client("dynamodb", stage, region), table=table)
        yield AuditedKeys(store, open_audit(stage, region))


def working_keys(tenant: str, stage: str, region: str | None) -> list[str]:
    """Ids of the tenant's keys that are not revoked; none where this machine may not look, or the stage has no keys."""
    from shared.keys import list_keys

    try:
        with key_store(stage, region) as store:
            keys = list_keys(store)
    except CommandError:
        return []
    return [key.key_id for key in keys if key.tenant == tenant and not key.revoked_at]
