"""Who may call: the `auth` section of a file, compiled.

Keys, tokens and accounts stand in it by what clients show of them. What they may do is told by folders, since the roles
of the real service are beyond a fixture: an account may use a folder, or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from . import model
from .conditions import Report

IAM_TOKEN = re.compile(r"t\d\.\S")
"""How an IAM token begins (docs)."""

OAUTH_TOKEN = re.compile(r"y[0-3]_\S")
"""How an OAuth token begins (docs)."""


class Credential(Struct, frozen=True):
    """What a key or token stands for.

    `account` is the id of the account whose it is, empty where nobody has said. `folders` are those it may use, the
    account's own first; None is every folder. `user` tells a user account's from a service account's; with
    `asks_folder` its calls have to name a folder in `x-folder-id`. `expires` is an instant of the emulator's clock, and
    `lasts` counts from when that began (ns both).
    """

    account: str = ""
    folders: tuple[str, ...] | None = None
    user: bool = False
    asks_folder: bool = False
    status: str = "active"
    expires: int | None = None
    lasts: int | None = None

    def ended(self, now: int, began: int) -> str:
        """Why it is not to be used any more at the instant `now` of a clock that began at `began`; empty if it is."""
        if self.status != "active":
            return self.status
        end = self.expires if self.lasts is None else began + self.lasts
        return "expired" if end is not None and now >= end else ""


class Account(Struct, frozen=True):
    """A service account; `key` is its public key, of `cryptography`'s classes."""

    key_id: str = ""
    key: Any = None
    folders: tuple[str, ...] | None = None


class Auth(Struct, frozen=True):
    """Who may call; everybody, where it is `open`. Credentials by the text that clients show, accounts by id."""

    open: bool = False
    api_keys: Mapping[str, Credential] = field(default_factory=dict)
    iam_tokens: Mapping[str, Credential] = field(default_factory=dict)
    oauth_tokens: Mapping[str, Credential] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)

    @property
    def lists(self) -> bool:
        """Whether it tells who is known; else anyone is who shows a credential."""
        return bool(self.api_keys or self.iam_tokens or self.oauth_tokens or self.accounts)


OPEN = Auth(open=True)
REQUIRED = Auth()


def compile_auth(
    spec: str | model.Auth, read_file: Callable[[str], bytes], report: Report, warn: Callable[..., None]
) -> Auth:
    """The section; mistakes go to `report`, what is valid and hardly meant to `warn`."""
    if isinstance(spec, str):
        return OPEN if spec == "open" else REQUIRED
    accounts = _accounts(spec, read_file, report)
    for i, key in enumerate(spec.api_keys or ()):
        text = key if isinstance(key, str) else key.key
        kind = "iam" if IAM_TOKEN.match(text) else "oauth" if OAUTH_TOKEN.match(text) else ""
        if kind:
            warn(("api_keys", i), f"it looks like an {kind.upper()} token; those are listed in {kind}_tokens")
    return Auth(
        api_keys=_credentials("api_keys", "key", spec.api_keys, accounts, report),
        iam_tokens=_credentials("iam_tokens", "token", spec.iam_tokens, accounts, report),
        oauth_tokens=_credentials("oauth_tokens", "token", spec.oauth_tokens, accounts, report),
        accounts=accounts,
    )


def _credentials(
    kind: str, called: str, listed: Sequence[Any] | None, accounts: Mapping[str, Account], report: Report
) -> dict[str, Credential]:
    found: dict[str, Credential] = {}
    lines: dict[str, int] = {}
    for i, spec in enumerate(listed or ()):
        plain = isinstance(spec, str)
        text, at = (spec, (kind, i)) if plain else (getattr(spec, called), (kind, i, called))
        if wrong := wrong_text(text, called):
            report(at, wrong)
        elif text in found:
            report(at, f"this {called} is listed already, as {kind}[{lines[text]}]")
        else:
            lines[text] = i
            user = kind == "oauth_tokens"
            found[text] = Credential(user=user) if plain else _credential(spec, user, accounts, (kind, i), report)
    return found


def _credential(
    spec: Any, user: bool, accounts: Mapping[str, Account], at: tuple[str | int, ...], report: Report
) -> Credential:
    account: str = getattr(spec, "service_account", None) or ""
    asks_folder = bool(getattr(spec, "user", None))
    if account and asks_folder:
        report((*at, "user"), "it is a user's or a service account's; leave user or service_account out")
    if getattr(spec, "service_account", None) is not None and (wrong := wrong_text(account, "id")):
        report((*at, "service_account"), wrong)
    ends = [name for name in ("expires_at", "expires_after") if getattr(spec, name) is not None]
    if len(ends) == 2:
        report((*at, "expires_after"), "expires_at says when already; leave one of the two out")
    elif ends and spec.status in ("expired", "revoked"):
        report((*at, ends[0]), f"it is {spec.status} from the start; leave status or {ends[0]} out")
    folders = _folders(spec.folders, at, report)
    if folders is None and account in accounts:
        folders = accounts[account].folders
    return Credential(
        account,
        folders,
        user or asks_folder,
        asks_folder,
        spec.status or "active",
        spec.expires_at.ns if spec.expires_at is not None else None,
        spec.expires_after.ns if spec.expires_after is not None else None,
    )


def _accounts(spec: model.Auth, read_file: Callable[[str], bytes], report: Report) -> dict[str, Account]:
    found: dict[str, Account] = {}
    for i, given in enumerate(spec.service_accounts or ()):
        at = ("service_accounts", i)
        account = model.ServiceAccount(id=given) if isinstance(given, str) else given
        where = at if given is not account else (*at, "id")
        if wrong := wrong_text(account.id, "id"):
            report(where, wrong)
        elif account.id in found:
            report(where, "this service account is listed already")
        if account.key_id is not None and (wrong := wrong_text(account.key_id, "key_id")):
            report((*at, "key_id"), wrong)
        key = None
        if account.public_key is not None:
            try:
                key = _public_key(account.public_key, read_file)
            except ValueError as failed:
                report((*at, "public_key"), str(failed))
        found.setdefault(account.id, Account(account.key_id or "", key, _folders(account.folders, at, report)))
    return found


def _folders(listed: Sequence[str] | None, at: tuple[str | int, ...], report: Report) -> tuple[str, ...] | None:
    if listed is None:
        return None
    for n, folder in enumerate(listed):
        if wrong := wrong_text(folder, "folder"):
            report((*at, "folders", n), wrong)
    return tuple(listed)


def wrong_text(text: str, called: str) -> str:
    """Why no client can show this; what it is not quoted, for it may be a secret."""
    if not text:
        return f"an empty {called} is none; is a variable unset?"
    if not text.isascii() or not text.isprintable() or " " in text:
        return f"a {called} is printable ASCII without spaces"
    return ""


def _public_key(given: str | model.KeyFile, read_file: Callable[[str], bytes]) -> Any:
    """The RSA key of a PEM. Raises ValueError that says why there is none."""
    pem = given.encode() if isinstance(given, str) else read_file(given.file)
    if b"PRIVATE KEY-----" in pem:
        raise ValueError("that is a private key; give the public one, and keep this one out of fixtures")
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise ValueError("verifying signatures needs cryptography: pip install 'fm-emulator[auth]'") from None
    try:
        key = load_pem_public_key(pem)
    except Exception:  # ValueError and UnsupportedAlgorithm, as versions differ
        raise ValueError("that is no public key in PEM; it begins with -----BEGIN PUBLIC KEY-----") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("that is no RSA key, and JWTs of service accounts are signed with PS256")
    return key
