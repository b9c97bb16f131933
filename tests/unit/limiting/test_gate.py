"""What environments together let through, however many there are, and what a refusal says."""

from __future__ import annotations

import random
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from shared.errors import QuotaUsedError, RateLimitedError, StoreUnavailableError
from shared.limiting.counters import MemoryCounters, day_ends_at
from shared.limiting.counters_dynamodb import DynamoCounters
from shared.limiting.gate import Gate
from shared.limiting.held import lease_bytes, lease_calls
from shared.limiting.meter import PAUSE_S
from shared.limiting.rows import KEPT_S, Rows
from shared.limiting.tenants import MemoryTenantStore, TenantRow
from shared.limiting.usage_table import table_definition
from shared.principal import LOOK_UP
from shared.schema.tenants import TenantLimits, write_limits

NOON = 1_800_014_400.0


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


class AtOnce(Executor):
    """Pays in the thread that asks: as if the other thread were always quicker than a request."""

    def submit(self, call, /, *args, **named):
        future = Future()
        future.set_result(call(*args, **named))
        return future


class Later(Executor):
    """Pays when it is told to: as a thread that Lambda has frozen."""

    def __init__(self):
        self.waiting = []

    def submit(self, call, /, *args, **named):
        future = Future()
        future.set_result(None)  # nobody waits in a test of one thread
        self.waiting.append(lambda: call(*args, **named))
        return future

    def thaw(self):
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counters():
    return MemoryCounters()


@pytest.fixture
def table():
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        name = f"usage-{uuid4().hex}"
        client.create_table(**table_definition(name))
        yield DynamoCounters(client, table=name)


def gates(count, counters, clock, *, executor=AtOnce):
    return [Gate(lambda: counters, clock=clock, executor=executor()) for _ in range(count)]


def passes(gate, limits, *, size_bytes=0, tenant="acme"):
    try:
        gate.admit(tenant, write_limits(limits), size_bytes)
    except (RateLimitedError, QuotaUsedError):
        return False
    return True


def test_a_tenant_without_limits_meets_no_counter():
    gate = Gate(lambda: pytest.fail("nothing is to be counted"))

    assert gate.admit("acme", "", 10) is None
    assert gate.admit("acme", "{}", 10) is None


def test_a_stage_s_defaults_hold_for_tenants_without_a_row(clock, counters):
    limits = TenantLimits(requests_per_s=1, burst=1)
    gate = Gate(lambda: counters, defaults=limits, clock=clock, executor=AtOnce())

    gate.admit("acme", "", 0)

    with pytest.raises(RateLimitedError):
        [gate.admit("acme", "", 0) for _ in range(2)]
    assert gate.admit("acme", "{}", 0) is None


def run(some, limits, clock, *, calls, seconds):
    """Calls let through, of so many that come to any of the environments in so many seconds."""
    dice = random.Random(len(some))  # noqa: S311 - chooses, guards nothing
    let_through = 0
    for _ in range(calls):
        clock.now += seconds / calls
        let_through += passes(dice.choice(some), limits)
    return let_through


def check(let_through, limits, *, environments, seconds):
    """At most a lease more for each environment; at least what came back before the last pause."""
    allowed = limits.burst_size + limits.requests_per_s * seconds
    assert let_through <= allowed + environments * lease_calls(limits)
    assert let_through >= allowed - limits.requests_per_s * PAUSE_S - 1


@pytest.mark.parametrize("environments", [1, 7, 40, 200])
def test_the_overshoot_is_at_most_a_lease_for_each_environment(environments, clock, counters):
    limits = TenantLimits(requests_per_s=20, burst=30)
    some = gates(environments, counters, clock)

    let_through = run(some, limits, clock, calls=3000, seconds=10)

    check(let_through, limits, environments=environments, seconds=10)


