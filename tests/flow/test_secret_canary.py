"""A secret in any field of any way in reaches no log, no metric, no trace, and no other field's refusal.

Every field is asked for twice, with a canary of its own each time: in a request that is good but for the
canary, and in one that is refused for another field. All of it runs first, through the functions, the sweeper, the
workers and the webhooks' sender; then each canary is looked for in all that was written to stdout and stderr, logged
by any library, or raised out of a handler, which is what Lambda puts into its log and into a trace. Job ids,
which callers choose as names, are names there too; a refusal may name the field that is at fault.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import time
import traceback
from dataclasses import fields
from urllib.parse import quote

import pytest

from cli.testing import start_service
from cli.testing.lambdas import LocalFunction
from cli.testing.service import ingress_settings
from functions.sweeper.service import make_handler as make_sweeper
from gpu_workers.telemetry import WorkerTelemetry
from shared.egress.https import Answer
from shared.egress.memory import MemoryPoster
from shared.errors import UnavailableError
from shared.jobs.webhook_secrets import values
from shared.settings.jobs import JobSettings, SweeperSettings
from shared.telemetry import Telemetry
from tests.fixtures.hook_desk import PUBLIC_URL, HookDesk
from tests.fixtures.worker_desk import POOL, TENANT, WorkerDesk, wait_for, write_heavy_models

INFER = "/v2/models/scale/infer"
SHOUT = "/v2/models/shout/infer"
NO_QUEUE = "https://sqs.eu-central-1.amazonaws.com/111122223333/nowhere"
BINARY = {"content-type": "application/octet-stream"}
HEADERS = (
    "x-api-key", "authorization", "cookie", "user-agent", "x-anything", "accept", "accept-encoding",
    "content-type", "content-encoding", "inference-header-content-length", "prefer",
    "idempotency-key", "x-forwarded-for", "referer",
)  # fmt: skip


def tensor(**changes):
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0], **changes}


def text(*values):
    return {"name": "text", "shape": [len(values)], "datatype": "BYTES", "data": values}


def numbers(canary):
    """A number whose digits nobody else sends."""
    return float(canary[6:9]) * 1e6 + 123456.5


def marks(canary):
    """What is looked for: the canary, and the number that stands for it."""
    return canary, repr(numbers(canary))


REQUESTS = {
    "a value": lambda c: {"inputs": [text(c)]},
    "a value for a number": lambda c: {"inputs": [tensor(data=[c, 1.0])]},
    "a value past its type": lambda c: {"inputs": [tensor(data=[numbers(c) * 1e33, 1.0])]},
    "a number": lambda c: {"inputs": [tensor(data=[numbers(c), 1.0])]},
    "a text that breaks the transform": lambda c: {"inputs": [text("break", c)]},
    "the name of an input": lambda c: {"inputs": [tensor(name=c)]},
    "the datatype of an input": lambda c: {"inputs": [tensor(datatype=c)]},
    "the shape of an input": lambda c: {"inputs": [tensor(shape=[c])]},
    "the value of a parameter": lambda c: {"inputs": [tensor()], "parameters": {"a": c}},
    "the name of a parameter": lambda c: {"inputs": [tensor()], "parameters": {c: 1}},
    "a parameter of an input": lambda c: {"inputs": [tensor(parameters={c: c})]},
    "binary_data_size": lambda c: {"inputs": [tensor(parameters={"binary_data_size": c})]},
    "the name of an output": lambda c: {"inputs": [tensor()], "outputs": [{"name": c}]},
    "the id of a request": lambda c: {"inputs": [tensor()], "id": c},
    "a further member": lambda c: {"inputs": [tensor()], c: c},
}
"""Requests as JSON, by the field that holds the canary."""
JOBS = {
    "the model": lambda c: {"model": c},
    "the version": lambda c: {"version": c},
    "a webhook's path": lambda c: {"webhook": f"https://example.org/{c}"},
    "a webhook's query": lambda c: {"webhook": f"https://example.org/?token={c}"},
    "a webhook's user": lambda c: {"webhook": f"https://{c}:{c}@example.org/"},
    "a webhook's host": lambda c: {"webhook": f"https://{c}.example.org/"},
    "a webhook of http": lambda c: {"webhook": f"http://example.org/{c}"},
    "the name of metadata": lambda c: {"metadata": {c: "a"}},
    "the value of metadata": lambda c: {"metadata": {"a": c}},
    "metadata that are none": lambda c: {"metadata": {"a": [c]}},
    "result_alias": lambda c: {"result_alias": c},
    "a further member": lambda c: {c: c},
    "ttl_s": lambda c: {"ttl_s": c},
    "timeout_s": lambda c: {"timeout_s": c},
    "input that is none": lambda c: {"input": c},
    "input_base64": lambda c: {"input": None, "input_base64": c},
    "input_base64 of it": lambda c: {"input": None, "input_base64": encoded(c)},
    "a file name": lambda c: {"input": None, "input_uri": f"s3://BUCKET/uploads/default/{c}"},
    "a file elsewhere": lambda c: {"input": None, "input_uri": f"s3://elsewhere/{c}"},
    "a file in a lake": lambda c: {"input": None, "input_uri": f"s3://BUCKET-lake/inputs/{c}"},
}
BATCHES = {
    "a file name": lambda c: {"input": f"s3://BUCKET/uploads/default/{c}"},
    "a file elsewhere": lambda c: {"input": f"s3://elsewhere/{c}"},
    "the endpoint": lambda c: {"endpoint": f"/v2/models/{c}/infer"},
    "the value of metadata": lambda c: {"metadata": {"a": c}},
    "the name of metadata": lambda c: {"metadata": {c: "a"}},
    "a window": lambda c: {"window": c},
    "not_before": lambda c: {"not_before": c},
    "a further member": lambda c: {c: c},
}
LINES = {
    "custom_id": lambda c: {"custom_id": c},
    "a custom_id that is none": lambda c: {"custom_id": [c]},
    "the url": lambda c: {"url": c},
    "the method": lambda c: {"method": c},
    "a further member": lambda c: {c: c},
    "a body that is none": lambda c: {"body": c},
}
AUTOMATIC = {
    "its name": lambda c: f"auto/scale/{c}",
    "the model": lambda c: f"auto/{c}/lines",
    "the version": lambda c: f"auto/scale/v-{c}/lines",
    "an odd name": lambda c: f"auto/nobody/ü {c}",
}
"""Names of uploads that begin a batch by themselves."""
ADDRESSES = {
    "a model": lambda c: ("GET", f"/v2/models/{c}"),
    "a model to ask": lambda c: ("POST", f"/v2/models/{c}/infer"),
    "a version": lambda c: ("POST", f"/v2/models/scale/versions/{c}/infer"),
    "an address": lambda c: ("GET", f"/{c}"),
    "a method": lambda c: (c.upper(), "/v2/jobs"),
    "a query": lambda c: ("POST", f"{INFER}?{c}={c}"),
    "a filter": lambda c: ("GET", f"/v2/jobs?{c}=1"),
    "a cursor": lambda c: ("GET", f"/v2/jobs?cursor={c}"),
    "a status": lambda c: ("GET", f"/v2/jobs?status={c}"),
    "a model to list": lambda c: ("GET", f"/v2/jobs?model={c}"),
    "a job": lambda c: ("GET", f"/v2/jobs/{quote('ü' + c)}"),
    "a batch": lambda c: ("GET", f"/v2/batches/{quote('ü' + c)}"),
}
BODIES = {
    "a body that is no JSON": lambda c: c.encode(),
    "a body that is cut": lambda c: json.dumps({"inputs": [text(c)]}).encode()[:-2],
    "a body that is no UTF-8": lambda c: b"\xff" + c.encode(),
    "a body with NaN": lambda c: b'{"inputs":[NaN,"%s"]}' % c.encode(),
    "a list": lambda c: json.dumps([c]).encode(),
    "an upload": lambda c: json.dumps({"max_bytes": c}).encode(),
}


def encoded(canary):
    return base64.b64encode(json.dumps({"inputs": [tensor(name=canary)]}).encode()).decode()


class Asked:
    """Sends each field twice; keeps what came back."""

    def __init__(self, service):
        self.service = service
        self.canaries = {}
        """By entry and field: the canary, what it was sent beside, and the answers."""

    def __call__(self, entry, field, send):
        for other_fault in (False, True):
            canary = f"canary{len(self.canaries) + 100}zq"
            answers = send(canary, other_fault)
            self.canaries[entry, field, other_fault] = (canary, answers)

    def post(self, path, body, **headers):
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.service.request("POST", path, body=sent, headers={**BINARY, **headers})


def faulty(request, *, other_fault):
    """The request with a further fault, in a field after all others."""
    if not other_fault or not isinstance(request, dict):
        return request
    return {**request, "outputs": [{"name": "no-such-output"}]}


def ask_over_http(asked):
    ask_calls(asked)
    ask_submissions(asked)
    for field, make in ADDRESSES.items():
        asked("address", field, lambda c, _, make=make: [asked.service.request(*make(c))])
    for field, make in BODIES.items():
        for path in (INFER, "/v2/jobs", "/v2/batches", "/v2/uploads", "/v2/repository/index"):
            asked(
                f"body of {path}",
                field,
                lambda c, _, make=make, path=path: [asked.post(path, make(c))],
            )


def ask_calls(asked):
    for field, make in REQUESTS.items():
        path = SHOUT if "text" in field or field == "a value" else INFER
        asked(
            "call",
            field,
            lambda c, f, make=make, path=path: [asked.post(path, faulty(make(c), other_fault=f))],
        )
        asked(
            "respond-async",
            field,
            lambda c, f, make=make, path=path: [
                asked.post(path, faulty(make(c), other_fault=f), prefer="respond-async")
            ],
        )
    for header in HEADERS:
        for path in (INFER, "/v2/jobs"):
            body = {"model": "scale", "input": {"inputs": [tensor()]}}
            good = body["input"] if path == INFER else body
            asked(
                f"header of {path}",
                header,
                lambda c, f, path=path, good=good, header=header: [
                    asked.post(path, b"{" if f else good, **{header: c})
                ],
            )


def ask_submissions(asked):
    service = asked.service
    bucket = service.resources.bucket
    for field, make in JOBS.items():

        def submit(c, f, make=make):
            job = {"model": "scale", "input": {"inputs": [tensor()]}, **make(c)}
            job = {name: value for name, value in job.items() if value is not None}
            if f:
                job["priority"] = "no-such-priority"
            return [asked.post("/v2/jobs", json.dumps(job).replace("BUCKET", bucket).encode())]

        asked("job", field, submit)
    for field, make in BATCHES.items():

        def submit_batch(c, f, make=make):
            put(service, c, b"{}")
            batch = {"endpoint": INFER, "input": f"s3://{bucket}/uploads/default/lines", **make(c)}
            if f:
                batch["ttl_s"] = "no-such-ttl"
            return [asked.post("/v2/batches", json.dumps(batch).replace("BUCKET", bucket).encode())]

        asked("batch", field, submit_batch)


def put(service, name, data):
    service.resources.s3.put_object(
        Bucket=service.resources.bucket, Key=f"uploads/default/{name}", Body=data
    )


def ask_by_files(asked):
    """Lines of a batch, and inputs of jobs that lie on S3."""
    service, lines = asked.service, []

    def add(entry, field, make):
        def send(c, f):
            line = {"custom_id": "a", "method": "POST", "url": INFER, "body": {}} | make(c)
            lines.append(json.dumps(faulty(line, other_fault=f)).encode())
            return []

        asked(entry, field, send)

    for field, make in REQUESTS.items():
        add("line", field, lambda c, make=make: {"body": make(c)})
    for field, make in LINES.items():
        add("line", field, make)
    asked("line", "no JSON", lambda c, _: lines.append(b"{" + c.encode()) or [])
    put(service, "all-lines", b"\n".join(lines))
    uri = f"s3://{service.resources.bucket}/uploads/default/all-lines"
    assert asked.post("/v2/batches", {"endpoint": INFER, "input": uri}).status == 202
    for field, make in REQUESTS.items():

        def store(c, f, make=make):
            name = f"input-{len(asked.canaries)}"
            put(service, name, json.dumps(faulty(make(c), other_fault=f)).encode())
            uri = f"s3://{service.resources.bucket}/uploads/default/{name}"
            return [asked.post("/v2/jobs", {"model": "scale", "input_uri": uri})]

        asked("stored input", field, store)


def ask_by_messages(asked):
    service = asked.service
    queues = service.resources.queues["shared"]

    def drop(text, kind="async", **options):
        service.resources.sqs.send_message(QueueUrl=queues[kind], MessageBody=text, **options)
        return []

    def message(**members):
        made = {"schema_version": 1, "model": "scale", "input": {"inputs": [tensor()]}, **members}
        return json.dumps({name: value for name, value in made.items() if value is not None})

    for field, make in REQUESTS.items():
        asked(
            "message",
            field,
            lambda c, f, make=make: drop(message(input=faulty(make(c), other_fault=f))),
        )
    for field, make in JOBS.items():
        asked(
            "message",
            field,
            lambda c, f, make=make: drop(
                message(**make(c), **({"no-such-member": 1} if f else {}))
            ),
        )
    for field, make in BODIES.items():
        if "UTF-8" not in field:
            asked("message", field, lambda c, _, make=make: drop(make(c).decode()))
    asked("message", "schema_version", lambda c, _: drop(message(schema_version=c)))
    asked("message", "a job's id that is none", lambda c, _: drop(message(id=f"../{c}")))
    attribute = {"DataType": "String", "StringValue": "a"}
    asked(
        "message",
        "the name of an attribute",
        lambda c, _: drop("{", MessageAttributes={c: attribute}),
    )
    asked(
        "message",
        "the value of an attribute",
        lambda c, _: drop("{", MessageAttributes={"a": attribute | {"StringValue": c}}),
    )
    asked("message", "the group", lambda c, _: drop(message(), MessageGroupId=c))
    for url in (service.resources.split_queue, service.resources.finish_queue):

        def drop_inside(c, _, url=url):
            service.resources.sqs.send_message(QueueUrl=url, MessageBody=f'{{"{c}":"{c}"}}')
            return []

        asked("message of our own queues", url.rpartition("-")[2], drop_inside)
    asked("message of chunks", "a member", lambda c, _: drop(f'{{"chunk":"{c}"}}', kind="chunks"))


def ask_by_uploads(asked):
    """S3's events of uploads that begin a batch."""
    service = asked.service
    bucket = service.resources.bucket
    for field, make in AUTOMATIC.items():

        def announce(c, _, make=make):
            put(service, make(c), b"{}")
            stored = {"bucket": {"name": bucket}, "object": {"key": f"uploads/default/{make(c)}"}}
            event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": stored}]}
            service.resources.sqs.send_message(
                QueueUrl=service.resources.split_queue, MessageBody=json.dumps(event)
            )
            return []

        asked("upload that begins a batch", field, announce)


