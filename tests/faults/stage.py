"""A stage for the fault tests: the emulator's queues, table, bucket and secrets, and processes on them.

Why this emulator: docs/fault-matrix.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import orjson

from cli.dev import emulator
from cli.dev.state import State
from shared.aws import make_client
from shared.catalog import parse_catalog
from shared.jobs.rules import JobRules
from shared.jobs.submit import Jobs
from shared.jobs.webhook_secrets import SsmSecretStore, create_secret
from shared.queues.sqs import SqsQueue
from shared.repository import compile_catalog, read_repository
from shared.results.dynamodb import DynamoJobStore
from shared.results.items import from_item
from shared.results.s3 import S3PayloadStore
from shared.results.table import table_definition
from shared.schema.compile import export_validators
from shared.settings.jobs import QueueWorkerSettings, SweeperSettings, WebhooksSettings
from tests.faults import process

PROJECT = Path(__file__).parents[2]
TENANT = "default"
FUNCTION_TIMEOUT_S = 4
VISIBILITY_S = 5
"""Shorter than a lease (4 s and 5 s more), so that messages of live leases come back too."""
MAX_RECEIVES = 20
START_S_MAX = 60


@dataclass
class Child:
    """One running process and what it wrote."""

    role: str
    log: Path
    popen: subprocess.Popen = field(repr=False)
    read_bytes: int = 0

    @property
    def pid(self):
        return self.popen.pid

    def said(self, text):
        return text in self.log.read_text(errors="replace")

    def new_lines(self):
        """The whole lines that it wrote since they were asked for last."""
        with self.log.open("rb") as file:
            file.seek(self.read_bytes)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read_bytes += len(whole)
        return whole.decode(errors="replace").splitlines()

    def end(self):
        """The last of what it wrote."""
        return self.log.read_text(errors="replace")[-2000:]

    def ready(self):
        return self.said(process.READY)

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        """Send a signal to a process that still runs."""
        if self.running():
            os.kill(self.pid, number)

    def kill(self):
        """End it as the system does: it can do nothing more."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)
        self.popen.stdin.close()


