"""Queues and what consumes them: what would lose a message, deliver it twice at once, or let others in."""

from __future__ import annotations

import dataclasses
import json

import pytest
from aws_cdk import App, CfnWaitConditionHandle, Stack

import stacks  # noqa: F401 - before aws_cdk: it chooses the Node.js that the CDK starts
from shared.limits import (
    LAMBDA_ENVIRONMENT_BYTES,
    LAMBDA_SQS_VISIBILITY_TIMEOUTS,
    SQS_RETENTION_S_MAX,
)
from shared.settings.jobs import (
    BatchFinisherSettings,
    BatchSplitterSettings,
    IngressSettings,
    QueueWorkerSettings,
    SweeperSettings,
    WebhooksSettings,
)
from stacks import compose
from stacks.errors import StageError, SynthError
from stacks.queue_lane import Delivery, QueueLane
from stacks.stages import DEV
from tests.stacks.aws_words import ACCOUNT, REGION, allowed_to, listed, resolved
from tests.stacks.conftest import model_entry

POOLS = ("shared", "hot")
LOG_AND_TRACE = ("logs:", "xray:")


def queues(synthesized) -> dict[str, dict]:
    return {queue["QueueName"]: queue for queue in synthesized.properties("AWS::SQS::Queue")}


def sources(queues_of) -> dict[str, dict]:
    """Event source mappings by the name of the queue, with the function's properties inside."""
    functions = queues_of.resources("AWS::Lambda::Function")
    return {
        resolved(source["EventSourceArn"]).rpartition(":")[2]: {
            **source,
            "Function": functions[source["FunctionName"]["Ref"]]["Properties"],
        }
        for source in queues_of.properties("AWS::Lambda::EventSourceMapping")
    }


def environment(synthesized, function: str) -> dict[str, str]:
    (found,) = [
        item["Environment"]["Variables"]
        for item in synthesized.properties("AWS::Lambda::Function")
        if item.get("FunctionName") == function
    ]
    return {name: resolved(value) for name, value in found.items()}


def own_actions(synthesized, function: str) -> dict[str, set[str]]:
    allowed = allowed_to(synthesized, function)
    return {name: where for name, where in allowed.items() if not name.startswith(LOG_AND_TRACE)}


def test_every_pool_with_jobs_has_its_queues(prod) -> None:
    expected = {f"laneway-prod-{pool}-{kind}" for pool in POOLS for kind in KINDS}

    assert expected <= set(queues(prod))


KINDS = ("async", "batch", "chunks")


def test_every_queue_has_a_dead_letter_queue_that_outlives_what_is_moved_there(every_stage) -> None:
    logical = {
        name: queue["Properties"]["QueueName"]
        for name, queue in every_stage.resources("AWS::SQS::Queue").items()
    }
    for name, queue in queues(every_stage).items():
        if name.endswith("-dlq"):
            assert "RedrivePolicy" not in queue
            assert queue["MessageRetentionPeriod"] == SQS_RETENTION_S_MAX
            continue
        redrive = queue["RedrivePolicy"]
        target = logical[redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]]
        assert target == f"{name}-dlq"
        assert redrive["maxReceiveCount"] == (30 if name.endswith("-webhooks") else 20)
        assert queue["MessageRetentionPeriod"] < SQS_RETENTION_S_MAX


def test_queues_are_encrypted_and_take_nothing_without_tls(every_stage) -> None:
    policies = [
        (listed(policy["Queues"]), policy["PolicyDocument"]["Statement"])
        for policy in every_stage.properties("AWS::SQS::QueuePolicy")
    ]
    for name, resource in every_stage.resources("AWS::SQS::Queue").items():
        own_key = "KmsMasterKeyId" in resource["Properties"]
        assert own_key == every_stage.stage.customer_key
        assert resource["Properties"].get("SqsManagedSseEnabled", False) is not own_key
        statements = [s for targets, found in policies if {"Ref": name} in targets for s in found]
        assert any(
            statement["Effect"] == "Deny" and "aws:SecureTransport" in json.dumps(statement)
            for statement in statements
        )