def sweep(service, written_to, *, later_s, **changes):
    """A pass of the sweeper's function, so much later; an exception is written as Lambda writes it."""
    told = ingress_settings(service.resources)
    events = service.resources.sqs.create_queue(QueueName=f"{told.bucket}-webhooks")["QueueUrl"]
    common = {item.name: getattr(told, item.name) for item in fields(JobSettings)}
    sweeping = make_sweeper(
        SweeperSettings(**{**common, "webhooks_queue": events, **changes}),
        dynamodb=service.resources.dynamodb,
        sqs=service.resources.sqs,
        logger=Telemetry(service="laneway-sweeper", stage="local", pool="sweeper").logger,
        clock=lambda: time.time() + later_s,
    )
    function = LocalFunction("laneway-local-sweeper", sweeping, timeout_s=60)
    try:
        return function.call({})
    except UnavailableError as error:
        written_to += traceback.format_exception(error)
        return {}


def sweep_in_every_way(service, raised):
    """Before anything has run: without queues, without a table, and as it should be."""
    nowhere = {pool: dict.fromkeys(of, NO_QUEUE) for pool, of in service.resources.queues.items()}
    assert sweep(service, raised, later_s=700, queues=nowhere)["not_confirmed"] > 30
    assert sweep(service, raised, later_s=700, jobs_table="nowhere") == {}
    assert sweep(service, raised, later_s=1400)["sent"] > 30


