from __future__ import annotations

import threading

import boto3
import pytest
from botocore.stub import Stubber

from cli.testing.metadata import FakeMetadata, serve_metadata
from gpu_workers.lifecycle import AutoScalingLifecycle, MemoryLifecycle
from gpu_workers.metadata import InstanceMetadata
from gpu_workers.watcher import Watcher, make_watcher
from shared.errors import UnavailableError
from shared.settings.jobs import WorkerSettings

PATIENCE_S = 10


class Drain:
    """Keeps the seconds that were left."""

    def __init__(self):
        self.left_s = []
        self.began = threading.Event()

    def __call__(self, left_s):
        self.left_s.append(left_s)
        self.began.set()


class Reports:
    def __init__(self):
        self.told = []
        self.changed = threading.Event()

    def __call__(self, name, value, **members):
        self.told.append((name, value, members))
        self.changed.set()


@pytest.fixture
def drain():
    return Drain()


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def fake():
    with serve_metadata(FakeMetadata()) as metadata:
        yield metadata


@pytest.fixture
def watcher(fake, drain, reports):
    made = []

    def make(lifecycle=None, **options):
        watcher = Watcher(
            InstanceMetadata(fake.url),
            drain=drain,
            report=reports,
            lifecycle=lifecycle,
            poll_s=0.02,
            **options,
        )
        made.append(watcher)
        watcher.start()
        return watcher

    yield make
    for watcher in made:
        watcher.finish()


def test_a_notice_drains_the_worker_by_its_time(fake, watcher, drain, reports):
    watcher()

    fake.interrupt(in_s=90)

    assert drain.began.wait(PATIENCE_S)
    assert 85 < drain.left_s[0] <= 90
    name, value, members = reports.told[0]
    assert (name, value, members["kind"]) == ("interruptions", 1, "spot")


def test_a_notice_whose_time_has_passed_leaves_nothing(fake, watcher, drain):
    watcher()

    fake.interrupt(in_s=-30)

    assert drain.began.wait(PATIENCE_S)
    assert drain.left_s == [0.0]


def test_a_worker_that_its_group_terminates_ends_the_groups_wait(fake, watcher, drain):
    lifecycle = MemoryLifecycle()
    watching = watcher(lifecycle)
    fake.terminate()
    assert drain.began.wait(PATIENCE_S)
    assert lifecycle.completed == ()

    watching.finish()

    assert lifecycle.completed == (fake.instance_id,)


def test_a_worker_that_drained_for_another_reason_ends_no_wait(fake, watcher, drain):
    lifecycle = MemoryLifecycle()
    watching = watcher(lifecycle)
    fake.interrupt()
    assert drain.began.wait(PATIENCE_S)

    watching.finish()

    assert lifecycle.completed == ()


def test_a_wait_that_cannot_be_ended_is_logged_and_left_to_its_time(fake, watcher, drain, caplog):
    class Broken:
        def complete(self, instance_id):
            raise UnavailableError(f"no way to end the wait of {instance_id}")

    watching = watcher(Broken())
    fake.terminate()
    assert drain.began.wait(PATIENCE_S)

    watching.finish()

    assert "no way to end the wait" in caplog.text


def test_a_service_out_of_reach_is_reported_and_asked_again(fake, watcher, drain, reports):
    fake.failing = frozenset({"/latest/api/token"})
    watcher(unreachable_s=0.1)
    assert reports.changed.wait(PATIENCE_S)
    assert reports.told[0][:2] == ("metadata_unreachable", 1)

    fake.failing = frozenset()
    fake.interrupt()

    assert drain.began.wait(PATIENCE_S)


def test_a_drain_that_fails_does_not_end_the_watch(fake, caplog):
    class Failing(Drain):
        def __call__(self, left_s):
            super().__call__(left_s)
            raise RuntimeError("no drain today")

    failing = Failing()
    watching = Watcher(InstanceMetadata(fake.url), drain=failing, report=Reports(), poll_s=0.02)
    watching.start()
    fake.interrupt()
    assert failing.began.wait(PATIENCE_S)
    failing.began.clear()
    fake.interrupt(in_s=60)

    assert failing.began.wait(PATIENCE_S)
    watching.finish()
    assert "RuntimeError" in caplog.text


EXPECTED = {
    "AutoScalingGroupName": "laneway-prod-heavy",
    "LifecycleHookName": "drain",
    "LifecycleActionResult": "CONTINUE",
    "InstanceId": "i-1",
}


@pytest.fixture
def autoscaling():
    return boto3.client(
        "autoscaling",
        region_name="eu-west-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def test_the_wait_is_ended_with_the_groups_own_call(autoscaling):
    with Stubber(autoscaling) as stub:
        stub.add_response("complete_lifecycle_action", {}, EXPECTED)

        AutoScalingLifecycle(autoscaling, group="laneway-prod-heavy", hook="drain").complete("i-1")

        stub.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["ValidationError", "ResourceContention", "AccessDenied"])
def test_a_group_that_refuses_is_an_error_of_ours(autoscaling, code):
    """ValidationError is what AWS says when the instance waits no longer."""
    with Stubber(autoscaling) as stub:
        stub.add_client_error("complete_lifecycle_action", code, expected_params=EXPECTED)

        with pytest.raises(UnavailableError, match=code):
            AutoScalingLifecycle(autoscaling, group="laneway-prod-heavy", hook="drain").complete(
                "i-1"
            )


@pytest.mark.parametrize("platform", ["local", "fargate"])
def test_where_there_is_no_instance_nothing_is_watched(platform, drain, reports):
    settings = WorkerSettings(stage="dev", pool="heavy", platform=platform)

    assert make_watcher(settings, drain=drain, report=reports) is None


def test_on_an_instance_the_watch_is_made_of_the_settings(fake, drain, reports, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    settings = WorkerSettings(
        stage="dev",
        pool="heavy",
        platform="ec2",
        metadata_url=fake.url,
        metadata_poll_s=0.02,
        autoscaling_group="laneway-dev-heavy",
        lifecycle_hook="drain",
    )
    watching = make_watcher(settings, drain=drain, report=reports)
    watching.start()

    fake.interrupt()

    assert drain.began.wait(PATIENCE_S)
    watching.finish()
