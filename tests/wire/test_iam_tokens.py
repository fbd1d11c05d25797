"""IamTokenService: what gets a token, what is wrong with what does not, and how a token ends."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from emulator import Emulator
from emulator.api import (
    CreateIamTokenForServiceAccountRequest,
    CreateIamTokenRequest,
    RevokeIamTokenRequest,
)
from emulator.errors import Status
from emulator.iam import MOST
from emulator.services.jwt import read

from .client import Client, Reply, asking

if TYPE_CHECKING:
    from conftest import Connect, Serve

CREATE, REVOKE = "IamTokenService/Create", "IamTokenService/Revoke"
FOR_ACCOUNT = "IamTokenService/CreateForServiceAccount"
AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
ACCOUNT, KEY_ID = "aje0000000000000ci1", "ajk0000000000000001"
REAL_TOKEN = re.compile(r"t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}")
"""What the official SDK takes for an IAM token."""


class Pair:
    """A service account's key: what signs, and the PEM of what verifies."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        public = key.public_key()
        self.public = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()


PAIR, STRANGER = Pair(), Pair()


def signed(
    pair: Pair = PAIR, *, kid: str | None = KEY_ID, iat: int | None = 0, exp: int | None = 3600, **claims: Any
) -> str:
    """A JWT as a client makes it; times are seconds from now, and a claim that is None is left out."""
    now = int(time.time())
    times = {name: now + of for name, of in (("iat", iat), ("exp", exp)) if of is not None}
    payload = {"iss": ACCOUNT, "aud": AUDIENCE, **times, **claims}
    return pyjwt.encode(payload, pair.private, algorithm="PS256", headers={"kid": kid} if kid is not None else {})