def test_a_message_stays_hidden_for_six_timeouts_of_its_function_and_the_window(
    every_stage,
) -> None:
    found = queues(every_stage)
    for name, source in sources(every_stage).items():
        window_s = source.get("MaximumBatchingWindowInSeconds", 0)
        least_s = LAMBDA_SQS_VISIBILITY_TIMEOUTS * source["Function"]["Timeout"] + window_s
        assert found[name]["VisibilityTimeout"] >= least_s, name


def test_every_queue_is_consumed_and_no_dead_letter_queue_is(every_stage) -> None:
    assert set(sources(every_stage)) == {
        name for name in queues(every_stage) if not name.endswith("-dlq")
    }


def test_a_delivery_that_failed_in_part_leaves_only_that_part_on_the_queue(every_stage) -> None:
    for source in sources(every_stage).values():
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_no_queue_may_take_all_of_the_accounts_concurrency(every_stage) -> None:
    for source in sources(every_stage).values():
        assert 2 <= source["ScalingConfig"]["MaximumConcurrency"] <= 20


def test_jobs_are_delivered_as_their_class_says_and_chunks_one_by_one(prod) -> None:
    found = sources(prod)
    for pool in POOLS:
        at = {kind: found[f"laneway-prod-{pool}-{kind}"] for kind in KINDS}
        assert at["async"]["BatchSize"] == 10
        assert "MaximumBatchingWindowInSeconds" not in at["async"]
        assert at["batch"]["BatchSize"] == 100
        assert at["batch"]["MaximumBatchingWindowInSeconds"] == 2
        assert at["chunks"]["BatchSize"] == 1


def test_what_a_killed_worker_held_is_free_again_near_the_target_of_class_async(prod) -> None:
    worker = sources(prod)["laneway-prod-shared-async"]["Function"]

    assert worker["Timeout"] <= prod.stage.queue_lane.deliveries["async"].target_s


def test_both_functions_of_a_pool_run_one_package(prod) -> None:
    code = {
        item["FunctionName"]: json.dumps(item["Code"])
        for item in prod.properties("AWS::Lambda::Function")
    }
    for pool in POOLS:
        kinds = ("realtime", "queue-worker", "chunk-worker")
        assert len({code[f"laneway-prod-{pool}-{kind}"] for kind in kinds}) == 1


def test_a_pool_whose_models_take_no_jobs_has_no_queue_and_no_worker(
    synthesize, repository
) -> None:
    model = repository.models["text"]
    realtime = model.spec.model_copy(update={"latency_classes": ("realtime",)})
    models = {"iris": repository.models["iris"], "text": dataclasses.replace(model, spec=realtime)}

    found = synthesize(DEV, repository=dataclasses.replace(repository, models=models))

    assert not any("-hot-" in name for name in queues(found))
    assert not any("hot-queue" in str(f) for f in found.properties("AWS::Lambda::Function"))
    told = IngressSettings.from_env(environment(found, "laneway-dev-ingress"))
    assert set(told.queues) == {"shared"}


def test_functions_are_told_of_queues_by_their_addresses(prod, local) -> None:
    told = QueueWorkerSettings.from_env(environment(prod, "laneway-prod-hot-queue-worker"))
    at = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}"

    assert told.pool == "hot"
    assert told.queues["shared"]["async"] == f"{at}/laneway-prod-shared-async"
    assert told.dead_letters["batch"] == f"{at}/laneway-prod-hot-batch-dlq"
    assert told.webhooks_queue == f"{at}/laneway-prod-webhooks"
    assert told.models_elsewhere == {"shared": ["iris"]}
    assert told.jobs_table == "laneway-prod-jobs"
    assert told.bucket == f"laneway-prod-{ACCOUNT}-{REGION}"
    assert told.job_timeout_s == prod.stage.queue_lane.worker_timeout_s
    here = IngressSettings.from_env(environment(local, "laneway-local-ingress"))
    assert here.queues["shared"]["async"].startswith("http://127.0.0.1:4566/")


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        ("hot-queue-worker", QueueWorkerSettings),
        ("hot-chunk-worker", QueueWorkerSettings),
        ("sweeper", SweeperSettings),
        ("webhooks", WebhooksSettings),
        ("batch-splitter", BatchSplitterSettings),
        ("batch-finisher", BatchFinisherSettings),
    ],
)
def test_environments_of_the_lane_read_back_and_fit(prod, function, settings) -> None:
    found = environment(prod, f"laneway-prod-{function}")

    assert settings.from_env(found).stage == "prod"
    assert len(json.dumps(found)) < LAMBDA_ENVIRONMENT_BYTES


