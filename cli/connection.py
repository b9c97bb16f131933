"""The options that say which service a command calls and as whom, and the client made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cli.client import Laneway

EndpointOption = Annotated[
    str | None, typer.Option(envvar="LANEWAY_ENDPOINT", help="Default: the local service.")
]
ApiKeyOption = Annotated[
    str | None, typer.Option(envvar="LANEWAY_API_KEY", help="Better kept in the environment.")
]
IamOption = Annotated[
    bool, typer.Option("--iam", help="Sign with the AWS identity of this machine.")
]
IamRegionOption = Annotated[str | None, typer.Option("--region", help="AWS region, for --iam.")]
TimeoutOption = Annotated[float, typer.Option(help="Longest wait for the service.")]

JobArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]


def connect(
    endpoint: str | None,
    *,
    api_key: str | None,
    iam: bool,
    region: str | None,
    timeout_s: float = 60.0,
) -> Laneway:
    """A client of the service that the options name; the caller closes it."""
    from cli.client import Laneway

    return Laneway(
        endpoint, api_key=None if iam else api_key, iam=iam, region=region, timeout_s=timeout_s
    )