def tell_receivers(asked):
    """Webhooks: the address, what the receiver answers, a message that is none; gives the secrets."""
    secrets = []

    def deliver(answer, url=PUBLIC_URL, body=None):
        desk = HookDesk(poster=MemoryPoster([answer]))
        secrets.extend(values(desk.secrets.get("acme")))
        desk.end_job(url=url)
        if body is not None:
            desk.queue.send(body, tenant="acme")
        desk.source.drain()
        return []

    asked("webhook", "the path", lambda c, _: deliver(Answer(status=500), url=f"{PUBLIC_URL}/{c}"))
    asked(
        "webhook", "the query", lambda c, _: deliver(Answer(status=410), url=f"{PUBLIC_URL}?t={c}")
    )
    for url in ("https://127.0.0.1/", "https://localhost/", "http://example.org/", "https://a b/"):
        asked("webhook", url, lambda c, _, url=url: deliver(Answer(status=200), url=url + c))
    asked(
        "webhook",
        "where a redirect leads",
        lambda c, _: deliver(Answer(status=302, location=f"http://127.0.0.1/{c}")),
    )
    asked("webhook", "when to try again", lambda c, _: deliver(Answer(status=500, retry_after=c)))
    asked("webhook", "a message", lambda c, _: deliver(Answer(status=200), body=f'{{"a":"{c}"}}'))
    return secrets


