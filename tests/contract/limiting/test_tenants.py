"""What every store of tenants' rows must do, and what a tenant's limits become of it."""

from __future__ import annotations

from shared.limiting.tenants import TenantRow, limits_of
from shared.schema.tenants import NO_LIMITS, TenantLimits, read_limits

STAGE = TenantLimits(requests_per_s=10, burst=50, bytes_per_day=1000)


def put(rows, tenant="acme", **limits):
    rows.put(TenantRow(tenant=tenant, limits=limits))


def test_a_tenant_without_a_row_has_what_its_stage_gives(rows):
    assert limits_of(rows, "acme", defaults=STAGE) == ""


def test_a_row_wins_member_by_member(rows):
    put(rows, bytes_per_day=5, concurrent_jobs=7)

    limits = read_limits(limits_of(rows, "acme", defaults=STAGE))

    assert limits == TenantLimits(requests_per_s=10, burst=50, bytes_per_day=5, concurrent_jobs=7)


def test_a_member_that_is_none_lifts_the_stage_s_limit(rows):
    put(rows, requests_per_s=None, bytes_per_day=None)

    assert limits_of(rows, "acme", defaults=STAGE) == "{}"
    assert read_limits("{}") == NO_LIMITS


def test_a_rate_of_its_own_brings_its_own_burst(rows):
    put(rows, requests_per_s=2.5)

    limits = read_limits(limits_of(rows, "acme", defaults=STAGE))

    assert (limits.burst, limits.burst_size) == (None, 3)


def test_a_row_is_replaced_and_removed(rows):
    put(rows, concurrent_jobs=1)
    put(rows, concurrent_jobs=2)
    put(rows, "beta", concurrent_jobs=3)
    assert [(row.tenant, row.limits["concurrent_jobs"]) for row in rows.all()] == [
        ("acme", 2),
        ("beta", 3),
    ]

    rows.remove("acme")
    rows.remove("acme")

    assert rows.get("acme") is None
    assert rows.get("beta").limits == {"concurrent_jobs": 3}
