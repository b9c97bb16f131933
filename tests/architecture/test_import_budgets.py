"""What each entry point loads, seen in a fresh interpreter as Lambda starts it: import, then a call.

Without LAMBDA_TASK_ROOT aws_xray_sdk behaves otherwise and the wrong path would be measured.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.settings import AuthorizerSettings, PoolAlias, RealtimeSettings, TokenIssuer
from shared.settings.jobs import IngressSettings

PROJECT = Path(__file__).parents[2]
EVENTS = PROJECT / "tests" / "events"
AWS = {"boto3", "botocore", "s3transfer", "urllib3"}
ARRAYS = {"numpy", "onnxruntime"}
NEVER = {"aws_xray_sdk", "aws_cdk", "onnx", "pika", "moto", "httpx", "typer", "rich"}

CALL = """
import json, sys, types
import {module} as entry
context = types.SimpleNamespace(
    function_name="f", memory_limit_in_mb=1769, invoked_function_arn="arn", aws_request_id="id",
    get_remaining_time_in_millis=lambda: 9_000,
)
answer = entry.handler(json.load(open({event!r})), context)
print("\\n" + json.dumps({{"answer": answer, "modules": sorted(sys.modules)}}))
"""

REALTIME = RealtimeSettings(
    stage="dev",
    pool="shared",
    ingress_function="ingress",
    usage_table="usage",
    tenant_limits='{"concurrent_jobs":5}',
)
INGRESS = IngressSettings(
    stage="dev",
    pool_aliases={"shared": PoolAlias(function="f")},
    jobs_table="jobs",
    bucket="bucket",
    queues={"shared": {"async": "https://sqs.invalid/a", "batch": "https://sqs.invalid/b"}},
    usage_table="usage",
)
AUTHORIZER = AuthorizerSettings(stage="dev", keys_table="keys")


@pytest.fixture(scope="session")
def package(small_models, tmp_path_factory):
    """Sources, models and catalog, laid out as in a deployed package."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("functions", "shared"):
        (folder / name).symlink_to(PROJECT / name, target_is_directory=True)
    (folder / "models").symlink_to(small_models, target_is_directory=True)
    compiled = compile_catalog(read_repository(small_models), pool="shared")
    catalog = compiled | {"validators": export_validators()}
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return folder


