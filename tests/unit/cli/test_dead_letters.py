"""Dead letters over queues and stores in memory: what is done for each, and what a stop leaves behind."""

import json
from dataclasses import replace

import pytest

from cli.dead_letters import letters, redrive_all
from cli.stage_jobs import DeadLetters, StageJobs
from cli.tenant_letters import erase_letters
from shared.errors import UnavailableError
from shared.jobs.batches.messages import batch_message
from shared.jobs.messages import event, reference
from shared.jobs.retry import Retries
from shared.jobs.rules import JobRules
from shared.queues.memory import MemoryQueue
from shared.queues.protocol import Message
from shared.results.batches import BatchKey
from shared.results.memory import MemoryJobStore
from shared.results.payloads import MemoryPayloadStore, claim_check
from shared.results.store import JobKey
from shared.settings.jobs import JobSettings
from tests.fixtures.job_rows import FAILURE, ManualClock, new_row

SUBMISSION = {"schema_version": 1, "model": "iris", "input": {"inputs": []}}
SETTINGS = JobSettings(stage="dev", bucket="memory")


class Desk:
    """A stage with one queue."""

    def __init__(self, *, has_queue=True, pool="shared", kind="async"):
        self.clock = ManualClock()
        self.store = MemoryJobStore(clock=self.clock)
        self.payloads = MemoryPayloadStore()
        self.dead = MemoryQueue(clock=self.clock)
        self.source = MemoryQueue(clock=self.clock, dead_letters=self.dead)
        self.place = DeadLetters(
            pool=pool, kind=kind, name="q-dlq", queue=self.dead, source=self.source, wait_s=0
        )
        self.stage = StageJobs(
            tenant="default",
            store=self.store,
            settings=SETTINGS,
            retries=Retries(
                store=self.store,
                payloads=self.payloads,
                queues={("shared", "async"): self.source} if has_queue else {},
                rules=JobRules.of(SETTINGS),
                clock=self.clock,
            ),
            dead_letters=(self.place,),
        )

    def job(self, name, *, failed=True, data=b"{}", tenant="default", webhook=None):
        key = JobKey(tenant, name)
        stored = claim_check(self.payloads, data, key=f"inputs/{tenant}/{name}")
        self.store.create(new_row(tenant, name, input=stored, webhook=webhook))
        if failed:
            now = self.clock()
            fence = self.store.claim(key, owner="w", lease_until=now + 9, now=now).row.fence
            self.store.fail(key, fence=fence, failure=FAILURE, facts=None, now=now)
        return key

    def letters(self, limit=100):
        return list(letters(self.stage, self.place, limit=limit))

    def redrive(self, *, delete=False):
        found = redrive_all(self.stage, self.place, limit=100, delete=delete)
        return [outcome for _, outcome in found]


@pytest.fixture
def desk():
    return Desk()


def buried(desk, body, reason="the worker's reason"):
    """A message that the worker set aside, with its reason."""
    desk.source.send(body, tenant="default")
    (delivery,) = desk.source.receive(limit=1, wait_s=0)
    desk.source.bury(delivery, reason=reason)


def test_looking_takes_nothing_away_and_shows_each_message_once(desk):
    for number in range(25):
        desk.dead.send(reference(desk.job(f"j{number}")), tenant="default")

    assert len(desk.letters()) == 25
    assert len(desk.letters(limit=3)) == 3
    assert len({letter.key for letter in desk.letters()}) == 25
    assert desk.dead.depth() == 25
    assert len(desk.dead.receive(limit=100, wait_s=0)) == 25


def test_a_redrive_that_was_stopped_before_the_message_left_makes_no_second_job(desk):
    desk.dead.send(reference(desk.job("j1")), tenant="default")
    (letter,) = desk.letters()
    desk.stage.retries.retry(letter.key)  # and then the process ends

    assert desk.redrive() == ["redriven before"]
    assert desk.dead.depth() == 0
    assert desk.source.depth() == 1


def test_a_message_stays_when_its_job_cannot_be_made():
    desk = Desk(has_queue=False)
    desk.dead.send(reference(desk.job("j1")), tenant="default")

    with pytest.raises(UnavailableError):
        desk.redrive(delete=True)
    assert [letter.state for letter in desk.letters()] == ["failed"]


def test_a_refused_submission_says_the_workers_reason_and_is_not_sent_again(desk):
    buried(desk, json.dumps(SUBMISSION | {"id": "mine"}))
    desk.job("mine")  # the id that it wanted, which failed for reasons of its own

    (letter,) = desk.letters()

    assert (letter.state, letter.reason) == ("refused", "the worker's reason")
    assert desk.redrive() == ["left"]
    assert desk.source.depth() == 0
    assert desk.redrive(delete=True) == ["deleted"]


def test_a_submission_that_became_a_job_after_all_is_not_sent_again(desk):
    message_id = desk.dead.send(json.dumps(SUBMISSION), tenant="default")
    desk.job(f"m-{message_id}", failed=False)

    (letter,) = desk.letters()

    assert letter.state == "open"
    assert desk.redrive(delete=True) == ["left"]


def test_a_submission_that_never_became_a_job_goes_back_under_one_id(desk):
    message_id = desk.dead.send(json.dumps(SUBMISSION), tenant="default")

    assert desk.redrive() == ["redriven"]
    (delivery,) = desk.source.receive(limit=10, wait_s=0)
    assert json.loads(delivery.body) == SUBMISSION | {"id": f"m-{message_id}"}


