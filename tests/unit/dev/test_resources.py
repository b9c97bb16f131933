"""Which workers a local stage needs, and what dev.json says of its queues."""

from __future__ import annotations

import dataclasses

import pytest

from cli.dev.resources import Told, describe_resources, workers_wanted
from shared.repository import read_repository
from shared.settings.jobs import JobSettings
from tests.fixtures.small_models import write_repository

SQS = "http://127.0.0.1:1/100000000001/laneway-local"
ON_SQS = Told(
    JobSettings(
        stage="local",
        jobs_table="jobs",
        bucket="b",
        queues={
            "shared": {kind: f"{SQS}-shared-{kind}" for kind in ("async", "batch", "chunks")},
            "other": {
                kind: f"{SQS}-other-{kind}"
                for kind in ("async-high", "async", "batch-high", "batch", "chunks")
            },
        },
    ),
    webhooks_queue=f"{SQS}-webhooks",
)


@pytest.fixture
def repository(tmp_path):
    """Pool `other` runs on a gpu."""
    write_repository(tmp_path)
    gpu = 'pool = "other"\ncompute = "gpu"\nlatency_classes = ["async", "batch"]\n'
    for path in tmp_path.glob("*/model.toml"):
        lines = path.read_text().splitlines()
        if 'pool = "other"' in lines:
            version = next(line for line in lines if line.startswith("default_version"))
            path.write_text(gpu + version)
    return read_repository(tmp_path)


def in_rabbitmq(told):
    named = {
        pool: {
            kind: url if kind == "chunks" else url.rpartition("/")[2] for kind, url in urls.items()
        }
        for pool, urls in told.jobs.queues.items()
    }
    return dataclasses.replace(
        told, jobs=dataclasses.replace(told.jobs, queues=named, broker="rabbitmq")
    )


def test_on_sqs_only_pools_on_a_gpu_have_a_worker(repository):
    [(pool, settings)] = workers_wanted(ON_SQS, repository, amqp_url="").items()

    assert pool == settings.pool == "other"
    assert settings.queues == ON_SQS.jobs.queues
    assert settings.dead_letters["async-high"] == f"{SQS}-other-async-high-dlq"
    assert settings.webhooks_queue == f"{SQS}-webhooks"
    assert set(settings.models_elsewhere) == {"shared"}
    assert settings.platform == "local"


def test_over_rabbitmq_every_pool_has_one_and_functions_keep_the_chunks_of_cpu_pools(repository):
    wanted = workers_wanted(in_rabbitmq(ON_SQS), repository, amqp_url="amqp://here")

    assert set(wanted) == {"shared", "other"}
    assert "chunks" not in wanted["shared"].queues["shared"]
    assert "chunks" in wanted["other"].queues["other"]
    assert wanted["shared"].dead_letters["async"] == "laneway-local-shared-async-dead"
    assert wanted["other"].dead_letters["chunks"] == f"{SQS}-other-chunks-dlq"
    assert {settings.amqp_url for settings in wanted.values()} == {"amqp://here"}


def test_dev_json_names_the_default_pools_queues_by_class_and_others_by_pool_and_queue():
    queues = describe_resources(ON_SQS)["queues"]

    assert queues["async"] == f"{SQS}-shared-async"
    assert queues["other/async-high"] == f"{SQS}-other-async-high"
    assert not [name for name in queues if name.endswith("chunks")]
