"""An instance for the fault tests: a real worker process beside a metadata service of its own.

Its jobs are carried by the emulator's SQS, or by a RabbitMQ.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import boto3
import numpy as np
import orjson
from onnx import TensorProto, helper, numpy_helper

from cli.testing.metadata import serve_metadata
from shared.aws import make_client
from shared.catalog import parse_catalog
from shared.jobs.rules import JobRules
from shared.jobs.submission import Submission
from shared.jobs.submit import Jobs
from shared.queues.sqs import SqsQueue
from shared.repository import compile_catalog, read_repository
from shared.results.dynamodb import DynamoJobStore
from shared.results.s3 import S3PayloadStore
from shared.results.table import table_definition
from shared.routing.lane import GPU_QUEUES
from shared.schema.compile import export_validators
from shared.settings.jobs import WorkerSettings
from tests.faults.models import GATED, _add_transform
from tests.faults.stage import PROJECT, TENANT, Child
from tests.fixtures import small_models
from tests.fixtures.brokered import Carrier
from tests.fixtures.job_desk import tensor_body

POOL = "heavy"
VISIBILITY_S = 300
"""Far longer than a test: what is visible again was handed back."""
POLL_S = 0.2
"""How often the metadata is asked here; 5 s elsewhere."""


def write_gpu_models(folder):
    """Pool `heavy`, for gpu: quick (doubles), slow (doubles, can be held), stuck (never ends above a million)."""
    folder.mkdir()
    (folder / "pools.toml").write_text(f"[{POOL}]\n")
    for name in ("quick", "slow"):
        _write(folder, name, small_models._scale(2.0))
    _add_transform(folder / "slow", GATED)
    _write(folder, "stuck", _turns(above=1e6))
    return folder


def write_cold_models(folder):
    """Pool `heavy`, for gpu: cold, which never ends and so never warms up."""
    folder.mkdir()
    (folder / "pools.toml").write_text(f"[{POOL}]\n")
    _write(folder, "cold", _turns(above=-1e6))
    return folder


def _write(folder, name, nodes):
    small_models.write_model(
        folder, name, "1", nodes, pool=POOL, classes='["async", "batch"]',
        x=("FP32", [-1, 2]), y=("FP32", [-1, 2]),
    )  # fmt: skip
    with (folder / name / "model.toml").open("a") as file:
        file.write('compute = "gpu"\n[batching]\nmax_batch_size = 4\n')


def _turns(*, above):
    """A loop of a billion turns for each that the input's largest is above this; else of none."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["before"], ["after"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [None, 2]),
        ],
    )
    constants = [
        numpy_helper.from_array(np.array(above, np.float32), "least"),
        numpy_helper.from_array(np.array(1e9, np.float32), "billion"),
        numpy_helper.from_array(np.array(True), "go_first"),  # noqa: FBT003 - an array of one truth
    ]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Sub", ["largest", "least"], ["above"]),
        helper.make_node("Mul", ["above", "billion"], ["turns"]),
        helper.make_node("Cast", ["turns"], ["whole_turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["whole_turns", "go_first", "x"], ["y"], body=body),
    ]
    return nodes, constants


class Instance:
    """The pool's queues, table and bucket in the emulator; `metadata` is the instance's own.

    `rabbitmq`: the broker that carries the jobs instead.
    """

    def __init__(self, folder, models, access, metadata, *, rabbitmq=None):
        self.folder = folder
        self.metadata = metadata
        self._access = access
        session = boto3.Session(
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            region_name=access.region,
        )
        name = f"instance-{folder.name}".lower().replace("_", "-")[:40]
        self._sqs, dynamodb, s3 = (
            make_client(service, session=session, endpoint_url=access.endpoint_url)
            for service in ("sqs", "dynamodb", "s3")
        )
        dynamodb.create_table(**table_definition(name))
        s3.create_bucket(Bucket=name)
        hidden = {"VisibilityTimeout": str(VISIBILITY_S)}
        urls = {
            kind: self._sqs.create_queue(QueueName=f"{name}-{kind}", Attributes=hidden)["QueueUrl"]
            for kind in (*GPU_QUEUES, "dead", "webhooks")
        }
        self._carrier = None
        self.queues = {kind: SqsQueue(self._sqs, url=urls[kind]) for kind in GPU_QUEUES}
        carried = {
            "queues": {POOL: {kind: urls[kind] for kind in GPU_QUEUES}},
            "dead_letters": dict.fromkeys(GPU_QUEUES, urls["dead"]),
        }
        if rabbitmq is not None:
            self._carrier = Carrier(rabbitmq.url, {POOL: GPU_QUEUES})
            self.queues = {kind: self._carrier.queue(POOL, kind) for kind in GPU_QUEUES}
            carried = {"queues": self._carrier.names, "amqp_url": rabbitmq.url}
        self.settings = WorkerSettings(
            stage="local",
            pool=POOL,
            platform="ec2",
            metadata_url=metadata.url,
            metadata_poll_s=POLL_S,
            models=str(self._package(models)),
            **carried,
            webhooks_queue=urls["webhooks"],
            jobs_table=name,
            bucket=name,
            health_port=0,
            run_threads=1,
            autoscaling_group="laneway-local-heavy",
            lifecycle_hook="drain",
        )
        self.store = DynamoJobStore(dynamodb, table=name, clock=time.time)
        self.jobs = Jobs(
            catalog=self._catalog,
            store=self.store,
            payloads=S3PayloadStore(s3, bucket=name),
            queues={(POOL, kind): queue for kind, queue in self.queues.items()},
            rules=JobRules.of(self.settings),
            clock=time.time,
        )
        self.workers = []

    def submit(self, model, row=(1.0, 2.0), **options):
        """Accept a job of one row; gives its key."""
        submission = Submission(model=model, body=tensor_body([list(row)]), **options)
        return self.jobs.submit(submission, tenant=TENANT).row.key

    def submit_stuck(self):
        """Accept a job whose run never ends."""
        return self.submit("stuck", [2e6, 0.0])

    def start(self, **variables):
        """Start `python -m gpu_workers` and wait until it takes jobs."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "gpu_workers"],
                env=self._environment(**variables),
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Child("worker", log, popen)
        self.workers.append(worker)
        return worker

    def row(self, key):
        return self.store.get(key)

    def visible(self, kind="async"):
        """The ids of the jobs whose messages can be received now; they stay hidden from then on."""
        if self._carrier is not None:
            bodies = self._carrier.take_all(POOL, kind)
            return sorted(orjson.loads(body)["job"]["id"] for body in bodies)
        found, queue = [], self.queues[kind]
        while taken := queue.receive(limit=10, wait_s=0):
            found += [orjson.loads(delivery.body)["job"]["id"] for delivery in taken]
        return sorted(found)

    def hold(self, worker):
        """The model that can be held up waits in this worker until `let_go`."""
        (self.folder / f"hold-{worker.pid}").touch()

    def let_go(self, worker):
        (self.folder / f"hold-{worker.pid}").unlink()

    def entered(self, worker):
        return (self.folder / f"entered-{worker.pid}").exists()

    def stop(self):
        for worker in self.workers:
            worker.kill()
        if self._carrier is not None:
            self._carrier.close()

    def _environment(self, **variables):
        kept = ("PATH", "HOME", "TMPDIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            **self.settings.to_env(),
            "AWS_ENDPOINT_URL": self._access.endpoint_url,
            "AWS_ACCESS_KEY_ID": self._access.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._access.secret_access_key,
            "AWS_DEFAULT_REGION": self._access.region,
            "FAULTS_PLACE": str(self.folder),
            **{name: str(value) for name, value in variables.items()},
        }

    def _package(self, models):
        package = self.folder / "package"
        package.mkdir()
        (package / "models").symlink_to(models, target_is_directory=True)
        compiled = compile_catalog(read_repository(models), pool=POOL)
        content = orjson.dumps({**compiled, "validators": export_validators()})
        (package / "catalog.json").write_bytes(content)
        self._catalog = parse_catalog(orjson.loads(content))
        return package


@contextmanager
def running_instance(folder, models, access, **options):
    """An instance whose metadata is served; its workers end with it."""
    with serve_metadata() as metadata:
        instance = Instance(folder, models, access, metadata, **options)
        try:
            yield instance
        finally:
            instance.stop()


@contextmanager
def auto_scaling():
    """The Auto Scaling API as far as a worker calls it; gives its URL and the calls that came."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            calls.append({name: values[0] for name, values in parse_qs(body).items()})
            answer = b"<CompleteLifecycleActionResponse><CompleteLifecycleActionResult/></CompleteLifecycleActionResponse>"
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", calls
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
