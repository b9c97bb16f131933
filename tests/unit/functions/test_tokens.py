"""Whom the authorizer lets in by a token (JWT): real keys, real signatures, a server of keys over HTTPS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import partial
from secrets import token_hex
from types import SimpleNamespace

import jwt
import orjson
import pytest
from aws_lambda_powertools import Logger
from cryptography.hazmat.primitives import serialization
from urllib3.exceptions import HTTPError

from functions.authorizer.authorize import make_handler
from functions.authorizer.signing_keys import (
    ASKED_AGAIN_S,
    KEPT_S,
    KEPT_UNRENEWED_S,
    KeysUnavailableError,
    SigningKeys,
    fetch_https,
)
from functions.authorizer.tokens import LEEWAY_S, TokenReader, open_tokens
from shared.keys import MemoryKeyStore, create_key
from shared.principal import principal_of
from tests.fixtures.issuer import (
    AUDIENCE,
    NAME,
    an_issuer,
    claims,
    ec_key,
    key_set,
    public,
    publish,
    rsa_key,
    sign,
)

KEY, STRANGERS = rsa_key(), rsa_key()
CONTEXT = SimpleNamespace(aws_request_id="invocation")


@pytest.fixture(scope="module")
def server():
    with publish() as published:
        yield published


@pytest.fixture
def published(server):
    server.status, server.headers, server.asked = 200, {}, 0
    server.body = key_set(public(KEY, "k1"))
    return server


def reader_of(published, *issuers):
    return TokenReader(
        issuers or (an_issuer(),),
        open_keys=lambda _: SigningKeys(
            partial(fetch_https, published.url, ssl_context=published.trust)
        ),
    )


@pytest.fixture
def ask(published, capsys):
    """Calls the authorizer with a header; gives the principal, or the reason for the log."""

    def call(token, *issuers, keys=None, header=None):
        # A logger of its own: Powertools' writes to the stdout of the moment when it was made.
        logger = Logger(service=f"test-tokens-{token_hex(4)}")
        handler = make_handler(keys=keys, tokens=reader_of(published, *issuers), logger=logger)
        headers = {"authorization": f"Bearer {token}"} if header is None else header
        event = {"requestContext": {"requestId": "r"}, "headers": headers}
        answer = handler(event, CONTEXT)
        logged = capsys.readouterr().out
        assert len(token) < 9 or token not in logged
        if answer["isAuthorized"]:
            return principal_of({"requestContext": {"authorizer": {"lambda": answer["context"]}}})
        line = orjson.loads(logged)
        assert (answer["context"], line["audit"]) == ({}, "denied")
        return line["reason"]

    return call


def test_a_token_of_the_issuer_is_let_in_with_its_tenant_subject_and_scopes(ask):
    found = ask(sign(KEY))
    assert (found.tenant, found.name) == ("acme", "jwt:issuer.example#joe")
    assert found.scopes == {"infer", "read:scale"}


def test_a_token_signed_on_an_elliptic_curve_is_let_in(ask, published):
    curve = ec_key()
    published.body = key_set(public(KEY, "k1"), public(curve, "k2"))
    assert ask(sign(curve, "k2", algorithm="ES256")).tenant == "acme"


def test_a_subject_cannot_break_the_lines_that_name_it(ask):
    ours = "jwt:issuer.example#"
    assert ask(sign(KEY, sub="auth0|joe@corp.com")).name == f"{ours}auth0|joe@corp.com"
    assert ask(sign(KEY, sub='joe", "tenant": "globex\n')).name == f"{ours}joe____tenant_:__globex_"
    assert ask(sign(KEY, sub="other.example#joe")).name == f"{ours}other.example_joe"
    assert len(ask(sign(KEY, sub="x" * 500)).name) == len(ours) + 128


def test_a_token_ends_for_the_functions_too_when_it_ends(ask):
    found = ask(sign(KEY, exp=int(time.time()) + 60))
    assert found.expires_at == pytest.approx(time.time() + 60 + LEEWAY_S, abs=5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": None}, "missing_claim"),
        ({"iss": "https://other.example"}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"aud": "another-service"}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": None, "client_id": "another-client"}, "wrong_audience"),
        ({"aud": {"laneway": 1}}, "wrong_audience"),
        ({"tenant": None}, "no_tenant"),
        ({"tenant": ["acme", "globex"]}, "no_tenant"),
        ({"tenant": "acme/../globex"}, "no_tenant"),
        ({"tenant": ""}, "no_tenant"),
        ({"sub": None}, "missing_claim"),
        ({"sub": ""}, "missing_claim"),
    ],
)
def test_a_token_that_says_the_wrong_thing_is_refused(ask, changes, reason):
    assert ask(sign(KEY, **changes)) == reason


@pytest.mark.parametrize(
    ("member", "in_s", "reason"),
    [("exp", -60, "expired"), ("nbf", 120, "not_yet_valid"), ("iat", 120, "not_yet_valid")],
)
def test_a_token_of_another_time_is_refused(ask, member, in_s, reason):
    assert ask(sign(KEY, **{member: int(time.time()) + in_s})) == reason


def test_audiences_may_be_several_and_a_client_stands_for_one_where_there_is_none(ask):
    assert ask(sign(KEY, aud=["other", AUDIENCE])).tenant == "acme"
    assert ask(sign(KEY, aud=None, client_id=AUDIENCE)).tenant == "acme"


def unsigned(header, said=None):
    parts = [json.dumps(part).encode() for part in (header, said or claims())]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_token_without_a_signature_is_refused(ask):
    for algorithm in ("none", "None", "NONE", ""):
        assert ask(unsigned({"alg": algorithm, "kid": "k1"}) + ".") == "wrong_algorithm"


def test_a_public_key_is_no_shared_secret(ask):
    """The attack by which a verifier that goes by the header takes the public key for a secret."""
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    body = unsigned({"alg": "HS256", "kid": "k1", "typ": "JWT"})
    digest = hmac.new(pem, body.encode(), hashlib.sha256).digest()
    forged = f"{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    assert ask(forged) == "wrong_algorithm"


def test_a_shared_secret_in_the_set_of_keys_is_passed_over(ask, published):
    secret = "a-shared-secret-of-more-than-32-bytes"
    entry = {"kty": "oct", "kid": "s", "k": base64.urlsafe_b64encode(secret.encode()).decode()}
    published.body = key_set(public(KEY, "k1"), entry)
    token = sign(secret, "s", algorithm="HS256")
    assert ask(token, an_issuer(algorithms=("HS256",))) == "unknown_signing_key"


def test_a_key_of_somebody_else_is_refused_under_any_id(ask):
    assert ask(sign(STRANGERS)) == "wrong_signature"
    assert ask(sign(STRANGERS, "k9")) == "unknown_signing_key"
    assert ask(jwt.encode(claims(), STRANGERS, algorithm="RS256")) == "unknown_signing_key"


def test_a_key_that_the_token_brings_along_is_not_used(ask):
    own = public(STRANGERS, "k1")
    headers = {"jwk": own, "jku": "https://evil.example/keys"}
    assert ask(sign(STRANGERS, headers=headers)) == "wrong_signature"


def test_a_changed_token_is_refused(ask):
    head, _, signature = sign(KEY).split(".")
    body = unsigned({}, claims(tenant="globex")).split(".")[1]
    assert ask(f"{head}.{body}.{signature}") == "wrong_signature"


def test_a_weak_key_is_refused(ask, published):
    weak = rsa_key(1024)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = sign(weak, "w")
    published.body = key_set(public(weak, "w"))
    assert ask(token) == "weak_signing_key"


def test_an_extension_that_must_be_understood_and_is_not_is_a_refusal(ask):
    assert ask(sign(KEY, headers={"crit": ["b65"], "b65": True})) == "malformed"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ü.ü.ü", "." * 3000, "e30.e30.e30"])
def test_what_is_no_token_is_refused(ask, token):
    assert ask(token) in ("malformed", "wrong_issuer")


@pytest.mark.parametrize("issuer", [[NAME], {NAME: 1}, 7])
def test_an_issuer_is_a_text(ask, issuer):
    assert (
        ask(f"{unsigned({'alg': 'RS256', 'kid': 'k1'}, claims(iss=issuer))}.AA") == "wrong_issuer"
    )


def test_a_token_nested_without_end_is_a_refusal_and_no_failure(ask):
    deep = base64.urlsafe_b64encode(b"[" * 3000).rstrip(b"=").decode()
    assert ask(f"{deep}.{deep}."[:8000]) == "malformed"


def test_a_token_past_the_limit_is_not_even_read(ask):
    assert ask(sign(KEY, more="x" * 9000)) == "too_long"


@pytest.mark.parametrize(
    "header",
    [{}, {"authorization": ""}, {"authorization": "Basic Zm9v"}, {"x-api-key": "lw_x"}],
)
def test_where_tokens_are_taken_only_a_bearer_is_looked_at(ask, header):
    assert ask("", header=header) == "not_bearer"


def test_scopes_begin_with_the_issuers_prefix_and_may_be_a_list(ask):
    cognito = an_issuer(scope_prefix="laneway/")
    assert ask(sign(KEY, scope="laneway/infer read"), cognito).scopes == {"infer"}
    okta = an_issuer(scope_claim="scp")
    assert ask(sign(KEY, scp=["submit", "openid"]), okta).scopes == {"submit"}


@pytest.mark.parametrize("scope", [None, "", 7, {"infer": True}])
def test_a_token_without_scopes_of_ours_may_do_nothing(ask, scope):
    assert ask(sign(KEY, scope=scope)).scopes == frozenset()


def test_keys_and_tokens_of_two_issuers_are_taken_at_once(ask):
    store = MemoryKeyStore()
    secret, key = create_key(store, tenant="globex")
    other = an_issuer(issuer="https://second.example", tenant_claim="org")
    both = (an_issuer(), other)
    assert ask(secret, *both, keys=store).name == f"key:{key.key_id}"
    assert ask(sign(KEY), *both, keys=store).name == "jwt:issuer.example#joe"
    second = sign(KEY, iss="https://second.example", org="initech", tenant=None)
    found = ask(second, *both, keys=store)
    assert (found.tenant, found.name) == ("initech", "jwt:second.example#joe")
    assert ask(f"lw_{'a' * 43}", *both, keys=store) == "unknown_key"


def test_keys_are_not_taken_in_a_stage_of_tokens_alone(ask):
    assert ask(f"lw_{'a' * 43}") == "malformed"


class Issuer:
    """A set of keys that changes, and a clock that is set."""

    def __init__(self, *kids):
        self.kids, self.now, self.asked, self.failure = list(kids), 1000.0, 0, None
        self.keys = SigningKeys(self.fetch, clock=lambda: self.now)

    def fetch(self):
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return key_set(*(public(KEY, kid) for kid in self.kids))


def test_keys_are_fetched_once_and_kept():
    issuer = Issuer("k1")
    assert all(issuer.keys.get("k1") for _ in range(3))
    assert issuer.asked == 1


def test_a_new_key_is_found_and_made_up_ids_do_not_make_us_ask_each_time():
    issuer = Issuer("k1")
    issuer.keys.get("k1")
    issuer.kids.append("k2")
    issuer.now += ASKED_AGAIN_S
    assert issuer.keys.get("k2") is not None
    for number in range(100):
        assert issuer.keys.get(f"made-up-{number}") is None
        issuer.now += 0.1
    assert issuer.asked == 2


def test_a_withdrawn_key_is_taken_until_keys_are_fetched_anew():
    issuer = Issuer("k1", "k2")
    assert issuer.keys.get("k2") is not None
    issuer.kids.remove("k2")
    issuer.now += KEPT_S + 1
    assert issuer.keys.get("k2") is None


def test_an_issuer_that_is_down_leaves_its_keys_standing_for_an_hour():
    issuer = Issuer("k1")
    issuer.keys.get("k1")
    issuer.failure = OSError("down")
    issuer.now += KEPT_UNRENEWED_S - 1
    assert issuer.keys.get("k1") is not None
    issuer.now += 2
    with pytest.raises(KeysUnavailableError):
        issuer.keys.get("k1")


def test_an_issuer_that_never_answered_is_asked_again_only_after_a_while():
    issuer = Issuer("k1")
    issuer.failure = OSError("down")
    for _ in range(3):
        with pytest.raises(KeysUnavailableError):
            issuer.keys.get("k1")
    assert issuer.asked == 1
    issuer.failure = None
    issuer.now += ASKED_AGAIN_S
    assert issuer.keys.get("k1") is not None


def test_keys_that_cannot_be_fetched_are_no_refusal(published):
    published.status = 503
    handler = make_handler(
        tokens=reader_of(published), logger=Logger(service="test-tokens-unavailable")
    )
    event = {"requestContext": {"requestId": "r"}}
    with pytest.raises(KeysUnavailableError):
        handler(event | {"headers": {"authorization": f"Bearer {sign(KEY)}"}}, CONTEXT)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"keys":7}', b'{"keys":null}', b"x" * 300_000, b"[" * 100_000]
)
def test_what_is_no_set_of_keys_is_not_taken_for_one(published, body):
    published.body = body
    with pytest.raises(KeysUnavailableError):
        reader_of(published).principal(sign(KEY))


def test_unusable_members_of_a_set_do_not_spoil_the_others(ask, published):
    good = public(KEY, "k1")
    no_id = {name: value for name, value in good.items() if name != "kid"}
    published.body = key_set(
        7, {"kty": "RSA", "kid": "broken"}, no_id, public(KEY, "e", use="enc"), good
    )
    assert ask(sign(KEY)).tenant == "acme"
    assert ask(sign(KEY, "e")) == "unknown_signing_key"


def test_a_redirect_is_not_followed(published):
    published.status, published.headers = 302, {"location": published.url}
    with pytest.raises(KeysUnavailableError, match="302"):
        fetch_https(published.url, ssl_context=published.trust)
    assert published.asked == 1


def test_keys_are_fetched_over_https_alone_from_a_server_that_proves_its_name(published):
    with pytest.raises(KeysUnavailableError, match="https only"):
        fetch_https(published.url.replace("https:", "http:"))
    with pytest.raises(HTTPError):
        fetch_https(published.url)
    assert published.asked == 0


def test_an_issuers_keys_are_read_from_where_it_publishes_them():
    reader = open_tokens([an_issuer(jwks_url="http://127.0.0.1:9/keys")])
    with pytest.raises(KeysUnavailableError):
        reader.principal(sign(KEY))
