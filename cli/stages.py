"""A stage as the command line sees it: its AWS clients, and the names that its stacks give.

Stage `local` is the service of `make dev`, described by `.laneway/dev.json`; every other stage is
found with the AWS configuration of this machine.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.output import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL: Final = "local"

StageOption = Annotated[
    str, typer.Option(envvar="LANEWAY_STAGE", help="The deployment; local is `make dev`'s.")
]
RegionOption = Annotated[
    str | None, typer.Option(help="AWS region of the stage; default: the AWS configuration's.")
]


def keys_table(stage: str) -> str:
    """The table of the stage's API keys."""
    if stage != LOCAL:
        return f"laneway-{stage}-keys"
    with _needing_local_service():
        return str(_dev_file()["tables"]["keys"])


def tenants_table(stage: str) -> str:
    """The table of the stage's tenants that have limits of their own."""
    if stage != LOCAL:
        return f"laneway-{stage}-tenants"
    with _needing_local_service():
        return str(_dev_file()["tables"]["tenants"])


def broker_url(stage: str) -> str:
    """URL of the RabbitMQ of the local service, where it carries jobs; empty of other stages."""
    if stage != LOCAL:
        return ""
    with _needing_local_service():
        return str(_dev_file().get("broker", {}).get("url", ""))


def endpoint(stage: str, region: str | None) -> str:
    """Where a deployed stage answers, as its ingress stack says."""
    stack = f"laneway-{stage}-ingress"
    with explained(stack, stage):
        client = aws_client("cloudformation", stage, region)
        (described,) = client.describe_stacks(StackName=stack)["Stacks"]
    outputs = {item["OutputKey"]: item["OutputValue"] for item in described.get("Outputs", [])}
    if "Endpoint" not in outputs:
        raise CommandError(f"the stack {stack} has no output Endpoint: deploy the stage again")
    return str(outputs["Endpoint"])


def own_key(stage: str, region: str | None) -> str:
    """The alias of the stage's own key; empty where it has none."""
    alias = f"alias/laneway-{stage}"
    if stage == LOCAL:
        return ""
    with explained(alias, stage):
        client = aws_client("kms", stage, region)
        try:
            client.describe_key(KeyId=alias)
        except client.exceptions.NotFoundException:
            return ""
    return alias


def aws_client(service: str, stage: str, region: str | None) -> Any:
    """A boto3 client for the stage's account; for stage `local`, of the emulator of `make dev`."""
    import boto3

    if stage == LOCAL:
        return _local_client(service)
    return boto3.client(service, region_name=region)  # type: ignore[call-overload]  # any service


def _local_client(service: str) -> Any:
    """Sends to the emulator alone, and reads no AWS configuration of the machine."""
    import boto3
    from botocore.session import Session

    nothing = (None, None, os.devnull, None)  # no variable of the environment, and an empty file
    unconfigured = {"config_file": nothing, "credentials_file": nothing, "profile": (None,) * 4}
    with _needing_local_service():
        aws = _dev_file()["aws"]
        session = boto3.Session(
            aws_access_key_id=aws["access_key_id"],
            aws_secret_access_key=aws["secret_access_key"],
            region_name=aws["region"],
            botocore_session=Session(session_vars=unconfigured),
        )
        return session.client(service, endpoint_url=aws["endpoint_url"])  # type: ignore[call-overload]  # any service


@contextmanager
def explained(resource: str, stage: str) -> Iterator[None]:
    """Turns what AWS refuses of a stage's resource into a message with the way out."""
    from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

    try:
        yield
    except ClientError as error:
        raise CommandError(_explain(error, resource, stage)) from error
    except NoRegionError as error:
        raise CommandError(
            f"cannot ask AWS for {resource}: nothing says in which region; name it with --region or AWS_REGION"
        ) from error
    except BotoCoreError as error:
        raise CommandError(f"cannot ask AWS for {resource}: {error}") from error


def _explain(error: Any, resource: str, stage: str) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code == "ResourceNotFoundException" or "does not exist" in str(error):
        return (
            f"there is no {resource} in this account and region: deploy the stage with "
            f"`make deploy STAGE={stage}`, or name another with --stage or --region"
        )
    return f"AWS refused the call on {resource}: {error}"


def _dev_file() -> dict[str, Any]:
    from cli.client.settings import read_dev_file

    return read_dev_file()


@contextmanager
def _needing_local_service() -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise CommandError(
            "the local service is not running here: start it with `make dev`, or name a deployed "
            "stage with --stage"
        ) from error
