"""The `auth` section: what it may say, and what is told of what it may not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from emulator.engine.book import load
from emulator.errors import FixtureError
from emulator.rules.accounts import Auth, Credential

SUBJECT = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = RSA.public_key().public_bytes(*SUBJECT).decode()
PRIVATE = RSA.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
ELLIPTIC = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*SUBJECT).decode()


def compiled(section: Any, **more: Any) -> Auth:
    auth = load([{"auth": section, **more}]).auth
    assert auth is not None
    return auth


def mistakes(section: Any, **more: Any) -> list[str]:
    with pytest.raises(FixtureError) as refused:
        load([{"auth": section, **more}])
    return [mistake.text for mistake in refused.value.mistakes]


def test_what_is_left_out_is_every_folder_and_no_end() -> None:
    auth = compiled({"api_keys": ["AQVN-one", {"key": "AQVN-two"}], "oauth_tokens": ["y0_one"]})
    assert auth.api_keys == {"AQVN-one": Credential(), "AQVN-two": Credential()}
    assert auth.oauth_tokens["y0_one"].user
    assert auth.lists
    assert not auth.open


def test_a_key_has_the_folders_of_its_account_unless_it_says_otherwise() -> None:
    keys = [
        {"key": "AQVN-one", "service_account": "aje1"},
        {"key": "AQVN-two", "service_account": "aje1", "folders": ["b1gother"]},
    ]
    auth = compiled({"api_keys": keys, "service_accounts": [{"id": "aje1", "folders": ["b1gtest"]}]})
    assert [found.folders for found in auth.api_keys.values()] == [("b1gtest",), ("b1gother",)]


def test_required_lists_nobody_and_open_is_open() -> None:
    assert (compiled("required").lists, compiled("required").open) == (False, False)
    assert compiled("open").open


def test_credentials_may_come_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_KEY", "AQVN-secret")
    auth = compiled({"api_keys": [{"key": "{{ vars.key }}", "folders": ["{{ vars.folder }}"]}]}, vars=VARS)
    assert auth.api_keys == {"AQVN-secret": Credential(folders=("b1gtest",))}


VARS = {"key": "${CI_KEY:-}", "folder": "b1gtest"}
ENDS = {"expires_at": "2026-01-31T00:00:00Z", "expires_after": "12h"}
MISTAKES: dict[str, tuple[Any, str]] = {
    "twice": (
        {"api_keys": ["AQVN-one", {"key": "AQVN-one"}]},
        "auth.api_keys[1].key: this key is listed already, as api_keys[0]",
    ),
    "twice-with-a-quarrel": (
        {"iam_tokens": ["t1.one", "t1.one"]},
        "auth.iam_tokens[1]: this token is listed already, as iam_tokens[0]",
    ),
    "empty": ({"api_keys": [""]}, "auth.api_keys[0]: an empty key is none; is a variable unset?"),
    "space": (
        {"iam_tokens": [{"token": "t1. one"}]},
        "auth.iam_tokens[0].token: a token is printable ASCII without spaces",
    ),
    "cyrillic": ({"oauth_tokens": ["y0_ключ"]}, "auth.oauth_tokens[0]: a token is printable ASCII without spaces"),
    "both-ends": (
        {"api_keys": [{"key": "k", **ENDS}]},
        "auth.api_keys[0].expires_after: expires_at says when already; leave one of the two out",
    ),
    "expired-and-an-end": (
        {"api_keys": [{"key": "k", "status": "expired", "expires_at": ENDS["expires_at"]}]},
        "auth.api_keys[0].expires_at: it is expired from the start; leave status or expires_at out",
    ),
    "no-time": (
        {"api_keys": [{"key": "k", "expires_at": "tomorrow"}]},
        "auth.api_keys[0].expires_at: 'tomorrow' is not a time; write it like 2026-01-31T12:00:00Z",
    ),
    "no-status": (
        {"api_keys": [{"key": "k", "status": "revokd"}]},
        'auth.api_keys[0].status: needs `active`, `expired` or `revoked`; found the text "revokd"',
    ),
    "user-and-account": (
        {"iam_tokens": [{"token": "t1.x", "user": True, "service_account": "aje1"}]},
        "auth.iam_tokens[0].user: it is a user's or a service account's; leave user or service_account out",
    ),
    "empty-account": (
        {"api_keys": [{"key": "k", "service_account": ""}]},
        "auth.api_keys[0].service_account: an empty id is none; is a variable unset?",
    ),
    "empty-folder": (
        {"api_keys": [{"key": "k", "folders": ["b1gtest", ""]}]},
        "auth.api_keys[0].folders[1]: an empty folder is none; is a variable unset?",
    ),
    "no-key": ({"api_keys": [{"folders": ["b1gtest"]}]}, "auth.api_keys[0]: needs the field `key`"),
    "unknown-field": (
        {"api_keys": [{"key": "k", "folder": "b1gtest"}]},
        "auth.api_keys[0].folder: no such field; did you mean folders?",
    ),
    "user-of-a-key": ({"api_keys": [{"key": "k", "user": True}]}, "auth.api_keys[0].user: no such field"),
    "account-twice": (
        {"service_accounts": ["aje1", {"id": "aje1"}]},
        "auth.service_accounts[1].id: this service account is listed already",
    ),
    "empty-key-id": (
        {"service_accounts": [{"id": "aje1", "key_id": ""}]},
        "auth.service_accounts[0].key_id: an empty key_id is none; is a variable unset?",
    ),
    "no-public-key": (
        {"service_accounts": [{"id": "aje1", "public_key": "AQVN"}]},
        "auth.service_accounts[0].public_key: that is no public key in PEM; it begins with -----BEGIN PUBLIC KEY-----",
    ),
    "a-private-key": (
        {"service_accounts": [{"id": "aje1", "public_key": PRIVATE}]},
        "auth.service_accounts[0].public_key: that is a private key; give the public one",
    ),
    "an-elliptic-key": (
        {"service_accounts": [{"id": "aje1", "public_key": ELLIPTIC}]},
        "auth.service_accounts[0].public_key: that is no RSA key, and JWTs of service accounts are signed with PS256",
    ),
    "no-such-gate": ("closed", 'auth: needs `open` or `required`; found the text "closed"'),
    "variable": ({"api_keys": ["{{ vars.kee }}"]}, "auth.api_keys[0]: no such variable: kee"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_where_it_stands(name: str) -> None:
    section, told = MISTAKES[name]
    assert [text for text in mistakes(section, vars=VARS) if text.startswith(told)]


def test_all_mistakes_are_told_at_once_and_no_secret_with_them() -> None:
    section = {"api_keys": ["AQVN-secret", "AQVN-secret", ""], "iam_tokens": ["t1.very secret"]}
    told = mistakes(section)
    assert len(told) == 3
    assert not [text for text in told if "secret" in text]


def test_a_file_tells_the_line(tmp_path: Path) -> None:
    (tmp_path / "auth.yaml").write_text("auth:\n  api_keys:\n    - AQVN-one\n    - key: AQVN-one\n")
    (tmp_path / "more.yaml").write_text("auth: required\n")
    with pytest.raises(FixtureError) as refused:
        load([tmp_path])
    told = [f"{Path(mistake.file).name}:{mistake.line}: {mistake.text}" for mistake in refused.value.mistakes]
    assert told == [
        "auth.yaml:4: auth.api_keys[1].key: this key is listed already, as api_keys[0]",
        "more.yaml:1: auth: another file has an auth section already, and there is one for all files",
    ]


def test_a_section_that_says_nothing_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "auth.yaml").write_text("auth:\n")
    with pytest.raises(FixtureError) as refused:
        load([tmp_path])
    assert "auth: says nothing; give it a value" in str(refused.value)


def test_keys_outside_the_section_are_sent_there() -> None:
    with pytest.raises(FixtureError) as refused:
        load([{"api_keys": ["AQVN-one"]}])
    assert "api_keys: no such field here; it belongs under `auth`" in str(refused.value)


@pytest.mark.parametrize(("key", "kind"), [("t1.any", "iam"), ("y0_any", "oauth")])
def test_a_token_among_the_keys_is_warned_of(key: str, kind: str) -> None:
    (warning,) = load([{"auth": {"api_keys": [key]}}]).warnings
    assert warning.text == (
        f"auth.api_keys[0]: it looks like an {kind.upper()} token; those are listed in {kind}_tokens"
    )


def test_a_public_key_without_cryptography_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, module, None)
    section = {"service_accounts": [{"id": "aje1", "public_key": PUBLIC}]}
    told = "verifying signatures needs cryptography: pip install 'fm-emulator[auth]'"
    assert mistakes(section) == [f"auth.service_accounts[0].public_key: {told}"]
    monkeypatch.undo()
    assert compiled(section).accounts["aje1"].key is not None
