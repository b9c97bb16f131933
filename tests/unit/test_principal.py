"""Who calls, as the functions read it from the gateway's context."""

from __future__ import annotations

import json
import re
import time

import pytest

from shared.errors import ForbiddenError, UnauthorizedError
from shared.principal import (
    LOOK_UP,
    NOBODY,
    Principal,
    Signers,
    check_scopes,
    principal_of,
    principal_of_arn,
    read_scopes,
    write_verdict,
)

ACME = Principal("acme", "key:0123456789abcdef", read_scopes("infer:iris read"), '{"burst":5}')


def event(context, *, kind="lambda"):
    return json.loads(json.dumps({"requestContext": {"authorizer": {kind: context}}}))


def test_what_the_authorizer_hands_down_is_read_back():
    found = principal_of(event(write_verdict(ACME, key_id="0123456789abcdef")))
    assert (found, found.limits, found.expires_at) == (ACME, '{"burst":5}', None)


def test_a_verdict_that_was_seen_before_is_not_read_again():
    verdict = write_verdict(ACME)
    assert principal_of(event(verdict)) is principal_of(event(verdict))


@pytest.mark.parametrize("member", ["tenant", "name", "limits", "expires_at"])
def test_verdicts_that_differ_in_anything_are_told_apart(member):
    other = {"tenant": "globex", "name": "key:other", "limits": "{}", "expires_at": 4e9}[member]
    fields = {name: getattr(ACME, name) for name in ("tenant", "name", "limits", "expires_at")}
    changed = Principal(**{**fields, member: other}, scopes=ACME.scopes)
    principal_of(event(write_verdict(ACME)))
    assert getattr(principal_of(event(write_verdict(changed))), member) == other


def test_a_call_that_no_authorizer_saw_may_do_nothing():
    for authorizer in ({}, {"authorizer": {}}, {"authorizer": {"iam": {}}}):
        found = principal_of({"requestContext": authorizer})
        assert found == NOBODY
        assert not any(found.may_some(scope) for scope in ("infer", "submit", "read", "admin"))


def test_an_empty_member_scopes_grants_nothing():
    assert principal_of(event({"tenant": "acme", "scopes": ""})).scopes == frozenset()


def test_a_token_ends_when_it_says_so_however_long_the_gateway_keeps_the_verdict():
    expired = Principal("acme", "jwt:joe", ACME.scopes, expires_at=time.time() - 1)
    later = Principal("acme", "jwt:joe", ACME.scopes, expires_at=time.time() + 60)
    with pytest.raises(UnauthorizedError, match="expired"):
        principal_of(event(write_verdict(expired)))
    assert principal_of(event(write_verdict(later))).tenant == "acme"


def test_a_scope_for_one_model_is_none_for_another_nor_for_all():
    assert ACME.may("infer", "iris")
    assert not ACME.may("infer", "irises")
    assert not ACME.may("infer")
    assert ACME.may_some("infer")
    assert ACME.may("read", "any-model")
    assert not ACME.may_some("submit")


def test_admin_includes_the_other_scopes_for_as_many_models_as_it_has():
    assert read_scopes("admin") == {"admin", "infer", "submit", "read"}
    assert read_scopes("admin:iris") == {"admin:iris", "infer:iris", "submit:iris", "read:iris"}


def test_a_refusal_names_the_scope_and_where_it_comes_from():
    with pytest.raises(ForbiddenError, match=r"submit or submit:iris.*laneway keys create --scope"):
        ACME.require("submit", "iris")
    with pytest.raises(ForbiddenError, match="the scope submit"):
        ACME.require_some("submit")
    ACME.require("infer", "iris")


def test_words_of_a_claim_that_are_no_scopes_of_ours_are_passed_over():
    assert read_scopes("openid infer profile infer:Not-A-Model inferx read:") == {"infer"}


def test_scopes_that_there_are_not_are_refused_when_a_key_is_made():
    assert check_scopes(["read", "infer:iris", "read"]) == "infer:iris read"
    with pytest.raises(ValueError, match=r"'write' is no scope; there are infer, submit, read"):
        check_scopes(["write"])


@pytest.mark.parametrize(
    ("arn", "tenant", "name"),
    [
        (
            "arn:aws:sts::123456789012:assumed-role/caller/session-7",
            "iam.123456789012.role.caller",
            "iam:arn:aws:sts::123456789012:assumed-role/caller",
        ),
        (
            "arn:aws:iam::123456789012:user/team/ci",
            "iam.123456789012.user.ci",
            "iam:arn:aws:iam::123456789012:user/team/ci",
        ),
        (
            "arn:aws-cn:iam::123456789012:root",
            "iam.123456789012.root",
            "iam:arn:aws-cn:iam::123456789012:root",
        ),
    ],
)
def test_a_caller_of_iam_is_its_role_or_user_whatever_its_session(arn, tenant, name):
    found = principal_of(event({"userArn": arn, "accountId": "123456789012"}, kind="iam"))
    assert (found.tenant, found.name) == (tenant, name)
    assert found.scopes == {"infer", "submit", "read"}


def test_a_name_that_no_prefix_could_hold_becomes_a_digest_that_tells_names_apart():
    tenants = {
        principal_of_arn(f"arn:aws:iam::123456789012:user/{name}").tenant
        for name in ("joe@corp.com", "joe=corp.com", "joe.corp.com")
    }
    assert len(tenants) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", tenant) for tenant in tenants)


def test_a_name_cannot_pass_for_the_digest_of_another():
    odd = principal_of_arn("arn:aws:sts::123456789012:assumed-role/a+b/s").tenant
    digest = odd.rpartition(".")[2]
    assert digest.startswith("sha256-")
    posing = principal_of_arn(f"arn:aws:sts::123456789012:assumed-role/{digest}/s")
    assert posing.tenant not in (odd, f"iam.123456789012.role.{digest}")


GRANTED = Signers(
    {"role/batch-*": "submit read", "role/batch-night": "infer:scale", "user/ann": "admin"}
)


@pytest.mark.parametrize(
    ("arn", "scopes"),
    [
        ("sts::123456789012:assumed-role/batch-day/1", {"submit", "read"}),
        ("sts::123456789012:assumed-role/batch-night/1", {"submit", "read", "infer:scale"}),
        ("iam::123456789012:user/team/ann", {"infer", "submit", "read", "admin"}),
        ("iam::123456789012:user/batch-day", set()),
        ("sts::123456789012:assumed-role/another-batch-day/1", set()),
        ("iam::123456789012:user/x:role/batch-day", set()),
        ("sts::123456789012:federated-user/ann", set()),
        ("iam::123456789012:root", set()),
    ],
)
def test_whom_iam_knows_has_what_the_stage_grants_by_name_and_else_nothing(arn, scopes):
    caller = {"userArn": f"arn:aws:{arn}", "accountId": "123456789012"}

    assert principal_of(event(caller, kind="iam"), GRANTED).scopes == scopes
    assert principal_of(event(caller, kind="iam")).scopes == {"infer", "submit", "read"}


def test_limits_of_whom_iam_knows_are_still_to_be_read():
    assert principal_of_arn("arn:aws:iam::123456789012:user/ann").limits == LOOK_UP


def test_a_session_cannot_name_another_role():
    found = principal_of_arn("arn:aws:sts::123456789012:assumed-role/weak/../strong")
    assert found.tenant == "iam.123456789012.role.weak"
    assert found.name == "iam:arn:aws:sts::123456789012:assumed-role/weak"
