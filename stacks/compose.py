"""Composes the stacks of a stage in the order in which they are deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import App, Tags

from stacks.audit import AuditStack
from stacks.encryption import encrypt
from stacks.errors import SynthError
from stacks.fleet import FleetStack
from stacks.ingress import IngressStack
from stacks.jobs import JobsStack
from stacks.key import KeyStack
from stacks.local import drop_refused
from stacks.observability import ObservabilityStack
from stacks.pools import PoolsStack
from stacks.queues import QueuesStack
from stacks.storage import StorageStack

if TYPE_CHECKING:
    from aws_cdk import Stack

    from stacks.deployment import Deployment


def new_app() -> App:
    """An app that reads its context from the command line and `cdk.json`."""
    return App()


def synthesize(app: App) -> None:
    """Write the templates; raises `SynthError` for a stack of more resources than CloudFormation takes."""
    try:
        app.synth()
    except RuntimeError as error:
        if "TooManyResourcesInStack" not in str(error):
            raise
        facts = str(error).partition(": ")[2] or str(error)
        raise SynthError(
            f"{facts}. What grows are the pools, and a stage holds about 25: join some of them, or "
            "deploy a part of the models as another stage with its own folder (-c models=...)"
        ) from error


def compose(app: App, deployment: Deployment) -> None:
    """Add every stack of the deployment to the app."""
    stage = deployment.stage
    queues = QueuesStack(app, deployment=deployment)
    storage = StorageStack(app, stage=stage)
    storage.add_stack_dependency(queues)
    pools = PoolsStack(app, deployment=deployment)
    pools.add_stack_dependency(storage)
    ingress = IngressStack(app, deployment=deployment, keys_table=storage.keys_table)
    ingress.add_stack_dependency(pools)
    jobs = JobsStack(app, deployment=deployment, public_url=ingress.public_url)
    jobs.add_stack_dependency(ingress)
    last: Stack = jobs
    if deployment.has_fleet:
        last = FleetStack(app, deployment=deployment)
        last.add_stack_dependency(jobs)
    api_id, *signed = (http.api.api_id for http in ingress.apis)
    watch = ObservabilityStack(
        app, deployment=deployment, api_id=api_id, signed_api_id=signed[0] if signed else None
    )
    watch.add_stack_dependency(ingress)
    audit = AuditStack(app, deployment=deployment)
    audit.add_stack_dependency(last)
    if stage.customer_key:
        encrypt(app, KeyStack(app, stage=stage).key)
    if stage.emulated:
        drop_refused(app)
    Tags.of(app).add("laneway-stage", stage.name)