class Raised(list):
    """Exceptions that left a handler, as Lambda writes them."""

    def watch(self, sources):
        for source in sources:
            for poll in source.polls:
                if poll.error is not None:
                    self += traceback.format_exception(poll.error)


@contextlib.contextmanager
def all_written():
    """What is written meanwhile, by loggers of tests before these too: a logger keeps its stream."""
    written = io.StringIO()
    known = [item for item in logging.root.manager.loggerDict.values() if hasattr(item, "handlers")]
    handlers = [handler for logger in known for handler in logger.handlers]
    streams = [
        (handler, handler.setStream(written))
        for handler in handlers
        if type(handler) is logging.StreamHandler
    ]
    try:
        with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
            yield written
    finally:
        for handler, stream in streams:
            handler.setStream(stream)


@pytest.fixture(scope="module")
def asked_and_told(small_models):
    """What was asked, and all that was written anywhere meanwhile."""
    raised = Raised()
    with all_written() as written, start_service(small_models) as service:
        library = logging.StreamHandler(
            written
        )  # Lambda's runtime has such a handler, for warnings
        library.setLevel(logging.WARNING)
        logging.getLogger().addHandler(library)
        try:
            asked = Asked(service)
            put(service, "lines", b"")
            ask_over_http(asked)
            ask_by_files(asked)
            ask_by_messages(asked)
            ask_by_uploads(asked)
            sweep_in_every_way(service, raised)
            service.run_jobs()
            assert sweep(service, raised, later_s=60)["events"] >= 3
            secrets = tell_receivers(asked)
            raised.watch(service.sources)
        finally:
            logging.getLogger().removeHandler(library)
        yield asked, written.getvalue() + "".join(raised), [service.api_key, *secrets]


