"""`laneway docs`: the API's description and the page to try it, from this machine, for any stage."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.output import CommandError, answer, say
from cli.stages import LOCAL, RegionOption, StageOption

if TYPE_CHECKING:
    from cli.docs_server import DocsServer, Site


def docs(
    *,
    stage: StageOption = LOCAL,
    endpoint: Annotated[
        str | None,
        typer.Option(envvar="LANEWAY_ENDPOINT", help="Where calls go; default: the stage's."),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="LANEWAY_API_KEY", help="Better kept in the environment.")
    ] = None,
    iam: Annotated[
        bool, typer.Option("--iam", help="Sign with the AWS identity of this machine.")
    ] = False,
    region: RegionOption = None,
    models: Annotated[
        Path, typer.Option(envvar="LANEWAY_MODELS", help="The folder of models to describe.")
    ] = Path("models"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")
    ] = 0,
) -> None:
    """Serve the API's description and a page to try it, until Ctrl-C."""
    from cli.docs_server import DocsServer

    if endpoint is None and stage != LOCAL:
        from cli.stages import endpoint as endpoint_of

        endpoint = endpoint_of(stage, region)
    site = _site(models, endpoint=endpoint, api_key=api_key, iam=iam, region=region)
    try:
        server = DocsServer(site, port=port)
    except OSError as error:
        raise CommandError(
            f"port {port} of 127.0.0.1 cannot be used ({error.strerror}): choose another with --port"
        ) from error
    _serve(server, site)


def _site(
    models: Path, *, endpoint: str | None, api_key: str | None, iam: bool, region: str | None
) -> Site:
    """The page and the description of the local model repository, and the calls' target."""
    from cli.client.auth import auth_of
    from cli.client.settings import resolve_target
    from cli.docs_server import Site
    from shared.catalog import parse_catalog
    from shared.repository import compile_catalog, read_repository
    from shared.schema.docs_page import docs_headers, docs_html
    from shared.schema.examples import golden_requests
    from shared.schema.openapi import build_openapi

    catalog = parse_catalog(compile_catalog(read_repository(models)))
    target = resolve_target(endpoint, api_key)
    return Site(
        page=docs_html(),
        page_headers=docs_headers(),
        openapi=build_openapi(catalog, examples=golden_requests(models)),
        endpoint=target.endpoint,
        auth=auth_of(target, iam=iam, region=region),
    )


def _serve(server: DocsServer, site: Site) -> None:
    signal.signal(signal.SIGTERM, _stop)
    try:
        answer(f"http://127.0.0.1:{server.port}/docs")
        say(f"calls go to {site.endpoint}; stop with Ctrl-C")
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.server_close()


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt
