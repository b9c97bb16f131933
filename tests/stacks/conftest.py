"""Synthesizes each stage once per session, with stub folders for assets: nothing is built here."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import stacks  # noqa: F401 - before aws_cdk: it chooses the Node.js that the CDK starts
from shared.repository import ModelEntry, Repository, read_repository
from shared.schema.spec import ModelSpec, PoolSpec, ProvisionedWarm, WarmSchedule
from stacks.deployment import Deployment
from stacks.fleet_lane import Fleet, Gpus, RabbitMQ
from stacks.packaging import Asset, Assets
from stacks.stages import STAGES, Stage
from tests.fixtures.small_models import _scale, write_model

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[2]
CONCERNS = (
    "key",
    "storage",
    "queues",
    "pools",
    "ingress",
    "jobs",
    "fleet",
    "observability",
    "audit",
)

BROKER = RabbitMQ(
    secret_arn="arn:aws:secretsmanager:eu-west-1:111122223333:secret:broker-AbCdEf",
    vpc_id="vpc-0123456789abcdef0",
    subnets=("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
    security_group="sg-0123456789abcdef0",
)
ON_RABBITMQ = replace(STAGES["dev"], broker="rabbitmq", rabbitmq=BROKER, fleet=Fleet())

Resource = dict[str, Any]


@dataclass(frozen=True)
class Synthesized:
    """What synthesis of one stage wrote."""

    folder: Path
    stage: Stage
    error: str | None

    @cached_property
    def templates(self) -> dict[str, dict[str, Any]]:
        return {
            concern: json.loads(path.read_bytes())
            for concern in CONCERNS
            if (path := self.folder / f"laneway-{self.stage.name}-{concern}.template.json").exists()
        }

    @cached_property
    def findings(self) -> list[tuple[str, str]]:
        """Rule and construct of everything that the checks found."""
        report = json.loads((self.folder / "validation-report.json").read_bytes())
        return [
            (violation["ruleName"], construct["constructPath"])
            for plugin in report["pluginReports"]
            for violation in plugin["violations"]
            for construct in violation["violatingConstructs"]
        ]

    def resources(self, type_: str) -> dict[str, Resource]:
        """Resources of a type in all stacks, by logical id."""
        return {
            name: resource
            for template in self.templates.values()
            for name, resource in template["Resources"].items()
            if resource["Type"] == type_
        }

    def properties(self, type_: str) -> list[Resource]:
        """Their properties alone."""
        return [resource.get("Properties", {}) for resource in self.resources(type_).values()]

    def types(self) -> set[str]:
        return {
            resource["Type"]
            for template in self.templates.values()
            for resource in template["Resources"].values()
        }


def model_entry(folder: Path, name: str, **spec: Any) -> ModelEntry:
    return ModelEntry(
        name=name, folder=folder, spec=ModelSpec(default_version="1", **spec), manifests={}
    )


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Two pools, one of them warm by pools.toml; three models, one of them not realtime."""
    folder = tmp_path_factory.mktemp("models")
    warm = ProvisionedWarm(
        min=2, max=5, schedule=(WarmSchedule(cron="0 8 * * MON-FRI", min=3, max=9),)
    )
    return Repository(
        folder=folder,
        models={
            "iris": model_entry(folder, "iris", target_p99_ms=70),
            "text": model_entry(folder, "text", pool="hot"),
            "nightly": model_entry(folder, "nightly", pool="hot", latency_classes=("batch",)),
        },
        pools={"shared": PoolSpec(), "hot": PoolSpec(warm=warm, timeout_s=20)},
    )


@pytest.fixture(scope="session")
def with_gpu(repository: Repository) -> Repository:
    """The same, and a pool of one model on a gpu."""
    heavy = model_entry(
        repository.folder,
        "heavy",
        pool="heavy",
        compute="gpu",
        latency_classes=("async", "batch"),
        target_p99_ms=500,
    )
    return replace(
        repository,
        models={**repository.models, "heavy": heavy},
        pools={**repository.pools, "heavy": PoolSpec()},
    )


@pytest.fixture(scope="session")
def running_models(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Models by the names that the synthesized stage has, which are graphs that run."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "pools.toml").write_text("[shared]\n\n[hot]\n\n[heavy]\n")
    tensors = {"x": ("FP32", [-1, 2]), "y": ("FP32", [-1, 2])}
    later = '["async", "batch"]'
    placed = {
        "iris": {},
        "text": {"pool": "hot"},
        "nightly": {"pool": "hot", "classes": '["batch"]'},
        "heavy": {"pool": "heavy", "classes": later},
    }
    for name, given in placed.items():
        write_model(folder, name, "1", _scale(2.0), **given, **tensors)
    spec = folder / "heavy" / "model.toml"
    spec.write_text(f'compute = "gpu"\n{spec.read_text()}')
    return read_repository(folder)


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Assets:
    folder = tmp_path_factory.mktemp("asset")
    (folder / "handler.py").write_text("")
    (folder / "Dockerfile").write_text("FROM scratch\n")
    stub = Asset(folder=folder, digest="0" * 32)
    return Assets(
        pools={"shared": stub, "hot": stub},
        ingress=stub,
        authorizer=stub,
        sweeper=stub,
        webhooks=stub,
        batch_splitter=stub,
        batch_finisher=stub,
        fleet_scaler=stub,
        deployments=stub,
        send=stub,
        images=dict.fromkeys(("shared", "hot", "heavy"), stub),
        onnx_runtime=stub,
        control=stub,
    )


@pytest.fixture(scope="session")
def synthesize(
    repository: Repository, assets: Assets, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Synthesized]:
    """Synthesizes a stage with the security checks on; `error` is what synthesis refused."""
    from aws_cdk import App, Validations  # noqa: PLC0415 - after `stacks`, which the sorter moves
    from cdk_nag import AwsSolutionsChecks, ServerlessChecks  # noqa: PLC0415 - as above

    from stacks.compose import compose  # noqa: PLC0415 - as above

    context = json.loads((PROJECT / "cdk.json").read_text())["context"]

    def run(stage: Stage, **changes: Any) -> Synthesized:
        folder = tmp_path_factory.mktemp(f"cdk-{stage.name}")
        app = App(context=context, outdir=str(folder), analytics_reporting=False)
        Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
        deployment = Deployment(stage=stage, repository=repository, assets=assets)
        compose(app, replace(deployment, **changes))
        error = None
        try:
            app.synth()
        except RuntimeError as failure:
            error = str(failure)
        return Synthesized(folder=folder, stage=stage, error=error)

    return run


@pytest.fixture(scope="session")
def prod(synthesize: Callable[..., Synthesized]) -> Synthesized:
    return synthesize(STAGES["prod"])


@pytest.fixture(scope="session")
def dev(synthesize: Callable[..., Synthesized]) -> Synthesized:
    return synthesize(STAGES["dev"])


@pytest.fixture(scope="session")
def local(synthesize: Callable[..., Synthesized]) -> Synthesized:
    return synthesize(STAGES["local"], emulator_url="http://127.0.0.1:4566")


@pytest.fixture(scope="session")
def gpu_prod(synthesize: Callable[..., Synthesized], with_gpu: Repository) -> Synthesized:
    return synthesize(STAGES["prod"], repository=with_gpu)


@pytest.fixture(scope="session")
def gpu_dev(synthesize: Callable[..., Synthesized], with_gpu: Repository) -> Synthesized:
    """A gpu fleet on TensorRT that reaches AWS through a NAT gateway, partly on demand."""
    gpus = Gpus(tensorrt=("heavy",))
    fleet = Fleet(way_out="nat", on_demand_base=1, on_demand_percent=25, max_workers=5, gpus=gpus)
    return synthesize(replace(STAGES["dev"], fleet=fleet), repository=with_gpu)


@pytest.fixture(scope="session")
def rabbit(synthesize: Callable[..., Synthesized], with_gpu: Repository) -> Synthesized:
    """Cpu pools and a gpu pool, whose jobs RabbitMQ carries."""
    return synthesize(ON_RABBITMQ, repository=with_gpu)


@pytest.fixture(scope="session")
def gpu_local(synthesize: Callable[..., Synthesized], with_gpu: Repository) -> Synthesized:
    return synthesize(STAGES["local"], repository=with_gpu, emulator_url="http://127.0.0.1:4566")


@pytest.fixture(params=["local", "dev", "prod"])
def every_stage(request: pytest.FixtureRequest) -> Synthesized:
    found: Synthesized = request.getfixturevalue(request.param)
    return found