def test_no_canary_is_in_anything_that_was_written(asked_and_told):
    asked, written, _ = asked_and_told
    leaks = {
        what: next(line for line in written.splitlines() if mark in line)[:400]
        for what, (canary, _) in asked.canaries.items()
        for mark in marks(canary)
        if mark in written
    }
    assert leaks == {}


def test_the_log_was_really_looked_at(asked_and_told):
    asked, written, secrets = asked_and_told
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    told = {line.get("message") for line in lines}
    services = {line.get("service") for line in lines}
    assert told >= {"request", "job", "authorization", "failure", "webhook", "sweep", "chunk"}
    assert "a batch that begins by itself was refused" in told
    assert services >= {
        "laneway-realtime",
        "laneway-ingress",
        "laneway-authorizer",
        "laneway-queue-worker",
        "laneway-sweeper",
        "laneway-webhooks",
    }
    assert len(asked.canaries) > 300
    assert len(secrets) > 10
    assert not any(secret in written for secret in secrets)


def test_a_canary_is_in_no_refusal_of_another_field(asked_and_told):
    asked, _, _ = asked_and_told
    leaks = {
        what: answer.body[:300]
        for what, (canary, answers) in asked.canaries.items()
        for answer in answers
        if what[2] and answer.status >= 400 and is_told_elsewhere(answer, canary)
    }
    assert leaks == {}


def is_told_elsewhere(answer, canary):
    """Whether a refusal that is about something else repeats the canary."""
    error = answer.json().get("error", "")
    return canary in error and ("no-such" in error or "not valid JSON" in error)


def test_the_long_lived_worker_writes_no_canary_either(tmp_path):
    desk = WorkerDesk(write_heavy_models(tmp_path / "models"))
    desk.reporter = WorkerTelemetry(stage="dev", pool=POOL, worker="desk")
    canaries = []

    def drop(make):
        canary = f"canary{len(canaries) + 100}zq"
        canaries.append(canary)
        good = {"schema_version": 1, "model": "scale", "input": {"inputs": [tensor()]}}
        made = {
            name: value for name, value in {**good, **make(canary)}.items() if value is not None
        }
        desk.queues[POOL, "async"].send(json.dumps(made), tenant=TENANT)

    with all_written() as written:
        for make in REQUESTS.values():
            drop(lambda c, make=make: {"input": make(c)})
        for make in JOBS.values():
            drop(make)
        with desk.running():
            wait_for(lambda: desk.depth() == 0)

    lines = [json.loads(line) for line in written.getvalue().splitlines() if line[:1] == "{"]
    assert {"succeeded", "failed"} <= {line.get("outcome") for line in lines}
    assert [canary for canary in canaries if canary in written.getvalue()] == []
