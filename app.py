"""The CDK's entry: reads which stage and which models, and composes the stacks.

`cdk deploy --all -c stage=prod -c models=path/to/models`; stage is `dev` and models `models` unless said.
`-c keep_data=false` lifts what protects a stage's data, so that it can be destroyed whole.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from shared.repository import RepositoryError, read_repository
from stacks.compose import compose, new_app, synthesize
from stacks.deployment import Deployment
from stacks.errors import SynthError
from stacks.packaging import BuildContext, build_assets
from stacks.packaging.admission import admit
from stacks.stages import stage_of


def main() -> None:
    """Synthesize the stage."""
    app = new_app()
    stage = stage_of(app.node.try_get_context("stage") or "dev")
    if app.node.try_get_context("keep_data") == "false":  # `make destroy` lifts the protection
        stage = dataclasses.replace(stage, keep_data=False)
    if stage.emulated and app.node.try_get_context("broker"):  # `make dev BROKER=rabbitmq`
        stage = dataclasses.replace(stage, broker=app.node.try_get_context("broker"))
    repository = read_repository(Path(app.node.try_get_context("models") or "models"))
    context = BuildContext(architecture=stage.architecture)
    assets = build_assets(repository, context, stage=stage)
    admit(repository, kept=context.root / "admission")
    deployment = Deployment(
        stage=stage,
        repository=repository,
        assets=assets,
        emulator_url=app.node.try_get_context("emulator_url"),
        webhook_ca_file=app.node.try_get_context("webhook_ca_file"),
    )
    compose(app, deployment)
    synthesize(app)


if __name__ == "__main__":
    try:
        main()
    except (RepositoryError, SynthError) as error:
        sys.exit(f"laneway: {error}")