def test_the_overshoot_on_dynamodb_is_at_most_a_lease_for_each_environment(clock, table):
    limits = TenantLimits(requests_per_s=20, burst=30)
    some = gates(9, table, clock)

    let_through = run(some, limits, clock, calls=150, seconds=2)

    check(let_through, limits, environments=9, seconds=2)


@pytest.mark.parametrize("environments", [1, 25])
def test_the_bound_holds_while_every_environment_is_frozen(environments, clock, counters):
    """Nobody pays: each environment has its lease and nothing else."""
    limits = TenantLimits(requests_per_s=20, burst=30)
    some = gates(environments, counters, clock, executor=Later)

    let_through = sum(passes(gate, limits) for gate in some for _ in range(50))

    assert let_through == environments * lease_calls(limits)


def test_what_was_spent_while_frozen_is_paid_for_when_it_goes_on(clock, counters):
    limits = TenantLimits(requests_per_s=20, burst=30)
    frozen = Later()
    gate = Gate(lambda: counters, clock=clock, executor=frozen)
    lease = lease_calls(limits)
    assert sum(passes(gate, limits) for _ in range(50)) == lease

    while frozen.waiting:
        frozen.thaw()

    other = Gate(lambda: counters, clock=clock, executor=AtOnce())
    rest = sum(passes(other, limits) for _ in range(100))
    assert rest == 30 - lease + lease