def start(package, module, settings, event, **headers):
    """The answer of a fresh environment to `event`, and every module that it loaded on the way."""
    recorded = json.loads((EVENTS / f"{event}.json").read_text())
    recorded["headers"].update(headers)
    sent = package / "event.json"
    sent.write_text(json.dumps(recorded))
    script = CALL.format(module=module, event=str(sent))
    env = settings.to_env() | {
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "PYTHONPATH": str(package),
        "PATH": os.environ["PATH"],
        "HOME": str(package),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=env,
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return told["answer"], set(told["modules"])


def packages(modules):
    return {name.split(".")[0] for name in modules}


def test_realtime_answers_without_aws_pydantic_and_http(package):
    answer, modules = start(package, "functions.realtime.handler", REALTIME, "infer_json")
    assert answer["statusCode"] == 200
    assert packages(modules) >= ARRAYS | {"pydantic_core", "orjson"}
    assert packages(modules) & (AWS | NEVER | {"pydantic", "asyncio", "ssl"}) == set()
    assert packages(modules) & {"aws_lambda_powertools", "jmespath", "logging"} == set()
    assert modules & {"http.client", "http.server", "urllib.request", "concurrent.futures"} == set()
    assert modules & {"pydantic_core", "pydantic_core.core_schema", "shared.settings.jobs"} == set()


def test_realtime_opens_its_models_files_before_it_imports_arrays(package):
    """They are hashed and fetched meanwhile: see decision 141."""
    script = (
        "import sys, threading\n"
        "started = []\n"
        "start = threading.Thread.start\n"
        "def noted(thread):\n"
        "    started.append((thread._target.__name__, 'numpy' in sys.modules))\n"
        "    start(thread)\n"
        "threading.Thread.start = noted\n"
        "import functions.realtime.handler\n"
        "print(started[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=REALTIME.to_env() | {"PYTHONPATH": str(package), "PATH": os.environ["PATH"]},
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["('_hash_all', False)"], done.stderr


def test_realtime_answers_binary_and_gzip_with_the_same_modules(package):
    _, json_modules = start(package, "functions.realtime.handler", REALTIME, "infer_json")
    for event in ("infer_binary", "infer_gzip"):
        answer, modules = start(package, "functions.realtime.handler", REALTIME, event)
        assert answer["statusCode"] == 200
        assert modules <= json_modules


@pytest.mark.parametrize("prefer", ["return=minimal", "wait=3"])
def test_realtime_loads_no_aws_for_a_preference_that_it_does_not_know(package, prefer):
    answer, modules = start(
        package, "functions.realtime.handler", REALTIME, "infer_json", prefer=prefer
    )
    assert answer["statusCode"] == 200
    assert packages(modules) & AWS == set()


def test_realtime_loads_aws_for_a_request_that_prefers_an_asynchronous_answer(package):
    # Without credentials the call to ingress fails before it reaches the network.
    answer, modules = start(
        package, "functions.realtime.handler", REALTIME, "infer_json", prefer="respond-async"
    )
    assert answer["statusCode"] == 503
    assert packages(modules) >= {"boto3", "botocore"}
    assert packages(modules) & (NEVER | {"pydantic"}) == set()


def test_ingress_answers_without_arrays_and_the_runtime(package):
    answer, modules = start(package, "functions.ingress.handler", INGRESS, "model_metadata")
    assert answer["statusCode"] == 200
    assert packages(modules) & (ARRAYS | NEVER) == set()
    assert not any(name.startswith("shared.inference") for name in modules)


def test_the_authorizer_decides_without_arrays_and_the_runtime(package):
    # The recorded event has a malformed key, so no table is asked.
    answer, modules = start(package, "functions.authorizer.handler", AUTHORIZER, "model_metadata")
    assert answer == {"isAuthorized": False, "context": {}}
    assert packages(modules) & (ARRAYS | NEVER | {"pydantic", "jwt", "cryptography"}) == set()


def test_the_authorizer_loads_what_reads_tokens_where_the_stage_takes_them(package):
    issuer = TokenIssuer(
        issuer="https://issuer.invalid",
        jwks_url="https://issuer.invalid/keys",
        audiences=("laneway",),
        tenant_claim="tenant",
    )
    settings = AuthorizerSettings(stage="dev", keys_table="keys", issuers=(issuer,))
    # The recorded event has a key in the header of stages without tokens, so it has no credential.
    answer, modules = start(package, "functions.authorizer.handler", settings, "model_metadata")
    assert answer == {"isAuthorized": False, "context": {}}
    assert packages(modules) >= {"jwt", "cryptography"}
    assert packages(modules) & (ARRAYS | NEVER | {"pydantic"}) == set()


@pytest.mark.parametrize("name", ["jwt", "cryptography", "cffi"])
def test_the_authorizers_own_lock_pins_the_versions_of_the_project(name):
    distribution = {"jwt": "pyjwt"}.get(name, name)
    pinned = re.compile(rf"^{distribution}==(\S+)", re.MULTILINE)
    texts = (
        PROJECT / "functions/authorizer/requirements.txt",
        PROJECT / "requirements" / "dev.txt",
    )
    assert len({pinned.search(text.read_text())[1] for text in texts}) == 1


@pytest.mark.parametrize("name", ["realtime", "ingress", "authorizer"])
def test_a_handler_loads_no_other_function(package, name):
    settings = {"realtime": REALTIME, "ingress": INGRESS, "authorizer": AUTHORIZER}[name]
    event = "infer_json" if name == "realtime" else "model_metadata"
    _, modules = start(package, f"functions.{name}.handler", settings, event)
    loaded = {module.split(".")[1] for module in modules if module.startswith("functions.")}
    assert loaded <= {name, "api_gateway", "gateway_bodies"}


@pytest.mark.parametrize("name", ["realtime", "ingress", "authorizer"])
def test_a_handler_without_its_settings_names_the_variable(package, name):
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import functions.{name}.handler"],
        env={"PYTHONPATH": str(package), "PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "x"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "STAGE" in done.stderr


@pytest.mark.parametrize("name", ["realtime", "ingress", "authorizer"])
def test_an_entry_point_is_wiring_under_60_lines(name):
    lines = (PROJECT / "functions" / name / "handler.py").read_text().splitlines()
    assert len(lines) < 60
