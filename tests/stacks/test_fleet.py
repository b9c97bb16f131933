"""The fleet: what would cost money, lose work, or let somebody in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from functions.fleet_scaler.service import CRASHES, METRICS
from functions.send.service import NOT_CONFIRMED
from shared.limits import CLOUDFORMATION_RESOURCES, CLOUDFORMATION_TEMPLATE_BYTES
from shared.settings.jobs import FleetScalerSettings, IngressSettings, SendSettings, WorkerSettings
from stacks.errors import StageError, SynthError
from stacks.fleet_lane import Fleet, Gpus
from stacks.parts.fleet_network import ENDPOINTS
from stacks.stages import DEV, PROD
from tests.stacks.aws_words import allowed_to, listed, resolved
from tests.stacks.conftest import BROKER, ON_RABBITMQ

SERVICE = "AWS::ECS::Service"
NO_FLEET = "Annotation::laneway:no-fleet-for-gpu-models"
TASK = "AWS::ECS::TaskDefinition"


@pytest.fixture(params=["gpu_prod", "gpu_dev", "rabbit"])
def with_a_fleet(request):
    return request.getfixturevalue(request.param)


def one(synthesized, type_):
    (found,) = synthesized.properties(type_)
    return found


def group_of(synthesized):
    return one(synthesized, "AWS::AutoScaling::AutoScalingGroup")


def template_of(synthesized):
    return one(synthesized, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]


def services(synthesized):
    return {found["ServiceName"]: found for found in synthesized.properties(SERVICE)}


def task_of(synthesized, pool):
    name = f"laneway-{synthesized.stage.name}-{pool}-workers"
    task = services(synthesized)[name]["TaskDefinition"]["Ref"]
    return synthesized.resources(TASK)[task]["Properties"]


def variables(synthesized, pool):
    (container,) = task_of(synthesized, pool)["ContainerDefinitions"]
    return {item["Name"]: resolved(item["Value"]) for item in container["Environment"]}


def role_statements(synthesized, role):
    """Statements of the role with this logical id's beginning."""
    return [
        statement
        for policy in synthesized.properties("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if any(str(resolved(name)).startswith(role) for name in policy["Roles"])
    ]


def actions_of(synthesized, role):
    found: dict[str, set[str]] = {}
    for statement in role_statements(synthesized, role):
        for action in listed(statement["Action"]):
            found.setdefault(action, set()).update(
                str(arn) for arn in listed(resolved(statement["Resource"]))
            )
    return found


def environment(synthesized, function):
    (found,) = [
        item["Environment"]["Variables"]
        for item in synthesized.properties("AWS::Lambda::Function")
        if item.get("FunctionName") == function
    ]
    return {name: resolved(value) for name, value in found.items()}


# --- where there is one ---


def test_no_stage_without_a_gpu_model_has_a_fleet(every_stage) -> None:
    assert "fleet" not in every_stage.templates
    told = environment(every_stage, f"laneway-{every_stage.stage.name}-ingress")
    assert IngressSettings.from_env(told).wakes == {}


def test_ones_own_machine_holds_no_fleet_and_nobody_is_woken(gpu_local) -> None:
    assert gpu_local.error is None
    assert "fleet" not in gpu_local.templates
    told = IngressSettings.from_env(environment(gpu_local, "laneway-local-ingress"))
    assert told.wakes == {}


def test_a_stage_may_do_without_a_fleet_and_takes_no_jobs_for_gpu_models_then(
    synthesize, with_gpu
) -> None:
    found = synthesize(dataclasses.replace(DEV, fleet=Fleet(enabled=False)), repository=with_gpu)

    assert found.error is None
    assert "fleet" not in found.templates
    told = IngressSettings.from_env(environment(found, "laneway-dev-ingress"))
    assert set(told.queues) == {"shared", "hot"}
    assert told.wakes == {}
    assert NO_FLEET in {rule for rule, _ in found.findings}
    with pytest.raises(StageError, match="nothing else takes jobs off RabbitMQ"):
        dataclasses.replace(ON_RABBITMQ, fleet=Fleet(enabled=False))


def test_a_stage_with_a_fleet_or_without_gpu_models_warns_of_nothing_of_the_kind(
    synthesize, gpu_prod
) -> None:
    assert NO_FLEET not in {rule for rule, _ in gpu_prod.findings}
    assert NO_FLEET not in {rule for rule, _ in synthesize(DEV).findings}


def test_a_gpu_model_brings_workers_for_its_pool_alone(gpu_prod) -> None:
    assert set(services(gpu_prod)) == {"laneway-prod-heavy-workers"}


def test_rabbitmq_brings_workers_for_every_pool_with_jobs(rabbit) -> None:
    assert set(services(rabbit)) == {
        f"laneway-dev-{pool}-workers" for pool in ("shared", "hot", "heavy")
    }


def test_the_scanners_find_nothing_that_is_not_answered_in_writing(with_a_fleet) -> None:
    assert with_a_fleet.error is None
    old_system = "Annotation::laneway:python-on-amazon-linux-2"
    assert [found for found in with_a_fleet.findings if found[0] != old_system] == []


# --- what is bought ---


def test_gpus_are_bought_by_attributes_with_a_price_that_is_never_above_on_demand(gpu_prod) -> None:
    (override,) = group_of(gpu_prod)["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    wanted = override["InstanceRequirements"]

    assert set(override) == {"InstanceRequirements"}
    assert wanted["AcceleratorTypes"] == ["gpu"]
    assert wanted["AcceleratorManufacturers"] == ["nvidia"]
    assert wanted["AcceleratorCount"] == {"Min": 1, "Max": 1}
    assert wanted["AcceleratorTotalMemoryMiB"] == {"Min": 15_000}
    assert wanted["VCpuCount"] == {"Min": PROD.fleet.gpus.vcpus}
    assert wanted["MemoryMiB"] == {"Min": PROD.fleet.gpus.memory_mib}
    assert wanted["BareMetal"] == wanted["BurstablePerformance"] == "excluded"
    assert wanted["MaxSpotPriceAsPercentageOfOptimalOnDemandPrice"] == 100
    assert wanted["OnDemandMaxPricePercentageOverLowestPrice"] == 50
    assert not any(name.startswith("g5g") for name in wanted["AllowedInstanceTypes"])


def test_it_is_spot_where_there_is_most_of_it_unless_the_stage_says_otherwise(
    gpu_prod, gpu_dev
) -> None:
    spot = group_of(gpu_prod)["MixedInstancesPolicy"]["InstancesDistribution"]
    mixed = group_of(gpu_dev)["MixedInstancesPolicy"]["InstancesDistribution"]

    assert spot["SpotAllocationStrategy"] == "price-capacity-optimized"
    assert spot["OnDemandPercentageAboveBaseCapacity"] == 0
    assert spot["OnDemandBaseCapacity"] == 0
    assert mixed["OnDemandPercentageAboveBaseCapacity"] == 25
    assert mixed["OnDemandBaseCapacity"] == 1


def test_the_stages_most_bounds_what_can_be_bought(gpu_prod, gpu_dev) -> None:
    for synthesized, most in ((gpu_prod, 2), (gpu_dev, 5)):
        group = group_of(synthesized)
        assert (group["MinSize"], group["MaxSize"]) == ("0", str(most))
        told = FleetScalerSettings.from_env(
            environment(synthesized, f"laneway-{synthesized.stage.name}-fleet-scaler")
        )
        assert told.max_workers == most


def test_nobody_but_the_scaler_says_how_many_there_are(with_a_fleet) -> None:
    for service in services(with_a_fleet).values():
        assert "DesiredCount" not in service
    for group in with_a_fleet.properties("AWS::AutoScaling::AutoScalingGroup"):
        assert "DesiredCapacity" not in group
    types = with_a_fleet.types()
    assert "AWS::AutoScaling::ScalingPolicy" not in types
    for target in with_a_fleet.properties("AWS::ApplicationAutoScaling::ScalableTarget"):
        assert target["ServiceNamespace"] == "lambda"


def test_cpu_workers_are_on_fargate_spot(rabbit) -> None:
    for pool in ("shared", "hot"):
        strategy = services(rabbit)[f"laneway-dev-{pool}-workers"]["CapacityProviderStrategy"]
        assert strategy == [{"CapacityProvider": "FARGATE_SPOT", "Weight": 100}]
        assert task_of(rabbit, pool)["RequiresCompatibilities"] == ["FARGATE"]


# --- the instance ---


def test_the_instances_metadata_needs_a_token_and_is_one_hop_away_at_most(gpu_prod) -> None:
    options = template_of(gpu_prod)["MetadataOptions"]

    assert options["HttpTokens"] == "required"
    assert options["HttpPutResponseHopLimit"] == 1


def test_a_worker_reaches_the_metadata_with_one_hop_as_it_shares_the_hosts_network(
    gpu_prod,
) -> None:
    assert task_of(gpu_prod, "heavy")["NetworkMode"] == "host"


def test_disks_are_encrypted_and_go_with_their_instance(gpu_prod) -> None:
    for mapping in template_of(gpu_prod)["BlockDeviceMappings"]:
        assert mapping["Ebs"]["Encrypted"] is True
        assert mapping["Ebs"]["DeleteOnTermination"] is True


def test_the_image_of_instances_is_amazons_for_gpus(gpu_prod) -> None:
    name = template_of(gpu_prod)["ImageId"]["Ref"]
    parameter = gpu_prod.templates["fleet"]["Parameters"][name]

    assert parameter["Default"] == (
        "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
    )


def test_the_agent_drains_for_a_spot_notice_and_lets_a_worker_end(gpu_prod) -> None:
    script = template_of(gpu_prod)["UserData"]["Fn::Base64"]

    assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true" in script
    assert "ECS_CONTAINER_STOP_TIMEOUT=120s" in script
    assert "ECS_ENABLE_GPU_SUPPORT=true" in script
    assert "ECS_CLUSTER=laneway-prod\n" in script


def test_a_worker_on_the_hosts_network_has_its_tasks_role_and_its_log_whatever_the_agents_defaults(
    gpu_prod,
) -> None:
    script = template_of(gpu_prod)["UserData"]["Fn::Base64"]
    config = script.partition("<<'END'\n")[2].partition("\nEND")[0].splitlines()

    assert "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST=true" in config
    assert "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true" in config


def test_the_instances_role_does_what_the_agent_does_and_touches_no_data(gpu_prod) -> None:
    found = actions_of(gpu_prod, "heavyinstancesRole")

    assert {action.partition(":")[0] for action in found} == {"ecs"}
    assert found.pop("ecs:DiscoverPollEndpoint") == {"*"}
    for arns in found.values():
        assert all("/laneway-prod" in arn for arn in arns)
    for role in gpu_prod.properties("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role


# --- before it goes ---


def test_a_replacement_is_launched_before_an_instance_at_risk_goes(gpu_prod) -> None:
    assert group_of(gpu_prod)["CapacityRebalance"] is True


def test_an_instance_with_work_is_not_scaled_in_and_is_drained_before_it_ends(gpu_prod) -> None:
    provider = one(gpu_prod, "AWS::ECS::CapacityProvider")["AutoScalingGroupProvider"]

    assert provider["ManagedTerminationProtection"] == "ENABLED"
    assert provider["ManagedDraining"] == "ENABLED"
    assert provider["ManagedScaling"]["Status"] == "ENABLED"
    assert provider["ManagedScaling"]["TargetCapacity"] == 100
    assert group_of(gpu_prod)["NewInstancesProtectedFromScaleIn"] is True
    assert "AmazonECSManaged" in {tag["Key"] for tag in group_of(gpu_prod)["Tags"]}


def test_a_terminating_instance_waits_for_its_worker_and_goes_if_that_is_dead(gpu_prod) -> None:
    hook = one(gpu_prod, "AWS::AutoScaling::LifecycleHook")
    told = WorkerSettings.from_env(variables(gpu_prod, "heavy"))

    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hook["DefaultResult"] == "CONTINUE"
    assert 90 <= hook["HeartbeatTimeout"] <= 120
    assert (told.lifecycle_hook, told.autoscaling_group) == (
        hook["LifecycleHookName"],
        group_of(gpu_prod)["AutoScalingGroupName"],
    )
    assert told.drain_s < hook["HeartbeatTimeout"]


def test_a_worker_has_two_minutes_to_stop_and_drains_in_less(with_a_fleet) -> None:
    for task in with_a_fleet.properties(TASK):
        (container,) = task["ContainerDefinitions"]
        told = {item["Name"]: item["Value"] for item in container["Environment"]}
        assert container["StopTimeout"] == 120
        assert float(told["DRAIN_S"]) < container["StopTimeout"]


def test_a_worker_may_protect_itself_and_end_its_own_groups_drain(gpu_prod) -> None:
    found = actions_of(gpu_prod, "heavyworkersRole")

    assert found["ecs:UpdateTaskProtection"] == {
        "arn:aws:ecs:eu-west-1:111122223333:task/laneway-prod/*"
    }
    (arn,) = found["autoscaling:CompleteLifecycleAction"]
    assert arn.endswith(":autoScalingGroupName/laneway-prod-heavy-workers")


# --- the worker ---


def test_a_gpu_worker_has_a_device_to_itself_and_one_instance(gpu_prod) -> None:
    (container,) = task_of(gpu_prod, "heavy")["ContainerDefinitions"]
    service = services(gpu_prod)["laneway-prod-heavy-workers"]

    assert container["ResourceRequirements"] == [{"Type": "GPU", "Value": "1"}]
    assert service["PlacementConstraints"] == [{"Type": "distinctInstance"}]
    assert container["MemoryReservation"] < PROD.fleet.gpus.memory_mib


def test_a_gpu_worker_writes_to_its_scratch_and_engines_alone(gpu_prod) -> None:
    (container,) = task_of(gpu_prod, "heavy")["ContainerDefinitions"]

    assert container["ReadonlyRootFilesystem"] is True
    (scratch,) = container["LinuxParameters"]["Tmpfs"]
    assert scratch["ContainerPath"] == "/tmp"  # noqa: S108 - the container's own
    assert [item["ContainerPath"] for item in container["MountPoints"]] == ["/var/cache/laneway"]
    assert not container.get("Privileged")


def test_a_worker_on_fargate_writes_to_its_scratch_alone_and_may_as_the_image_has_that_volume(
    rabbit,
) -> None:
    for pool in ("shared", "hot"):
        task = task_of(rabbit, pool)
        (container,) = task["ContainerDefinitions"]
        assert container["ReadonlyRootFilesystem"] is True
        assert container["MountPoints"] == [
            {"ContainerPath": "/tmp", "ReadOnly": False, "SourceVolume": "scratch"}  # noqa: S108 - as above
        ]
        assert [volume["Name"] for volume in task["Volumes"]] == ["scratch"]
    dockerfile = (Path(__file__).parents[2] / "gpu_workers" / "Dockerfile").read_text()
    assert '\nVOLUME ["/tmp"]\n' in dockerfile


def test_a_worker_that_is_dead_or_does_not_start_is_found(with_a_fleet) -> None:
    for task in with_a_fleet.properties(TASK):
        (container,) = task["ContainerDefinitions"]
        assert container["HealthCheck"]["Command"] == ["CMD", "python", "-m", "gpu_workers.probe"]
        assert container["HealthCheck"]["StartPeriod"] == 300
    for service in services(with_a_fleet).values():
        breaker = service["DeploymentConfiguration"]["DeploymentCircuitBreaker"]
        assert breaker == {"Enable": True, "Rollback": True}


def test_gpus_are_replaced_in_place_and_fargate_s_workers_before_the_old_ones_go(rabbit) -> None:
    found = {
        name: (
            service["DeploymentConfiguration"]["MinimumHealthyPercent"],
            service["DeploymentConfiguration"]["MaximumPercent"],
        )
        for name, service in services(rabbit).items()
    }

    assert found["laneway-dev-heavy-workers"] == (0, 100)
    assert found["laneway-dev-shared-workers"] == (100, 200)


def test_no_rebalancing_over_zones_stops_a_worker(with_a_fleet) -> None:
    for service in services(with_a_fleet).values():
        assert service["AvailabilityZoneRebalancing"] == "DISABLED"


def test_workers_logs_are_kept_as_long_as_the_stage_says(with_a_fleet) -> None:
    groups = {
        str(resolved(found["LogGroupName"])): found["RetentionInDays"]
        for found in with_a_fleet.properties("AWS::Logs::LogGroup")
    }
    stage = with_a_fleet.stage
    for name in services(with_a_fleet):
        pool = name.removeprefix(f"laneway-{stage.name}-").removesuffix("-workers")
        assert groups[f"/laneway/{stage.name}/{pool}/workers"] == stage.retention.logs_days


def test_workers_are_told_what_they_work_on(gpu_prod, rabbit) -> None:
    gpu = WorkerSettings.from_env(variables(gpu_prod, "heavy"))
    assert (gpu.platform, gpu.device, gpu.broker) == ("ec2", "cuda:0", "sqs")
    kinds = ["async-high", "async", "batch-high", "batch", "chunks"]
    assert sorted(gpu.queues["heavy"]) == sorted(kinds)
    assert all(url.startswith("https://sqs.") for url in gpu.queues["heavy"].values())
    assert set(gpu.dead_letters) == set(kinds)
    assert gpu.models_elsewhere == {"shared": ["iris"], "hot": ["text", "nightly"]}

    cpu = WorkerSettings.from_env(variables(rabbit, "shared"))
    assert (cpu.platform, cpu.device, cpu.broker) == ("fargate", "cpu", "rabbitmq")
    assert cpu.queues["shared"] == {
        kind: f"laneway-dev-shared-{kind}" for kind in ("async", "batch")
    }
    assert cpu.amqp_secret == BROKER.secret_arn


def test_a_pool_that_the_stage_runs_through_tensorrt_has_its_device_libraries_and_engines(
    gpu_dev, gpu_prod
) -> None:
    told = WorkerSettings.from_env(variables(gpu_dev, "heavy"))
    assert (told.device, told.engine_cache) == ("tensorrt:0", "/var/cache/laneway")
    assert image_bases(gpu_dev) == ["tensorrt"]
    assert image_bases(gpu_prod) == ["cuda"]


def image_bases(synthesized) -> list[str]:
    (path,) = synthesized.folder.glob("*-fleet.assets.json")
    images = json.loads(path.read_bytes())["dockerImages"].values()
    return [image["source"]["dockerBuildArgs"]["DEVICE"] for image in images]


def test_tensorrt_for_a_pool_without_models_on_a_gpu_is_refused(synthesize, with_gpu) -> None:
    fleet = Fleet(gpus=Gpus(tensorrt=("shared",)))
    stage = dataclasses.replace(DEV, fleet=fleet)
    with pytest.raises(SynthError, match="names shared; pools with models on a gpu are heavy"):
        synthesize(stage, repository=with_gpu)


def test_workers_are_told_their_region_which_ecs_on_ec2_does_not_say(gpu_prod, rabbit) -> None:
    assert variables(gpu_prod, "heavy")["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert "AWS_DEFAULT_REGION" in variables(rabbit, "shared")


def test_a_worker_may_do_what_its_pools_function_may_and_receive_besides(gpu_prod) -> None:
    worker = actions_of(gpu_prod, "heavyworkersRole")
    jobs, chunks = (
        allowed_to(gpu_prod, f"laneway-prod-shared-{kind}-worker") for kind in ("queue", "chunk")
    )

    for action in ("s3:GetObject", "s3:PutObject"):
        assert worker[action] == jobs[action] | chunks[action]
    received = {arn.rpartition(":")[2] for arn in worker["sqs:ReceiveMessage"]}
    assert received == {
        f"laneway-prod-heavy-{kind}"
        for kind in ("async-high", "async", "batch-high", "batch", "chunks")
    }
    assert "dynamodb:Scan" not in worker
    assert "sqs:*" not in worker


# --- the network ---


def test_nothing_comes_in_and_nothing_has_a_public_address(gpu_prod) -> None:
    assert gpu_prod.properties("AWS::EC2::InternetGateway") == []
    assert gpu_prod.properties("AWS::EC2::NatGateway") == []
    assert all(not s["MapPublicIpOnLaunch"] for s in gpu_prod.properties("AWS::EC2::Subnet"))
    rules = gpu_prod.properties("AWS::EC2::SecurityGroupIngress")
    assert {(rule["FromPort"], rule["ToPort"]) for rule in rules} == {(443, 443)}
    assert all("SourceSecurityGroupId" in rule and "CidrIp" not in rule for rule in rules)
    for group in gpu_prod.properties("AWS::EC2::SecurityGroup"):
        assert group.get("SecurityGroupIngress", []) == []


def test_workers_without_internet_have_an_endpoint_for_all_that_they_call(gpu_prod) -> None:
    found = [resolved(item["ServiceName"]) for item in gpu_prod.properties("AWS::EC2::VPCEndpoint")]
    names = {name.removeprefix("com.amazonaws.eu-west-1.") for name in found}

    assert names == {
        "s3", "dynamodb", "ecs", "ecs-agent", "ecs-telemetry", "ecr.api", "ecr.dkr", "logs", "sqs",
        "autoscaling",
    }  # fmt: skip
    for endpoint in gpu_prod.properties("AWS::EC2::VPCEndpoint"):
        if endpoint["VpcEndpointType"] == "Interface":
            assert endpoint["PrivateDnsEnabled"] is True
            assert len(endpoint["SubnetIds"]) == 1


def test_a_stage_that_asks_for_nat_gets_one_gateway_and_no_endpoint_that_bills(gpu_dev) -> None:
    kinds = [item["VpcEndpointType"] for item in gpu_dev.properties("AWS::EC2::VPCEndpoint")]

    assert kinds == ["Gateway", "Gateway"]
    assert len(gpu_dev.properties("AWS::EC2::NatGateway")) == 1
    assert len(ENDPOINTS) == 8


def test_with_rabbitmq_workers_and_sender_are_in_the_brokers_network(rabbit) -> None:
    assert rabbit.properties("AWS::EC2::VPC") == []
    for pool in ("shared", "hot"):
        at = services(rabbit)[f"laneway-dev-{pool}-workers"]["NetworkConfiguration"]
        addresses = at["AwsvpcConfiguration"]
        assert addresses["Subnets"] == list(BROKER.subnets)
        assert addresses["SecurityGroups"] == [BROKER.security_group]
        assert addresses["AssignPublicIp"] == "DISABLED"
    assert group_of(rabbit)["VPCZoneIdentifier"] == list(BROKER.subnets)
    (send,) = [
        found
        for found in rabbit.properties("AWS::Lambda::Function")
        if found.get("FunctionName") == "laneway-dev-send"
    ]
    assert send["VpcConfig"]["SubnetIds"] == list(BROKER.subnets)


# --- RabbitMQ ---


def test_with_rabbitmq_jobs_have_no_queue_on_sqs_and_chunks_still_have(rabbit) -> None:
    queues = {found["QueueName"] for found in rabbit.properties("AWS::SQS::Queue")}
    consumed = {
        resolved(source["EventSourceArn"]).rpartition(":")[2]
        for source in rabbit.properties("AWS::Lambda::EventSourceMapping")
    }

    for pool in ("shared", "hot", "heavy"):
        assert f"laneway-dev-{pool}-async" not in queues
        assert f"laneway-dev-{pool}-chunks" in queues
    assert "laneway-dev-shared-chunks" in consumed
    assert "laneway-dev-heavy-chunks" not in consumed


def test_only_send_and_workers_may_read_the_brokers_secret(rabbit) -> None:
    readers = [
        resolved(policy["Roles"])[0]
        for policy in rabbit.properties("AWS::IAM::Policy")
        if "secretsmanager:GetSecretValue" in json.dumps(policy)
    ]

    assert len(readers) == 4
    assert all(role.startswith(("Send", "shared", "hot", "heavy")) for role in readers)
    assert allowed_to(rabbit, "laneway-dev-send")["secretsmanager:GetSecretValue"] == {
        BROKER.secret_arn
    }


def test_no_key_may_be_used_where_the_brokers_secret_names_none(rabbit) -> None:
    for role in ("Send", "shared", "hot", "heavy"):
        assert "kms:Decrypt" not in actions_of(rabbit, role)


def test_the_own_key_of_the_brokers_secret_decrypts_that_and_nothing_else_for_those_who_read_it(
    synthesize, with_gpu
) -> None:
    key = "arn:aws:kms:eu-west-1:111122223333:key/0123abcd-0123-0123-0123-0123456789ab"
    stage = dataclasses.replace(
        ON_RABBITMQ, rabbitmq=dataclasses.replace(BROKER, secret_key_arn=key)
    )
    found = synthesize(stage, repository=with_gpu)
    assert found.error is None
    users = {
        str(resolved(policy["Roles"])[0]): statement
        for policy in found.properties("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if "kms:Decrypt" in listed(statement["Action"])
    }

    assert len(users) == 4
    assert all(role.startswith(("Send", "shared", "hot", "heavy")) for role in users)
    for statement in users.values():
        assert statement["Action"] == "kms:Decrypt"
        assert statement["Resource"] == key
        assert resolved(statement["Condition"]) == {
            "StringEquals": {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}
        }
    kinds = {rule for rule, _ in found.findings if rule.startswith("AwsSolutions")}
    assert kinds == set()


@pytest.mark.parametrize("key", ["", "alias/broker", "arn:aws:kms:eu-west-1:111122223333:alias/a"])
def test_a_key_is_named_by_its_own_arn(key) -> None:
    with pytest.raises(StageError, match="not of an alias"):
        dataclasses.replace(BROKER, secret_key_arn=key)


def test_what_the_brokers_subnets_must_reach_is_written_down_whole() -> None:
    project = Path(__file__).parents[2]
    needed = [
        "ecs", "ecs-agent", "ecs-telemetry", "ecr.api", "ecr.dkr", "logs", "sqs", "autoscaling",
        "s3", "dynamodb", "secretsmanager",
    ]  # fmt: skip
    assert len(needed) == len(ENDPOINTS) + 3
    for path in ("docs/rabbitmq.md", "stacks/fleet_lane.py"):
        text = (project / path).read_text()
        assert [name for name in needed if f"`{name}`" not in text] == [], path


def test_send_knows_every_queue_of_jobs_and_who_needs_it_may_call_it(rabbit) -> None:
    told = SendSettings.from_env(environment(rabbit, "laneway-dev-send"))
    assert told.queues["heavy"]["async-high"] == "laneway-dev-heavy-async-high"
    assert told.queues["shared"] == {
        kind: f"laneway-dev-shared-{kind}" for kind in ("async", "batch")
    }
    assert told.amqp_secret == BROKER.secret_arn
    for function in ("ingress", "sweeper", "fleet-scaler"):
        name = f"laneway-dev-{function}"
        called = allowed_to(rabbit, name)["lambda:InvokeFunction"]
        assert any(arn.endswith(":laneway-dev-send") for arn in called)
        assert environment(rabbit, name)["SEND_FUNCTION"] == "laneway-dev-send"


def test_on_ones_own_machine_send_is_outside_any_network_and_told_where_the_address_is(
    synthesize, with_gpu
) -> None:
    from stacks.stages import LOCAL  # noqa: PLC0415 - one test's

    local = synthesize(
        dataclasses.replace(LOCAL, broker="rabbitmq"),
        repository=with_gpu,
        emulator_url="http://127.0.0.1:4566",
    )

    assert local.error is None
    assert "fleet" not in local.templates
    told = SendSettings.from_env(environment(local, "laneway-local-send"))
    assert told.amqp_url == ""
    assert told.amqp_secret == (
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:laneway-local-broker"
    )
    readable = allowed_to(local, "laneway-local-send")["secretsmanager:GetSecretValue"]
    assert readable == {told.amqp_secret}
    assert not any("VpcConfig" in item for item in local.properties("AWS::Lambda::Function"))


def test_a_stage_on_rabbitmq_must_say_which() -> None:
    with pytest.raises(StageError, match="nothing says which"):
        dataclasses.replace(ON_RABBITMQ, rabbitmq=None)
    with pytest.raises(StageError, match="broker is 'kafka'"):
        dataclasses.replace(DEV, broker="kafka")


# --- the scaler ---


def test_the_scaler_looks_every_minute_and_hears_of_workers_that_end(gpu_prod) -> None:
    functions = gpu_prod.resources("AWS::Lambda::Function")
    rules = [
        rule
        for rule in gpu_prod.properties("AWS::Events::Rule")
        if functions[rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]]["Properties"]["FunctionName"]
        == "laneway-prod-fleet-scaler"
    ]
    schedules = [rule["ScheduleExpression"] for rule in rules if "ScheduleExpression" in rule]
    (pattern,) = [resolved(rule["EventPattern"]) for rule in rules if "EventPattern" in rule]

    assert schedules == ["rate(1 minute)"]
    assert pattern["detail"]["clusterArn"][0].endswith(":cluster/laneway-prod")
    assert pattern["detail"]["lastStatus"] == ["STOPPED"]


def test_a_wake_is_never_tried_again_or_kept_for_long(gpu_prod) -> None:
    config = one(gpu_prod, "AWS::Lambda::EventInvokeConfig")

    assert config["MaximumRetryAttempts"] == 0
    assert config["MaximumEventAgeInSeconds"] == 60


def test_ingress_wakes_the_scaler_for_the_fleets_pools_alone(gpu_prod) -> None:
    told = IngressSettings.from_env(environment(gpu_prod, "laneway-prod-ingress"))

    assert told.wakes == {"heavy": "laneway-prod-fleet-scaler"}
    called = allowed_to(gpu_prod, "laneway-prod-ingress")["lambda:InvokeFunction"]
    assert any(arn.endswith(":laneway-prod-fleet-scaler") for arn in called)


def test_the_scaler_resizes_the_fleets_services_and_reads_no_job(gpu_prod) -> None:
    found = allowed_to(gpu_prod, "laneway-prod-fleet-scaler")

    assert found["ecs:UpdateService"] == {
        "arn:aws:ecs:eu-west-1:111122223333:service/laneway-prod/laneway-prod-heavy-workers"
    }
    assert {arn.rpartition("/")[2] for arn in found["dynamodb:Query"]} == {"due"}
    assert "sqs:ReceiveMessage" not in found
    assert "sqs:SendMessage" not in found
    assert not any(action.startswith(("s3:", "autoscaling:", "ec2:")) for action in found)


def test_the_scaler_is_told_how_to_size_each_pool(gpu_prod, rabbit) -> None:
    told = FleetScalerSettings.from_env(environment(gpu_prod, "laneway-prod-fleet-scaler"))
    assert told.services == {"heavy": "laneway-prod-heavy-workers"}
    assert told.job_s == {"heavy": 0.5}
    assert set(told.queues) == {"heavy"}
    assert "chunks" in told.queues["heavy"]

    both = FleetScalerSettings.from_env(environment(rabbit, "laneway-dev-fleet-scaler"))
    assert set(both.services) == {"shared", "hot", "heavy"}
    assert set(both.queues["shared"]) == {"async", "batch"}
    assert "chunks" in both.queues["heavy"]


def test_a_first_deploy_needs_no_gpu_as_the_scaler_is_there_before_the_service(gpu_prod) -> None:
    (service,) = gpu_prod.resources(SERVICE).values()

    assert any(name.startswith("FleetScalerEveryMinute") for name in service["DependsOn"])


def test_no_message_counts_as_lost_while_a_fleet_starts(gpu_prod) -> None:
    for function in ("ingress", "sweeper"):
        told = environment(gpu_prod, f"laneway-prod-{function}")
        fleet = gpu_prod.stage.fleet
        assert json.loads(told["START_S"]) == {"heavy": fleet.wait_s["async"] + fleet.startup_s}


# --- what is watched ---


def alarms(synthesized):
    prefix = f"laneway-{synthesized.stage.name}-"
    return {
        alarm["AlarmName"].removeprefix(prefix): alarm
        for alarm in synthesized.properties("AWS::CloudWatch::Alarm")
    }


def test_missing_crashing_and_blind_workers_are_alarms(gpu_prod, rabbit) -> None:
    for synthesized in (gpu_prod, rabbit):
        found = alarms(synthesized)
        for name in ("workers-missing", "worker-crashes", "metadata-unreachable"):
            alarm = found[f"heavy-{name}"]
            dimensions = {item["Name"]: item["Value"] for item in alarm["Dimensions"]}
            assert dimensions == {"stage": synthesized.stage.name, "pool": "heavy"}
            assert alarm["AlarmActions"]
    assert "shared-metadata-unreachable" not in alarms(rabbit)
    assert "shared-workers-missing" in alarms(rabbit)


def test_missing_workers_are_told_when_a_start_would_have_been_over_three_times(gpu_prod) -> None:
    alarm = alarms(gpu_prod)["heavy-workers-missing"]

    assert alarm["MetricName"] == "fleet_missing"
    assert alarm["EvaluationPeriods"] * alarm["Period"] == 3 * gpu_prod.stage.fleet.startup_s


def test_a_backlog_in_rabbitmq_is_watched_by_what_the_scaler_reckons(gpu_prod, rabbit) -> None:
    fleet = rabbit.stage.fleet

    assert alarms(rabbit)["shared-backlog"]["Threshold"] == fleet.wait_s["async"] + fleet.startup_s
    assert alarms(rabbit)["shared-dead-letters"]["Threshold"] == 0
    unconfirmed = alarms(rabbit)["broker-not-confirmed"]
    assert unconfirmed["MetricName"] == NOT_CONFIRMED
    assert unconfirmed["Dimensions"] == [{"Name": "stage", "Value": "dev"}]
    assert "heavy-backlog" not in alarms(gpu_prod)
    assert "heavy-async-late" in alarms(gpu_prod)
    assert "heavy-async-late" not in alarms(rabbit)


def test_what_is_watched_and_shown_is_what_scaler_and_workers_write(gpu_prod) -> None:
    written = {name for name, _ in (*METRICS, *CRASHES)} | {
        "metadata_unreachable", "interruptions", "drain_ms",
    }  # fmt: skip
    page = json.dumps(gpu_prod.properties("AWS::CloudWatch::Dashboard"))
    read = {
        alarm["MetricName"]
        for name, alarm in alarms(gpu_prod).items()
        if name.startswith("heavy-work") or name == "heavy-metadata-unreachable"
    }

    assert read <= written
    for name in ("fleet_desired", "fleet_running", "interruptions", "drain_ms"):
        assert name in page


def test_scaler_and_sender_are_watched_for_crashes(rabbit) -> None:
    assert {"fleet-scaler-crashes", "send-crashes"} <= set(alarms(rabbit))


# --- values ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_workers": 3}, "min_workers is 3 and max_workers 2"),
        ({"max_workers": 0}, "max_workers 0"),
        ({"on_demand_percent": 101}, "write 0 to 100"),
        ({"wait_s": {"async": 300}}, "name async and batch"),
        ({"idle_s": 60}, "between two jobs"),
        ({"zones": 3}, "write 1 or 2"),
        ({"cpu_units": 1024, "memory_mib": 1024}, "Fargate offers no worker of 1024 CPU units"),
        ({"wait_s": {"async": 0, "batch": 1}}, "above 0"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(change, message) -> None:
    with pytest.raises(StageError, match=message):
        Fleet(**change)


def test_a_price_that_protects_nothing_is_refused() -> None:
    with pytest.raises(StageError, match="on-demand price of the cheapest"):
        Gpus(spot_price_percent=999_999)


def test_every_acknowledgement_of_the_fleet_carries_a_reason(gpu_prod, rabbit) -> None:
    found = [
        str(reason)
        for synthesized in (gpu_prod, rabbit)
        for path in synthesized.folder.glob("*fleet.metadata.json")
        for entries in json.loads(path.read_bytes()).values()
        for entry in entries
        if "acknowledge" in str(entry["type"])
        for reason in entry["data"].values()
    ]

    assert len(found) > 10
    assert all(len(reason.split()) > 5 for reason in found)


def test_templates_of_the_fleet_are_far_from_what_cloudformation_takes(gpu_prod, rabbit) -> None:
    for synthesized in (gpu_prod, rabbit):
        text = (
            synthesized.folder / f"laneway-{synthesized.stage.name}-fleet.template.json"
        ).read_text()
        assert len(text) < CLOUDFORMATION_TEMPLATE_BYTES / 4
        assert len(json.loads(text)["Resources"]) < CLOUDFORMATION_RESOURCES / 4