@pytest.mark.parametrize("environments", [1, 12])
@pytest.mark.parametrize("body_bytes", [20_000, 300_000, 3_300_000])
def test_the_bytes_of_a_day_are_overshot_by_a_lease_each(environments, body_bytes, clock, counters):
    """Also where bodies are larger than a lease, which is 65,536 bytes here: they are paid for before."""
    per_day = 10_000_000
    limits = TenantLimits(bytes_per_day=per_day)
    some = gates(environments, counters, clock)

    let_through = sum(
        body_bytes
        for turn in range(2 * per_day // body_bytes + 50)
        if passes(some[turn % environments], limits, size_bytes=body_bytes)
    )

    assert per_day - body_bytes < let_through <= per_day + environments * lease_bytes(per_day)


def test_a_body_that_the_day_has_no_room_for_leaves_the_rest_of_it_to_others(clock, table):
    limits = TenantLimits(bytes_per_day=1_000_000)
    one, other = gates(2, table, clock)
    assert passes(one, limits, size_bytes=600_000)

    assert not passes(one, limits, size_bytes=600_000)
    assert not passes(one, limits, size_bytes=5_000_000)

    assert passes(other, limits, size_bytes=390_000)
    assert not passes(one, limits, size_bytes=100_000)


def test_what_the_day_has_no_room_for_is_asked_of_the_counter_once(clock):
    limits = TenantLimits(bytes_per_day=1_000_000)

    class Asked(MemoryCounters):
        asked = 0

        def take_bytes(self, *args, **named):
            self.asked += 1
            return super().take_bytes(*args, **named)

    counters = Asked()
    [gate] = gates(1, counters, clock)
    assert not any(passes(gate, limits, size_bytes=5_000_000) for _ in range(10))
    assert counters.asked <= 2

    assert passes(gate, limits, size_bytes=900_000), "what is left is known, and it is enough"


def test_a_body_larger_than_a_lease_is_not_let_through_on_credit(clock, counters):
    """Nobody pays: what the counters would say is not known, so it is neither taken nor called too much."""
    limits = TenantLimits(bytes_per_day=10_000_000)
    [gate] = gates(1, counters, clock, executor=Later)

    with pytest.raises(StoreUnavailableError):
        passes(gate, limits, size_bytes=300_000)

    assert passes(gate, limits, size_bytes=60_000)


def test_bytes_that_come_by_another_way_are_of_the_same_day(clock, counters):
    limits = TenantLimits(bytes_per_day=1_000_000)
    [gate] = gates(1, counters, clock)

    gate.charge("acme", write_limits(limits), 900_000)

    with pytest.raises(QuotaUsedError):
        gate.charge("acme", write_limits(limits), 200_000)
    assert not passes(gate, limits, size_bytes=200_000)
    gate.charge("acme", "{}", 10**12)


class Table:
    """Rows of tenants that are read by name; the reads are counted."""

    def __init__(self):
        self.store, self.reads, self.failure = MemoryTenantStore(), 0, None

    def row_of(self, tenant):
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return self.store.get(tenant)

    def set(self, tenant, **limits):
        self.store.put(TenantRow(tenant=tenant, limits=limits))


@pytest.fixture
def looked_up(clock, counters):
    """A table, and a gate of callers whose limits nobody has handed down."""
    rows = Table()
    defaults = TenantLimits(concurrent_jobs=7)
    gate = Gate(
        lambda: counters,
        defaults=defaults,
        rows=Rows(lambda: rows.row_of, defaults=defaults, clock=clock),
        clock=clock,
        executor=AtOnce(),
    )
    return rows, gate


def test_limits_that_nobody_handed_down_are_looked_up_once_and_hold(looked_up):
    rows, gate = looked_up
    rows.set("signer", requests_per_s=0.5, burst=2)

    with pytest.raises(RateLimitedError, match=r"0\.5 calls a second"):
        [gate.admit("signer", LOOK_UP, 0) for _ in range(5)]

    assert gate.admit("another", LOOK_UP, 0) is None
    assert gate.limits("signer", LOOK_UP).concurrent_jobs == 7
    assert rows.reads == 2


def test_a_changed_limit_that_is_looked_up_holds_within_a_minute(looked_up, clock):
    rows, gate = looked_up
    assert gate.limits("signer", LOOK_UP).concurrent_jobs == 7
    rows.set("signer", concurrent_jobs=3)
    assert gate.limits("signer", LOOK_UP).concurrent_jobs == 7

    clock.now += KEPT_S
    gate.limits("signer", LOOK_UP)

    assert gate.limits("signer", LOOK_UP).concurrent_jobs == 3


def test_limits_that_cannot_be_looked_up_are_not_taken_for_none(looked_up, clock):
    rows, gate = looked_up
    rows.failure = StoreUnavailableError("no table answers")
    with pytest.raises(StoreUnavailableError):
        gate.admit("signer", LOOK_UP, 0)

    rows.failure = None
    rows.set("signer", requests_per_s=0.5, burst=1)
    assert gate.admit("signer", LOOK_UP, 0) is not None
    rows.failure = StoreUnavailableError("no table answers")
    clock.now += KEPT_S
    assert gate.limits("signer", LOOK_UP).burst == 1, "what was read before holds on"
    reads = rows.reads
    gate.limits("signer", LOOK_UP)
    assert rows.reads == reads, "and is not asked for with every call meanwhile"


def test_a_stage_without_signed_calls_looks_nothing_up(clock, counters):
    gate = Gate(lambda: counters, clock=clock)

    assert gate.admit("signer", LOOK_UP, 10) is None


def test_a_call_without_a_body_needs_none_of_the_day_s_bytes(clock, counters):
    limits = TenantLimits(bytes_per_day=10)
    [gate] = gates(1, counters, clock)
    while passes(gate, limits, size_bytes=10):
        pass

    assert passes(gate, limits)


def test_the_next_day_has_its_own_bytes(clock, counters):
    limits = TenantLimits(bytes_per_day=10)
    [gate] = gates(1, counters, clock)
    while passes(gate, limits, size_bytes=10):
        pass

    clock.now = day_ends_at(clock.now) + 1

    assert passes(gate, limits, size_bytes=10)


def test_a_refusal_says_when_to_call_again_and_what_is_left(clock, counters):
    limits = TenantLimits(requests_per_s=0.5, burst=2, bytes_per_day=1_000_000)
    [gate] = gates(1, counters, clock)
    while passes(gate, limits):
        pass

    with pytest.raises(RateLimitedError) as refused:
        gate.admit("acme", write_limits(limits), 0)

    headers = refused.value.headers
    assert headers["retry-after"] == "2"
    assert headers["ratelimit-policy"] == (
        '"requests";q=2;w=4, "bytes";q=1000000;w=86400;qu="content-bytes"'
    )
    assert headers["ratelimit"].startswith('"requests";r=0;t=4, "bytes";r=1000000;t=')
    clock.now += 2
    assert passes(gate, limits)


def test_a_day_that_is_used_up_says_that_midnight_helps(clock, counters):
    limits = TenantLimits(bytes_per_day=100)
    [gate] = gates(1, counters, clock)
    while passes(gate, limits, size_bytes=100):
        pass

    with pytest.raises(QuotaUsedError, match="less than these 1;") as refused:
        gate.admit("acme", write_limits(limits), 1)

    assert refused.value.headers["retry-after"] == str(int(day_ends_at(clock.now) - clock.now))


def test_an_answer_says_what_is_left(clock, counters):
    limits = TenantLimits(requests_per_s=10, burst=20)
    [gate] = gates(1, counters, clock)

    told = [gate.admit("acme", write_limits(limits), 0).fields() for _ in range(8)]

    assert told[0]["ratelimit"] == '"requests";r=19;t=1'
    assert told[-1]["ratelimit"] == '"requests";r=12;t=1'


def test_other_limits_hold_from_the_next_call_on(clock, counters):
    [gate] = gates(1, counters, clock)
    wide, narrow = TenantLimits(requests_per_s=100), TenantLimits(requests_per_s=1, burst=1)
    assert all(passes(gate, wide) for _ in range(20))

    assert sum(passes(gate, narrow) for _ in range(20)) <= lease_calls(narrow)
    assert gate.admit("acme", "{}", 0) is None


class Unreachable(MemoryCounters):
    """Counters that do not answer."""

    away = True

    def take_tokens(self, tenant, bucket, amount, *, now):
        if self.away:
            raise StoreUnavailableError("no counter answers")
        return super().take_tokens(tenant, bucket, amount, now=now)


def test_counters_that_do_not_answer_cost_the_lease_and_then_every_call(clock):
    counters = Unreachable()
    limits = TenantLimits(requests_per_s=20, burst=30)
    [gate] = gates(1, counters, clock)
    assert all(passes(gate, limits) for _ in range(lease_calls(limits)))

    with pytest.raises(StoreUnavailableError):
        passes(gate, limits)

    counters.away = False
    clock.now += 1
    assert passes(gate, limits)


def test_a_request_that_finds_nothing_left_waits_for_a_payment_under_way(clock):
    limits = TenantLimits(requests_per_s=20, burst=100)
    begun, goes_on = threading.Event(), threading.Event()

    class Slow(MemoryCounters):
        def take_tokens(self, tenant, bucket, amount, *, now):
            begun.set()
            assert goes_on.wait(5)
            return super().take_tokens(tenant, bucket, amount, now=now)

    counters = Slow()
    with ThreadPoolExecutor(1) as executor:
        gate = Gate(lambda: counters, clock=clock, executor=executor)
        for _ in range(lease_calls(limits)):
            assert passes(gate, limits)
        assert begun.wait(5)
        timer = threading.Timer(0.02, goes_on.set)
        timer.start()

        assert passes(gate, limits)
        timer.join()


def test_many_threads_spend_no_token_twice(clock, counters):
    limits = TenantLimits(requests_per_s=1, burst=200)
    some = gates(8, counters, clock, executor=lambda: ThreadPoolExecutor(1))
    with ThreadPoolExecutor(8) as pool:
        let_through = sum(
            pool.map(lambda gate: sum(passes(gate, limits) for _ in range(100)), some)
        )

    assert let_through <= 200 + 8 * lease_calls(limits)
