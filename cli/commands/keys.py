"""`laneway keys`: API keys of a stage. A key is shown once, when it is made; its SHA-256 is kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import CommandError, answer, answer_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.keys import KeyStore

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys of a stage.")

Stage = Annotated[
    str, typer.Option(envvar="LANEWAY_STAGE", help="The deployment; local is `make dev`'s.")
]
Region = Annotated[
    str | None, typer.Option(help="AWS region of the stage; default: the AWS configuration's.")
]
LOCAL = "local"


@app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whom the key's jobs belong to.")] = "default",
    name: Annotated[str, typer.Option(help="A word for people, to tell keys apart.")] = "",
    stage: Stage = LOCAL,
    region: Region = None,
) -> None:
    """Make a key; stdout gets the key alone, this once."""
    from shared.keys import create_key

    with key_store(stage, region) as store:
        secret, key = create_key(store, tenant=tenant, name=name)
    say(f"key {key.key_id} of tenant {key.tenant} in stage {stage}; it is shown only now:")
    answer(secret)


@app.command("list")
def list_(stage: Stage = LOCAL, region: Region = None) -> None:
    """Show every key of the stage, revoked ones too, oldest first."""
    from shared.keys import list_keys

    with key_store(stage, region) as store:
        keys = list_keys(store)
    if not keys:
        say(f"stage {stage} has no key; make one with: laneway keys create --stage {stage}")
        return
    answer_table(
        ("key id", "tenant", "name", "created", "revoked"),
        [(k.key_id, k.tenant, k.name, k.created_at, k.revoked_at or "") for k in keys],
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id, as `laneway keys list` shows it.")],
    stage: Stage = LOCAL,
    region: Region = None,
) -> None:
    """Revoke a key; the gateway may accept it for as long as it keeps the authorizer's answers."""
    from shared.keys import revoke_key

    with key_store(stage, region) as store:
        key = revoke_key(store, key_id)
    say(f"key {key.key_id} of tenant {key.tenant} is revoked since {key.revoked_at}")


@contextmanager
def key_store(stage: str, region: str | None) -> Iterator[KeyStore]:
    """The stage's keys; what AWS refuses meanwhile becomes a message with the way out."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from shared.keys import DynamoKeyStore

    table, settings = _local_table() if stage == LOCAL else _deployed_table(stage, region)
    try:
        yield DynamoKeyStore(boto3.client("dynamodb", **settings), table=table)
    except ClientError as error:
        raise CommandError(_explain(error, table, stage)) from error
    except BotoCoreError as error:
        raise CommandError(f"cannot reach the table {table}: {error}") from error


def _deployed_table(stage: str, region: str | None) -> tuple[str, dict[str, Any]]:
    return f"laneway-{stage}-keys", {"region_name": region}


def _local_table() -> tuple[str, dict[str, Any]]:
    from cli.client.settings import read_dev_file

    dev = read_dev_file()
    try:
        aws, table = dev["aws"], dev["tables"]["keys"]
        return str(table), {
            "endpoint_url": aws["endpoint_url"],
            "aws_access_key_id": aws["access_key_id"],
            "aws_secret_access_key": aws["secret_access_key"],
            "region_name": aws["region"],
        }
    except KeyError as error:
        raise CommandError(
            "the local service is not running here: start it with `make dev`, or name a deployed "
            "stage with --stage"
        ) from error


def _explain(error: Any, table: str, stage: str) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code == "ResourceNotFoundException":
        return (
            f"there is no table {table} in this account and region: deploy the stage with "
            f"`make deploy STAGE={stage}`, or name another with --stage or --region"
        )
    return f"AWS refused the call on {table}: {error}"
