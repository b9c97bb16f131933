"""When a message counts as lost."""

from __future__ import annotations

from shared.jobs.rules import JobRules
from shared.settings.jobs import IngressSettings

RULES = JobRules.of(IngressSettings(stage="dev", start_s={"heavy": 600.0}))


def test_a_message_is_lost_after_twice_the_target_of_its_class() -> None:
    assert RULES.lost_at("async", pool="shared", sent_at=1000, ttl_at=99_999) == 1000 + 2 * 60


def test_a_fleet_has_the_time_to_start_before_a_message_is_sent_again() -> None:
    assert RULES.lost_at("async", pool="heavy", sent_at=1000, ttl_at=99_999) == 1000 + 2 * 660


def test_nothing_is_looked_for_past_its_time_to_live() -> None:
    assert RULES.lost_at("batch", pool="heavy", sent_at=1000, ttl_at=1500) == 1500