@pytest.mark.parametrize(
    ("body", "state", "after_delete"),
    [
        ("[1]", "unreadable", "deleted"),
        ('{"schema_version": 7}', "unreadable", "deleted"),
        ('{"schema_version": 1, "job": {"tenant": "t", "id": "x"}}', "unknown", "deleted"),
        ('{"schema_version": 1, "chunk": {"batch": "b", "index": 1}}', "batch", "left"),
    ],
)
def test_what_nothing_can_be_done_for_stays_unless_it_is_to_be_deleted(
    desk, body, state, after_delete
):
    desk.dead.send(body, tenant="default")

    (letter,) = desk.letters()
    first, second = desk.redrive(), desk.redrive(delete=True)

    assert (letter.state, first, second) == (state, ["left"], [after_delete])


def test_a_failed_job_without_its_input_stays_until_it_is_deleted(desk):
    key = desk.job("j1", data=b"x" * 20_000)
    desk.dead.send(reference(key), tenant="default")
    desk.payloads.delete(desk.store.get(key).input.s3_key)

    assert desk.redrive() == ["left"]
    assert desk.redrive(delete=True) == ["deleted"]
    assert desk.source.depth() == 0


HOOK = "https://hooks.example.com/laneway"
UPLOAD = {"Records": [{"s3": {"object": {"key": "uploads/default/auto/iris/\u00e4.jsonl"}}}]}


def test_an_event_that_was_not_delivered_is_sent_again_under_its_tenant():
    desk = Desk(pool="", kind="webhooks")
    body = event(desk.job("j1", tenant="acme", webhook=HOOK))
    buried(desk, body, reason="WEBHOOK_EXHAUSTED: no success in 10 attempts, the last: status 500")

    (letter,) = desk.letters()

    assert (letter.subject, letter.state) == ("acme/j1", "undelivered")
    assert "status 500" in letter.reason
    assert desk.redrive() == ["redriven"]
    assert desk.dead.depth() == 0
    (delivery,) = desk.source.receive(limit=10, wait_s=0)
    assert json.loads(delivery.body) == json.loads(body)
    assert (delivery.tenant, delivery.attributes) == ("acme", {})


def test_an_event_whose_address_is_not_allowed_is_not_sent_again():
    desk = Desk(pool="", kind="webhooks")
    buried(desk, event(desk.job("j1", webhook=HOOK)), reason="WEBHOOK_BLOCKED: private")

    assert [letter.state for letter in desk.letters()] == ["blocked"]
    assert desk.redrive() == ["left"]
    assert desk.source.depth() == 0
    assert desk.redrive(delete=True) == ["deleted"]


def test_events_that_nobody_can_send_say_why():
    desk = Desk(pool="", kind="webhooks")
    for body in (
        event(JobKey("default", "gone")),
        event(desk.job("running", failed=False, webhook=HOOK)),
        reference(desk.job("failed")),
    ):
        desk.dead.send(body, tenant="default")

    states = {letter.state: letter.reason for letter in desk.letters()}

    assert set(states) == {"unknown", "open", "unreadable"}
    assert all(states.values())
    assert desk.redrive() == ["left"] * 3


@pytest.mark.parametrize("kind", ["batch-split", "batch-finish"])
def test_a_message_that_steers_a_batch_names_it_and_stays(kind):
    desk = Desk(pool="", kind=kind)
    desk.dead.send(batch_message(BatchKey("acme", "b1")), tenant="acme")

    (letter,) = desk.letters()

    assert (letter.subject, letter.state) == ("acme/b1", "batch")
    assert "finisher" in letter.reason
    assert desk.redrive(delete=True) == ["left"]


def test_an_upload_that_never_became_a_batch_goes_back_and_a_refused_one_stays():
    desk = Desk(pool="", kind="batch-split")
    body = json.dumps(UPLOAD)
    desk.dead.send(body, tenant="")
    buried(desk, body)

    assert sorted(letter.state for letter in desk.letters()) == ["not admitted", "refused"]
    assert sorted(desk.redrive()) == ["left", "redriven"]
    (delivery,) = desk.source.receive(limit=10, wait_s=0)
    assert json.loads(delivery.body) == UPLOAD


@pytest.mark.parametrize(
    "body", ["not JSON", "7", "[]", "{}", '{"schema_version": 2, "batch": {}}']
)
def test_what_steers_nothing_is_unreadable(body):
    desk = Desk(pool="", kind="batch-split")
    desk.dead.put(Message(body=body, tenant=""))

    (letter,) = desk.letters()

    assert (letter.state, letter.subject) == ("unreadable", "")
    assert letter.reason
    assert desk.redrive(delete=True) == ["deleted"]


def test_letters_of_a_tenant_are_erased_from_every_queue_and_those_of_others_stay(desk):
    other = Desk()
    stage = replace(desk.stage, dead_letters=(desk.place, other.place))
    for place in stage.dead_letters:
        for tenant in ("acme", "acme-2"):
            place.queue.send(reference(JobKey(tenant, "j1")), tenant=tenant)

    assert erase_letters(stage, "acme") == 2

    left = [letter.subject for one in (desk, other) for letter in one.letters()]
    assert left == ["acme-2/j1"] * 2
