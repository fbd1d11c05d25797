"""The JWT by which a service account asks for an IAM token: read, and held against what the service documents.

Signed with PS256; `iss` is the account, `kid` its key, `aud` the address of the token service; issued now, for at most
an hour. It was made by a client who lives in real time, so its times are held against that, whatever the emulator's
clock shows. The documents have one `aud`; the official SDK writes `iam.` before whatever endpoint it is given, and both
are taken. Codes and texts are our choice: INVALID_ARGUMENT for what is no such JWT, UNAUTHENTICATED for one that is not
to be trusted.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from ..clock import Wall
from ..errors import Code, Status
from ..rules.accounts import Account

T = TypeVar("T")

AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
LEEWAY = 60
"""Seconds by which a client's clock may differ from ours."""

LONGEST_LIFE = 3600
"""Seconds that a JWT may be good for (docs)."""

LONGEST = 16_384
Instant = Annotated[float, Meta(ge=0, le=1e12)]
"""Seconds since the epoch, for some thirty thousand years."""

_AUDIENCE = re.compile(r"https://iam\.[^/\s]+/iam/v1/tokens")


class _Header(Struct):
    alg: str
    kid: str


class _Claims(Struct):
    iss: str
    aud: str | list[str]
    iat: Instant
    exp: Instant


class Assertion(Struct):
    """A JWT whose form and times are sound: the account `issuer` says so, by its key `key_id`."""

    issuer: str
    key_id: str
    signed: bytes
    signature: bytes

    def check(self, account: Account) -> None:
        """Raise UNAUTHENTICATED unless that account can have made it, as far as is known."""
        if account.key_id and account.key_id != self.key_id:
            raise _untrusted(f"kid is {self.key_id[:60]!r}, which is no key of service account {self.issuer[:60]}")
        if account.key is None:
            return
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import padding
        from cryptography.hazmat.primitives.hashes import SHA256

        pss = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
        try:
            account.key.verify(self.signature, self.signed, pss, SHA256())
        except InvalidSignature:
            raise _untrusted(f"the signature is not that of the public key of {self.issuer[:60]}") from None


def read(jwt: str) -> Assertion:
    """The JWT, if its form, audience and times are right. Raises a Status that says what is wrong."""
    if len(jwt) > LONGEST:
        raise _malformed(f"it has {len(jwt)} characters; at most {LONGEST} are taken")
    parts = jwt.split(".")
    if len(parts) != 3:
        raise _malformed("it is not header.payload.signature")
    header = _decoded(parts[0], "header", _Header)
    if header.alg != "PS256":
        raise _malformed(f"header: alg is {header.alg[:20]!r}; it has to be PS256")
    if not header.kid:
        raise _malformed("header: kid is empty; it is the id of the authorized key")
    claims = _decoded(parts[1], "payload", _Claims)
    if not claims.iss:
        raise _malformed("payload: iss is empty; it is the id of the service account")
    _check_audience(claims.aud)
    _check_times(claims.iat, claims.exp, Wall.now())
    signature = _bytes(parts[2], "signature")
    if not signature:
        raise _malformed("it is not signed")
    return Assertion(claims.iss, header.kid, f"{parts[0]}.{parts[1]}".encode(), signature)


def _check_audience(given: str | list[str]) -> None:
    audiences = [given] if isinstance(given, str) else given
    if not any(_AUDIENCE.fullmatch(each) for each in audiences):
        told = ", ".join(each[:80] for each in audiences[:3]) or "empty"
        raise _untrusted(f"aud is {told}; it has to be {AUDIENCE}")


def _check_times(issued: float, expires: float, now: float) -> None:
    if issued > now + LEEWAY:
        raise _untrusted(f"iat is {issued - now:.0f} s in the future; does the client's clock run fast?")
    if expires <= now - LEEWAY:
        raise _untrusted(f"exp was {now - expires:.0f} s ago; it has expired")
    if expires <= issued:
        raise _untrusted("exp is not after iat")
    if expires - issued > LONGEST_LIFE + 1:  # one for clients that round the two apart
        raise _untrusted(f"exp is {expires - issued:.0f} s after iat; at most {LONGEST_LIFE} are allowed")


def _decoded(part: str, what: str, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(_bytes(part, what), type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failed:
        raise _malformed(f"{what}: {failed}") from None


def _bytes(part: str, what: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"{what}: it is not base64url") from None


def _malformed(why: str) -> Status:
    return Status(Code.INVALID_ARGUMENT, f"JWT is malformed: {why}")


def _untrusted(why: str) -> Status:
    return Status(Code.UNAUTHENTICATED, f"JWT is invalid: {why}")
