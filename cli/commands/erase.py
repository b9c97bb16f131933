"""`laneway erase`: remove all that a stage keeps of one tenant. The audit keeps that it happened."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import answer_table, console, say
from cli.stages import LOCAL, RegionOption, StageOption, aws_client

if TYPE_CHECKING:
    from collections import Counter

    from cli.stage_jobs import StageJobs


def _tenant(value: str) -> str:
    from shared.principal import TENANT

    if not TENANT.fullmatch(value):
        raise typer.BadParameter(
            "that is no tenant's name: 1 to 128 letters, digits, '.', '_', '-'"
        )
    return value


def erase(
    *,
    tenant: Annotated[str, typer.Option(callback=_tenant, help="Whose data goes.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    stage: StageOption = LOCAL,
    region: RegionOption = None,
) -> None:
    """Cancel a tenant's jobs and batches, and remove them with inputs, results, uploads and secrets.

    All versions of objects go too, and the tenant's dead letters. May be stopped and started again. Keys, logs, the audit and
    backups of the tables stay; docs/operations.md says for how long.
    """
    from cli.audited import open_audit
    from cli.commands.keys import working_keys
    from cli.stage_jobs import open_stage

    with open_stage(stage, region) as opened:
        for key_id in working_keys(tenant, stage, region):
            say(
                f"key {key_id} of tenant {tenant} still works, and stays; revoke it first with: "
                f"laneway keys revoke {key_id} --stage {stage}"
            )
        if not yes:
            typer.confirm(
                f"Remove everything that stage {stage} keeps of tenant {tenant}? It cannot be undone",
                abort=True,
                err=True,
            )
        with open_audit(stage, region).act("erase", tenant=tenant):
            removed = _erased(opened, tenant, stage, region)
    if not removed:
        say(f"stage {stage} keeps nothing of tenant {tenant}")
        return
    answer_table(("removed", "count"), [(kind, str(count)) for kind, count in removed.items()])


def _erased(opened: StageJobs, tenant: str, stage: str, region: str | None) -> Counter[str]:
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from cli.erasing.erasure import Erasure, Kept
    from cli.tenant_letters import erase_letters
    from shared.jobs.clock import system_clock
    from shared.jobs.webhook_secrets import SsmSecretStore

    kept = Kept(
        dynamodb=aws_client("dynamodb", stage, region),
        s3=aws_client("s3", stage, region),
        secrets=SsmSecretStore(aws_client("ssm", stage, region), stage=stage),
        jobs_table=opened.settings.jobs_table,
        batches_table=opened.settings.batches_table,
        bucket=opened.settings.bucket,
    )
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:.0f}"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("removed", total=None)
        erasure = Erasure(
            kept,
            tenant=tenant,
            clock=system_clock,
            sleep=time.sleep,
            told=lambda _, count: progress.advance(task, count),
        )
        removed = erasure.run()
        removed["dead letters"] = erase_letters(opened, tenant)
    return +removed