def test_a_pool_whose_name_makes_no_function_s_is_refused(synthesize, repository, assets) -> None:
    pool = "x" * 48
    model = {"iris": model_entry(repository.folder, "iris", pool=pool)}

    with pytest.raises(SynthError, match=r"has 69 characters and Lambda takes 64; .*shorter"):
        synthesize(
            DEV,
            repository=dataclasses.replace(
                repository, models=model, pools={pool: repository.pools["shared"]}
            ),
            assets=dataclasses.replace(assets, pools={pool: assets.ingress}),
        )


def test_a_stack_of_too_many_resources_is_refused_with_the_way_out() -> None:
    app = App()
    stack = Stack(app, "laneway-dev-pools")
    for number in range(501):
        CfnWaitConditionHandle(stack, f"resource-{number}")

    with pytest.raises(SynthError, match=r"'laneway-dev-pools': 501 .*as another stage"):
        compose.synthesize(app)


def test_only_the_local_stage_calls_receivers_on_its_own_machine(local, dev, prod) -> None:
    told = {
        synthesized.stage.name: WebhooksSettings.from_env(
            environment(synthesized, f"laneway-{synthesized.stage.name}-webhooks")
        )
        for synthesized in (local, dev, prod)
    }

    assert told["local"].webhook_loopback
    for name in ("dev", "prod"):
        assert told[name].webhook_loopback == told[name].webhook_ca_file == ""


def test_a_worker_may_do_what_running_a_job_needs_and_no_more(prod) -> None:
    found = own_actions(prod, "laneway-prod-shared-queue-worker")

    assert {name for name in found if not name.startswith("kms:")} == {
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    }
    taken_from = {arn.rpartition(":")[2] for arn in found["sqs:ReceiveMessage"]}
    assert taken_from == {"laneway-prod-shared-async", "laneway-prod-shared-batch"}
    assert not any("uploads/" in arn for arn in found["s3:PutObject"])


def test_the_function_that_calls_strangers_may_read_a_job_and_a_secret_and_nothing_else(
    prod,
) -> None:
    found = own_actions(prod, "laneway-prod-webhooks")

    assert {name for name in found if not name.startswith(("kms:", "sqs:"))} == {
        "dynamodb:GetItem",
        "ssm:GetParameter",
    }
    (secrets,) = found["ssm:GetParameter"]
    assert secrets.endswith(":parameter/laneway/prod/webhooks/*")
    (sent_to,) = found["sqs:SendMessage"]
    assert sent_to.endswith(":laneway-prod-webhooks-dlq")


def test_the_sweeper_looks_into_indexes_and_never_scans(prod) -> None:
    found = own_actions(prod, "laneway-prod-sweeper")

    assert {arn.rpartition("/")[2] for arn in found["dynamodb:Query"]} == {"unsent", "due", "hooks"}
    assert not any("Scan" in name or "Delete" in name for name in found)
    assert not any("s3" in name for name in found)


def test_ingress_accepts_jobs_and_takes_none_from_a_queue(prod) -> None:
    found = own_actions(prod, "laneway-prod-ingress")

    assert "sqs:ReceiveMessage" not in found
    written = {arn.rpartition(":::")[2].partition("/")[2] for arn in found["s3:PutObject"]}
    assert written == {"inputs/*", "uploads/*"}


