"""Which objects a tenant may name: its uploads, the places that the stage lists, and nothing near them."""

from __future__ import annotations

import pytest

from shared.errors import UriNotAllowedError
from shared.jobs.places import check_input_uri
from shared.jobs.rules import JobRules

RULES = JobRules(
    bucket="stage-bucket",
    targets_s={"async": 60, "batch": 60},
    ttls_s={"async": 60, "batch": 60},
    timeout_s=1,
    retention_s=1,
    input_places={"acme": ["s3://lake/in/", "s3://lake/exact"], "other": ["s3://theirs/"]},
)


def check(uri, tenant="acme"):
    return check_input_uri(uri, tenant=tenant, rules=RULES)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://stage-bucket/uploads/acme/a", "uploads/acme/a"),
        ("s3://stage-bucket/uploads/acme/deep/er/a.json", "uploads/acme/deep/er/a.json"),
        ("s3://stage-bucket/uploads/acme/100%", "uploads/acme/100%"),
        ("s3://stage-bucket/uploads/acme/..a", "uploads/acme/..a"),
        ("s3://lake/in/2026/rows.json", "s3://lake/in/2026/rows.json"),
        ("s3://lake/exact/rows.json", "s3://lake/exact/rows.json"),
    ],
)
def test_own_uploads_are_keys_and_listed_places_stay_uris(uri, place):
    assert check(uri) == place


@pytest.mark.parametrize(
    "uri",
    [
        "s3://stage-bucket/uploads/other/a",
        "s3://stage-bucket/uploads/acme",
        "s3://stage-bucket/uploads/acme/",
        "s3://stage-bucket/uploads/acme2/a",
        "s3://stage-bucket/inputs/acme/a",
        "s3://stage-bucket/results/acme/a",
        "s3://stage-bucket/uploads/acme/../other/a",
        "s3://stage-bucket/uploads/acme/./a",
        "s3://stage-bucket/uploads/acme//a",
        "s3://stage-bucket/uploads/acme/%2e%2e/other/a",
        "s3://stage-bucket/uploads/acme/%2E%2E%2Fother/a",
        "s3://stage-bucket/uploads/acme/%252e%252e/other/a",
        "s3://stage-bucket/uploads/acme/%25252525252e%2525252525252e/a",
        "s3://stage-bucket/uploads/acme/..\\other\\a",
        "s3://stage-bucket/uploads/acme/%5c..%5cother",
        "s3://stage-bucket//uploads/acme/a",
        "s3://stage-bucket/Uploads/acme/a",
        "s3://STAGE-BUCKET/uploads/acme/a",
        "S3://stage-bucket/uploads/acme/a",
        "s3://stage-bucket:443/uploads/acme/a",
        "s3://user@stage-bucket/uploads/acme/a",
        "s3://stage-bucket/uploads/acme/a\n",
        "s3://stage-bucket/uploads/acme/a b",
        "https://stage-bucket.s3.amazonaws.com/uploads/acme/a",
        "file:///etc/passwd",
        "s3://lake/in",
        "s3://lake/in/",
        "s3://lake/inner/a",
        "s3://lake/in/../secret",
        "s3://lake/exact",
        "s3://lake/exactly/a",
        "s3://theirs/a",
        "s3://",
        "",
    ],
)
def test_every_other_place_is_refused(uri):
    with pytest.raises(UriNotAllowedError) as refused:
        check(uri)
    assert refused.value.field == "input_uri"
    assert "s3://stage-bucket/uploads/acme/" in refused.value.message


def test_places_of_one_tenant_are_not_anothers():
    with pytest.raises(UriNotAllowedError):
        check("s3://lake/in/a", tenant="other")
    assert check("s3://theirs/a", tenant="other") == "s3://theirs/a"