class Stage:
    """Pool `shared` of stage `local`: its resources, and the processes that a test starts."""

    kinds = ("async", "batch", "webhooks")
    """Its queues."""

    def __init__(self, folder, models, access, *, receiver=None, targets_s=15):
        self.folder = folder
        self.models = models
        self.access = access
        session = boto3.Session(
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            region_name=access.region,
        )
        name = f"faults-{folder.name}".lower().replace("_", "-")[:40]
        made = {
            service: make_client(service, session=session, endpoint_url=access.endpoint_url)
            for service in ("dynamodb", "s3", "sqs", "ssm")
        }
        self.dynamodb, self.sqs = made["dynamodb"], made["sqs"]
        self.table = f"{name}-jobs"
        self.dynamodb.create_table(**table_definition(self.table))
        made["s3"].create_bucket(Bucket=name)
        self.s3, self.bucket = made["s3"], name
        self.urls = self._make_queues(name)
        secrets = SsmSecretStore(made["ssm"], stage="local")
        self.secret = (secrets.get(TENANT) or [create_secret(secrets, TENANT)])[0].value
        self.queue = SqsQueue(self.sqs, url=self.urls["async"])
        self.events = SqsQueue(self.sqs, url=self.urls["webhooks"])
        self.dead = SqsQueue(self.sqs, url=self.urls["dlq"])
        self.store = DynamoJobStore(self.dynamodb, table=self.table, clock=time.time)
        self.payloads = S3PayloadStore(made["s3"], bucket=name)
        self.children = []
        self._receiver = receiver
        self._settings(name, targets_s)
        self._package()
        self.jobs = Jobs(
            catalog=self.catalog,
            store=self.store,
            payloads=self.payloads,
            queues={
                ("shared", kind): SqsQueue(self.sqs, url=self.urls[kind])
                for kind in ("async", "batch")
            },
            rules=JobRules.of(self.worker_settings),
            clock=time.time,
        )

    def start(self, role, **variables):
        """Start a process; it is ready when its log says so."""
        log = self.folder / "logs" / f"{role}-{len(self.children)}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, process.__file__, role],
                env=self.environment(**variables),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        child = Child(role, log, popen)
        self.children.append(child)
        return child

    def environment(self, **variables):
        """What every process is told: the settings of all the functions, and where AWS is."""
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            **self.webhook_settings.to_env(),
            **self.sweeper_settings.to_env(),
            **self.worker_settings.to_env(),
            "PYTHONPATH": os.pathsep.join((str(self.package), str(PROJECT))),
            "AWS_ENDPOINT_URL": self.access.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.access.secret_access_key,
            "AWS_DEFAULT_REGION": self.access.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CONSUMED": self.urls["async"],
            "FUNCTION_TIMEOUT_S": str(FUNCTION_TIMEOUT_S),
            "SWEEP_EVERY_S": "2",
            "FAULTS_PLACE": str(self.folder),
            **{name: str(value) for name, value in variables.items()},
        }

    def rows(self):
        """Every job's row, read from the table itself."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.table, ConsistentRead=True
        )
        return [from_item(item) for page in pages for item in page["Items"]]

    def row(self, key):
        return self.store.get(key)

    def result(self, row):
        """The bytes of a job's result."""
        payload = row.result.payload
        if payload.inline is not None:
            return payload.inline
        return self.payloads.get(payload.s3_key, max_bytes=1 << 26)

    def logs(self, role):
        """What all the processes of a role wrote."""
        return "".join(
            child.log.read_text(errors="replace") for child in self.children if child.role == role
        )

    def check_alive(self):
        """Fail where a process ended that nobody killed."""
        for child in self.children:
            code = child.popen.poll()
            assert code in (None, -signal.SIGKILL), f"{child.log} ended with {code}: {child.end()}"

    def stop(self):
        for child in self.children:
            child.kill()

    def _make_queues(self, name):
        urls = {"dlq": self.sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]}
        arn = self.sqs.get_queue_attributes(QueueUrl=urls["dlq"], AttributeNames=["QueueArn"])
        redrive = {
            "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
            "maxReceiveCount": MAX_RECEIVES,
        }
        attributes = {
            "VisibilityTimeout": str(VISIBILITY_S),
            "RedrivePolicy": orjson.dumps(redrive).decode(),
        }
        for kind in self.kinds:
            made = self.sqs.create_queue(QueueName=f"{name}-{kind}", Attributes=attributes)
            urls[kind] = made["QueueUrl"]
        return urls

    def _settings(self, bucket, targets_s):
        common = {
            "stage": "local",
            "jobs_table": self.table,
            "bucket": bucket,
            "queues": {"shared": {kind: self.urls[kind] for kind in ("async", "batch")}},
            "async_target_s": targets_s,
            **self._more_settings(),
        }
        loopback = f"127.0.0.1:{self._receiver.port}" if self._receiver else ""
        self.worker_settings = QueueWorkerSettings(
            pool="shared",
            dead_letters=dict.fromkeys(("async", "batch"), self.urls["dlq"]),
            webhooks_queue=self.urls["webhooks"],
            webhook_loopback=loopback,
            deadline_margin_ms=500,
            threads=4,
            **common,
        )
        self.sweeper_settings = SweeperSettings(
            webhooks_queue=self.urls["webhooks"], unsent_after_s=2.0, **common
        )
        self.webhook_settings = WebhooksSettings(
            stage="local",
            jobs_table=self.table,
            webhooks_queue=self.urls["webhooks"],
            webhooks_dead_letters=self.urls["dlq"],
            webhook_loopback=loopback,
            webhook_ca_file=self._receiver.ca_file if self._receiver else "",
        )

    def _more_settings(self):
        """What further functions are told of the stage."""
        return {}

    def _package(self):
        """The pool's package as it is deployed, made of links."""
        self.package = self.folder / "package"
        self.package.mkdir()
        for name in ("functions", "shared"):
            (self.package / name).symlink_to(PROJECT / name, target_is_directory=True)
        (self.package / "models").symlink_to(self.models, target_is_directory=True)
        compiled = compile_catalog(read_repository(self.models), pool="shared")
        content = {**compiled, "validators": export_validators()}
        (self.package / "catalog.json").write_bytes(orjson.dumps(content))
        self.catalog = parse_catalog(orjson.loads(orjson.dumps(content)))


@contextmanager
def running_emulator(folder):
    """The embedded emulator on a free port; gives how SDKs reach it, and its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = State(folder)
    with emulator.start(PROJECT, state, port) as running:
        emulator.wait_until_up(running, port)
        yield emulator.access(port), _children(running._process.pid)


def _children(pid):
    """The processes below one, as Linux lists them."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def wait_for(condition, *, what, timeout_s=START_S_MAX, pause_s=0.1):
    """Return what `condition` gives as soon as it is true; fails after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(pause_s)
    return found