def test_ingress_counts_a_tenant_s_jobs_and_calls(prod) -> None:
    found = own_actions(prod, "laneway-prod-ingress")

    assert any(arn.endswith("-jobs/index/counted") for arn in found["dynamodb:Query"])
    assert any(arn.endswith(":table/laneway-prod-usage") for arn in found["dynamodb:UpdateItem"])


def test_workers_of_jobs_and_of_chunks_count_what_they_have_in_hand(prod) -> None:
    def counting(worker: str) -> bool:
        allowed = own_actions(prod, f"laneway-prod-shared-{worker}")["dynamodb:UpdateItem"]
        return any(arn.endswith(":table/laneway-prod-usage") for arn in allowed)

    assert counting("queue-worker")
    assert counting("chunk-worker")
    told = QueueWorkerSettings.from_env(environment(prod, "laneway-prod-shared-queue-worker"))
    assert told.tenant_share == QueueLane().tenant_share
    assert told.capacity == {"async": 200, "batch": 1000, "chunks": 10}


def test_who_writes_jobs_may_use_the_tables_own_key(prod) -> None:
    for function in ("ingress", "sweeper", "webhooks", "shared-queue-worker", "batch-splitter"):
        assert {"kms:Decrypt", "kms:Encrypt"} <= set(allowed_to(prod, f"laneway-prod-{function}"))


def test_a_pattern_ends_a_resource_only_below_a_prefix_that_is_named(every_stage) -> None:
    for policy in every_stage.properties("AWS::IAM::Policy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            for arn in listed(resolved(statement["Resource"])):
                if "*" in str(arn) and arn != "*":
                    assert arn.endswith("/*"), arn
                    named = ("arn:aws:s3:::", "arn:aws:ssm:", "ArchiveBucket")
                    assert arn.startswith(named), arn


def test_somebody_looks_every_minute_after_what_was_forgotten(every_stage) -> None:
    rules = every_stage.properties("AWS::Events::Rule")
    functions = every_stage.resources("AWS::Lambda::Function")
    started = {
        functions[rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]]["Properties"]["FunctionName"]
        for rule in rules
    }

    assert {rule["ScheduleExpression"] for rule in rules} == {"rate(1 minute)"}
    prefix = f"laneway-{every_stage.stage.name}"
    assert started == {f"{prefix}-sweeper", f"{prefix}-batch-finisher"}


def test_the_bucket_tells_of_uploads_and_nobody_else_may_write_to_that_queue(every_stage) -> None:
    (bucket,) = [
        found
        for found in every_stage.properties("AWS::S3::Bucket")
        if "NotificationConfiguration" in found
    ]
    (told,) = bucket["NotificationConfiguration"]["QueueConfigurations"]
    stage = every_stage.stage.name

    assert resolved(told["Queue"]).endswith(f":laneway-{stage}-batch-split")
    assert told["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "uploads/"}]
    allowed = [
        resolved(statement)
        for policy in every_stage.properties("AWS::SQS::QueuePolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    (statement,) = allowed
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(
        f":::{resolved(bucket['BucketName'])}"
    )


GOOD = {"batch_size": 10, "max_concurrency": 2, "target_s": 60, "ttl_s": 600}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 11}, "needs a window_s of 1 or more"),
        ({"window_s": 301}, "window_s is 301"),
        ({"max_concurrency": 1}, "max_concurrency is 1; Lambda takes 2 to 1000"),
        ({"ttl_s": 60}, "would expire before they are late"),
    ],
)
def test_a_delivery_that_cannot_be_is_refused(change, message) -> None:
    Delivery(**GOOD)
    with pytest.raises(StageError, match=message):
        Delivery(**{**GOOD, **change})


def test_a_timeout_that_lambda_refuses_is_refused() -> None:
    with pytest.raises(StageError, match=r"worker_timeout_s is 901; Lambda takes 1 to 900"):
        QueueLane(worker_timeout_s=901)
