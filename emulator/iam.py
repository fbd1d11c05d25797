"""IAM tokens: what was issued in a session, and what was revoked.

A token is a hash of the seed and its number, so the same calls get the same tokens. It lives for 12 hours (documented)
of the emulator's clock. Kept are the last 1,000; what is older is unknown, as if it had never been issued.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from .clock import SECOND, Clock
from .errors import Code, Status
from .rules.accounts import Credential
from .seed import Seed
from .wording import TOKEN_NOT_FOUND

LIFE = 12 * 3600 * SECOND
MOST = 1000


class Issued(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A token and what it stands for; `expires` is an instant of the emulator's clock (ns).

    `account` is the id of the account whose it is, `folders` those it may use (None: every one). One that the fixtures
    list comes here when it is revoked.
    """

    token: str
    account: str
    expires: Annotated[int, Meta(ge=0)]
    folders: tuple[str, ...] | None = None
    user: bool = False
    revoked: bool = False

    @property
    def credential(self) -> Credential:
        """The same, as the fixtures' credentials are told."""
        status = "revoked" if self.revoked else "active"
        return Credential(self.account, self.folders, self.user, status=status, expires=self.expires)


class Tokens:
    """The IAM tokens of one session; `issued` counts all there ever were."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget all of them, and begin to count again."""
        self.issued = 0
        self._tokens: dict[str, Issued] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def issue(self, seed: Seed, account: str, folders: tuple[str, ...] | None = None, user: bool = False) -> Issued:
        """A new token for that account."""
        self.issued += 1
        bits = [seed.bits("iam-token", self.issued, part) for part in range(6)]
        body, signature = (base64.urlsafe_b64encode(b"".join(half)).decode() for half in (bits[:4], bits[4:]))
        # The lengths are those of real tokens, which clients tell by them.
        token = f"t1.9eu{body.rstrip('=')}.{signature.rstrip('=')}"
        return self._keep(Issued(token, account, self._clock.now() + LIFE, folders, user))

    def get(self, token: str) -> Issued | None:
        """The token, if it is one that was issued or revoked here."""
        return self._tokens.get(token)

    def revoke(self, token: str, listed: Credential | None) -> Issued:
        """End a token for good; `listed` is what the fixtures know of it. Raises NOT_FOUND."""
        found = self._tokens.get(token)
        if found is None and listed is not None:
            found = self._keep(Issued(token, listed.account, 0, listed.folders, listed.user))
        if found is None:
            raise Status(Code.NOT_FOUND, TOKEN_NOT_FOUND)
        found.revoked = True
        return found

    def dump(self) -> list[Issued]:
        """Those that are kept, the oldest first."""
        return list(self._tokens.values())

    def put(self, issued: int, tokens: Iterable[Issued]) -> None:
        """Have exactly these, of `issued` that there ever were."""
        self.issued = issued
        self._tokens = {token.token: token for token in tokens}

    def _keep(self, token: Issued) -> Issued:
        self._tokens[token.token] = token
        if len(self._tokens) > MOST:
            # One that the fixtures list would be known again if it were forgotten that it is revoked.
            gone = next((held.token for held in self._tokens.values() if held.expires), next(iter(self._tokens)))
            del self._tokens[gone]
        return token