def by_hand(header: Any, payload: Any, signature: bytes = b"signed") -> str:
    """A JWT of any JSON, or of bytes that are none."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload, signature))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def by_jwt(client: Client, jwt: str) -> Reply:
    return client.call(CREATE, CreateIamTokenRequest(jwt=jwt))


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


@pytest.fixture
def client(serve: Serve, connect: Connect) -> Client:
    """A client of an emulator that nobody has shut."""
    return connect(serve())


@pytest.fixture
def emulator(serve: Serve) -> Emulator:
    """One that knows an account with its public key, and another of which it has none; its clock stands still."""
    accounts = [
        {"id": ACCOUNT, "key_id": KEY_ID, "public_key": PAIR.public, "folders": ["b1gtest"]},
        "aje0000000000000ci2",
    ]
    return serve({"auth": {"service_accounts": accounts}}, now="2031-01-01T12:00:00Z", frozen=True)


@pytest.fixture
def guarded(emulator: Emulator, connect: Connect) -> Client:
    return connect(emulator)


# -- what gets a token


def test_a_token_looks_like_a_real_one_and_lives_for_twelve_hours_of_the_emulators_clock(
    serve: Serve, connect: Connect
) -> None:
    client = connect(serve(now="2026-01-31T12:00:00Z", frozen=True))
    got = client.call(CREATE, CreateIamTokenRequest(yandex_passport_oauth_token="y0_any")).only
    assert REAL_TOKEN.fullmatch(got.iam_token)
    assert got.expires_at.ToJsonString() == "2026-02-01T00:00:00Z"


def test_tokens_differ_and_are_the_same_for_the_same_seed(serve: Serve, connect: Connect) -> None:
    def issued(seed: int) -> list[str]:
        client = connect(serve(seed=seed))
        request = CreateIamTokenRequest(yandex_passport_oauth_token="y0_any")
        return [client.call(CREATE, request).only.iam_token for _ in range(3)]

    assert len({*issued(1), *issued(2)}) == 6
    assert issued(1) == issued(1)


def test_a_jwt_gets_a_token_of_its_account(emulator: Emulator, guarded: Client) -> None:
    token = by_jwt(guarded, signed()).only.iam_token
    begun = guarded.call("TextGenerationAsyncService/Completion", asking("Привет"), bearer(token)).only
    assert begun.created_by == ACCOUNT
    elsewhere = guarded.complete(asking("Привет", model="gpt://b1gfar/yandexgpt"), metadata=bearer(token))
    assert elsewhere.text == "Specified folder ID 'b1gfar' does not match with service account folder ID 'b1gtest'"
    assert [call.account for call in emulator.calls()] == [ACCOUNT] * 3


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://iam.localhost:50051/iam/v1/tokens"},
        {"aud": ["https://example.com", AUDIENCE]},
        {"iat": 30, "exp": 3630},
        {"iat": -3630, "exp": -30},
        {"more": {"than": "is needed"}},
    ],
)
def test_what_the_official_sdk_or_a_clock_a_little_off_makes_is_taken(guarded: Client, claims: dict[str, Any]) -> None:
    assert by_jwt(guarded, signed(**claims)).code == "OK"


def test_without_a_public_key_no_signature_is_verified(client: Client, guarded: Client) -> None:
    assert by_jwt(client, signed(STRANGER, kid="any")).code == "OK"
    assert by_jwt(guarded, signed(STRANGER, kid="any", iss="aje0000000000000ci2")).code == "OK"


def test_where_anybody_may_call_a_token_still_tells_who_does(client: Client) -> None:
    token = by_jwt(client, signed()).only.iam_token
    begun = client.call("TextGenerationAsyncService/Completion", asking("Привет"), bearer(token)).only
    assert begun.created_by == ACCOUNT


# -- what does not

NOW = int(time.time())
HEADER = {"alg": "PS256", "kid": KEY_ID}
CLAIMS = {"iss": ACCOUNT, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600}
MALFORMED = {
    "no-jwt": ("nonsense", "it is not header.payload.signature"),
    "two-parts": ("a.b", "it is not header.payload.signature"),
    "no-base64": ("*.b.c", "header: it is not base64url"),
    "no-json": (by_hand(b"\xff\xfe", CLAIMS), "header: "),
    "a-list": (by_hand([], CLAIMS), "header: Expected `object`, got `array`"),
    "hs256": (by_hand({"alg": "HS256", "kid": "k"}, CLAIMS), "header: alg is 'HS256'; it has to be PS256"),
    "none": (by_hand({"alg": "none", "kid": "k"}, CLAIMS, b""), "header: alg is 'none'; it has to be PS256"),
    "no-kid": (signed(kid=None), "header: Object missing required field `kid`"),
    "empty-kid": (by_hand({"alg": "PS256", "kid": ""}, CLAIMS), "header: kid is empty"),
    "no-iss": (by_hand(HEADER, {**CLAIMS, "iss": ""}), "payload: iss is empty"),
    "no-iat": (signed(iat=None), "payload: Object missing required field `iat`"),
    "iat-as-text": (by_hand(HEADER, {**CLAIMS, "iat": "now"}), "payload: Expected `float`, got `str`"),
    "endless": (by_hand(HEADER, b'{"iss":"a","aud":"b","iat":1e999,"exp":1}'), "payload: "),
    "huge": (by_hand(HEADER, {**CLAIMS, "exp": 1e308}), "payload: Expected `float` <= "),
    "deep": (by_hand(HEADER, b'{"x":' + b"[" * 5000), "payload: "),
    "unsigned": (by_hand(HEADER, CLAIMS, b""), "it is not signed"),
    "long": ("a" * 20_000, "it has 20000 characters; at most 16384 are taken"),
}
UNTRUSTED: dict[str, tuple[Callable[[], str], str]] = {
    "audience": (
        lambda: signed(aud="https://example.com/tokens"),
        f"aud is https://example.com/tokens; it has to be {AUDIENCE}",
    ),
    "no-audience": (lambda: signed(aud=[]), f"aud is empty; it has to be {AUDIENCE}"),
    "future": (lambda: signed(iat=900, exp=1000), "s in the future; does the client's clock run fast?"),
    "past": (lambda: signed(iat=-9000, exp=-8000), "s ago; it has expired"),
    "too-long": (lambda: signed(exp=7200), "exp is 7200 s after iat; at most 3600 are allowed"),
    "backwards": (lambda: signed(iat=30, exp=10), "exp is not after iat"),
    "another-key-id": (
        lambda: signed(kid="ajk-other"),
        f"kid is 'ajk-other', which is no key of service account {ACCOUNT}",
    ),
    "another-key": (lambda: signed(STRANGER), f"the signature is not that of the public key of {ACCOUNT}"),
    "another-signature": (
        lambda: signed().rpartition(".")[0] + ".c2lnbmVk",
        "the signature is not that of the public key",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_jwt_is_refused_with_a_reason(client: Client, name: str) -> None:
    jwt, why = MALFORMED[name]
    reply = by_jwt(client, jwt)
    assert reply.code == "INVALID_ARGUMENT"
    assert reply.text.startswith(f"JWT is malformed: {why}")


@pytest.mark.parametrize("name", UNTRUSTED)
def test_a_jwt_that_is_not_to_be_trusted_is_refused_with_a_reason(guarded: Client, name: str) -> None:
    make, why = UNTRUSTED[name]
    reply = by_jwt(guarded, make())
    assert reply.code == "UNAUTHENTICATED"
    assert reply.text.startswith("JWT is invalid: ")
    assert why in reply.text


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
claims = st.fixed_dictionaries({}, optional=dict.fromkeys(("iss", "aud", "iat", "exp", "alg", "kid"), json_like))


@given(
    st.one_of(
        st.text(max_size=100),
        st.builds(by_hand, claims, claims, st.binary(max_size=5)),
        st.builds(lambda times: by_hand(HEADER, {**CLAIMS, **times}), claims),
    )
)
def test_whatever_a_jwt_says_it_is_read_or_refused(jwt: str) -> None:
    with suppress(Status):
        assert read(jwt).issuer


def test_an_account_that_is_not_listed_gets_nothing(guarded: Client) -> None:
    reply = by_jwt(guarded, signed(iss="aje-other"))
    assert (reply.code, reply.text) == ("UNAUTHENTICATED", "Service account aje-other not found")


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        (CREATE, CreateIamTokenRequest(), "yandex_passport_oauth_token or jwt"),
        (CREATE, CreateIamTokenRequest(jwt=""), "yandex_passport_oauth_token or jwt"),
        (FOR_ACCOUNT, CreateIamTokenForServiceAccountRequest(), "service_account_id"),
        (REVOKE, RevokeIamTokenRequest(), "iam_token"),
    ],
)
def test_a_request_that_names_nothing_is_refused(client: Client, method: str, request_: Any, field: str) -> None:
    reply = client.call(method, request_)
    assert (reply.code, reply.text) == ("INVALID_ARGUMENT", f"Validation error:\n{field}: Field is required")


@pytest.mark.parametrize("id_", ["x" * 51, "x" * 4_000_000, "aje\n\x1b[31m", "аккаунт", "a b"])
def test_what_can_be_no_accounts_id_gets_no_token(client: Client, id_: str) -> None:
    refused = client.call(FOR_ACCOUNT, CreateIamTokenForServiceAccountRequest(service_account_id=id_))
    told = "Validation error:\nservice_account_id: "
    assert (refused.code, refused.text[: len(told)]) == ("INVALID_ARGUMENT", told)
    assert len(refused.text) < 200
    if len(id_) < 1000:
        refused = by_jwt(client, by_hand(HEADER, {**CLAIMS, "iss": id_}))
        assert refused.code == "INVALID_ARGUMENT"
        assert refused.text.startswith("Validation error:\niss: ")


def test_a_request_that_is_none_is_refused(client: Client) -> None:
    assert client.call(CREATE, b"\x0a\x08y0").text == "the request is not a serialized CreateIamTokenRequest"


# -- OAuth


def test_an_oauth_token_is_known_by_the_section(serve: Serve, connect: Connect) -> None:
    tokens = ["y0_known", {"token": "y0_ours", "folders": ["b1gtest"]}, {"token": "y0_old", "status": "revoked"}]
    client = connect(serve({"auth": {"oauth_tokens": tokens}}))

    def create(token: str) -> Reply:
        return client.call(CREATE, CreateIamTokenRequest(yandex_passport_oauth_token=token))

    for token in ("y0_nobodys", "y0_old"):
        refused = create(token)
        assert (refused.code, refused.text) == ("UNAUTHENTICATED", "OAuth token is invalid or expired")
    assert client.complete(asking("?"), metadata=bearer(create("y0_known").only.iam_token)).code == "OK"
    ours = bearer(create("y0_ours").only.iam_token)
    assert client.complete(asking("?"), metadata=ours).code == "OK"
    assert client.complete(asking("?", model="gpt://b1gfar/yandexgpt"), metadata=ours).code == "PERMISSION_DENIED"


def test_an_iam_token_is_no_oauth_token(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"auth": "required"}))
    reply = client.call(CREATE, CreateIamTokenRequest(yandex_passport_oauth_token="t1.any"))
    assert reply.text == "OAuth token is invalid or expired"


# -- for a service account


def test_a_token_for_an_account_takes_a_caller_who_is_known(guarded: Client) -> None:
    request = CreateIamTokenForServiceAccountRequest(service_account_id="aje0000000000000ci2")
    assert guarded.call(FOR_ACCOUNT, request).text == "IAM token or API key has to be passed in request"
    mine = by_jwt(guarded, signed()).only.iam_token
    theirs = guarded.call(FOR_ACCOUNT, request, bearer(mine)).only.iam_token
    begun = guarded.call("TextGenerationAsyncService/Completion", asking("Привет"), bearer(theirs)).only
    assert begun.created_by == "aje0000000000000ci2"
    unknown = CreateIamTokenForServiceAccountRequest(service_account_id="aje-nobody")
    reply = guarded.call(FOR_ACCOUNT, unknown, bearer(mine))
    assert (reply.code, reply.text) == ("NOT_FOUND", "Service account aje-nobody not found")


# -- the end of a token


def test_a_token_expires_on_the_emulators_clock(emulator: Emulator, guarded: Client) -> None:
    token = by_jwt(guarded, signed()).only.iam_token
    emulator.clock.advance("11h59m59s")
    assert guarded.complete(asking("?"), metadata=bearer(token)).code == "OK"
    emulator.clock.advance("1s")
    reply = guarded.complete(asking("?"), metadata=bearer(token))
    assert (reply.code, reply.text) == ("UNAUTHENTICATED", "The token is invalid")
    assert "the IAM token it shows is expired" in emulator.calls()[-1].behaviour
    # The JWT is one of real time, and so as good as before.
    assert by_jwt(guarded, signed()).code == "OK"


def test_a_revoked_token_is_of_no_use(emulator: Emulator, guarded: Client) -> None:
    token, other = (by_jwt(guarded, signed()).only.iam_token for _ in range(2))
    revoke = RevokeIamTokenRequest(iam_token=token)
    assert guarded.call(REVOKE, revoke).only.subject_id == ACCOUNT
    assert guarded.call(REVOKE, revoke).only.subject_id == ACCOUNT
    assert guarded.complete(asking("?"), metadata=bearer(token)).text == "The token is invalid"
    assert "the IAM token it shows is revoked" in emulator.calls()[-1].behaviour
    assert guarded.complete(asking("?"), metadata=bearer(other)).code == "OK"


def test_a_revoked_token_is_of_no_use_where_any_would_do(serve: Serve, connect: Connect) -> None:
    client = connect(serve(require_auth=True))
    token = by_jwt(client, signed()).only.iam_token
    assert client.complete(asking("?"), metadata=bearer(token)).code == "OK"
    client.call(REVOKE, RevokeIamTokenRequest(iam_token=token))
    assert client.complete(asking("?"), metadata=bearer(token)).code == "UNAUTHENTICATED"


def test_a_listed_token_can_be_revoked_too(serve: Serve, connect: Connect) -> None:
    tokens = [{"token": "t1.listed", "service_account": ACCOUNT}, {"token": "t1.person", "user": True}]
    client = connect(serve({"auth": {"iam_tokens": tokens}}))
    assert client.complete(asking("?"), metadata=bearer("t1.listed")).code == "OK"
    assert client.call(REVOKE, RevokeIamTokenRequest(iam_token="t1.listed")).only.subject_id == ACCOUNT
    assert client.call(REVOKE, RevokeIamTokenRequest(iam_token="t1.person")).only.subject_id.startswith("aje")
    for token in ("t1.listed", "t1.person"):
        assert client.complete(asking("?"), metadata=bearer(token)).text == "The token is invalid"


def test_a_token_that_nobody_issued_can_not_be_revoked(client: Client) -> None:
    reply = client.call(REVOKE, RevokeIamTokenRequest(iam_token="t1.any"))
    assert (reply.code, reply.text) == ("NOT_FOUND", "IAM token not found")


def test_the_last_thousand_tokens_are_kept(serve: Serve, connect: Connect) -> None:
    emulator = serve({"auth": {"oauth_tokens": ["y0_known"]}})
    client = connect(emulator)
    request = CreateIamTokenRequest(yandex_passport_oauth_token="y0_known")
    issued = [client.call(CREATE, request).only.iam_token for _ in range(MOST + 1)]
    assert len(emulator.sessions.default.tokens) == MOST
    assert client.complete(asking("?"), metadata=bearer(issued[0])).code == "UNAUTHENTICATED"
    assert client.complete(asking("?"), metadata=bearer(issued[1])).code == "OK"


def test_a_listed_token_stays_revoked_however_many_are_issued_after(serve: Serve, connect: Connect) -> None:
    emulator = serve({"auth": {"oauth_tokens": ["y0_known"], "iam_tokens": ["t1.listed"]}})
    client = connect(emulator)
    client.call(REVOKE, RevokeIamTokenRequest(iam_token="t1.listed"))
    request = CreateIamTokenRequest(yandex_passport_oauth_token="y0_known")
    issued = [client.call(CREATE, request).only.iam_token for _ in range(MOST)]
    assert len(emulator.sessions.default.tokens) == MOST
    assert client.complete(asking("?"), metadata=bearer("t1.listed")).code == "UNAUTHENTICATED"
    assert client.complete(asking("?"), metadata=bearer(issued[0])).code == "UNAUTHENTICATED"
    assert client.complete(asking("?"), metadata=bearer(issued[1])).code == "OK"
    emulator.restore(emulator.snapshot())
    assert client.complete(asking("?"), metadata=bearer("t1.listed")).code == "UNAUTHENTICATED"


# -- public keys in fixtures


def keyed(public_key: Any) -> dict[str, Any]:
    return {"auth": {"service_accounts": [{"id": ACCOUNT, "public_key": public_key}]}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key.pem").write_text(PAIR.public)
    (tmp_path / "auth.yaml").write_text(
        f"auth:\n  service_accounts:\n    - id: {ACCOUNT}\n      public_key: {{file: key.pem}}\n"
    )
    return tmp_path


def test_a_public_key_may_lie_beside_the_fixtures_and_travels_with_them(
    folder: Path, serve: Serve, connect: Connect
) -> None:
    first, second = serve(folder), serve()
    second.restore(first.snapshot())
    for emulator in (first, second):
        client = connect(emulator)
        assert by_jwt(client, signed()).code == "OK"
        assert by_jwt(client, signed(STRANGER)).code == "UNAUTHENTICATED"
