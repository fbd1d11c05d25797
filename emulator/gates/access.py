"""Who may steer the emulator: its control API, and the headers that change what a call meets.

Where every listener is loopback, anyone; elsewhere only who shows the token, and without one nobody. A token that is
set is asked for on loopback as well.
"""

from __future__ import annotations

from ..call import Call
from ..errors import Code, Status

HEADER = "x-emulator-token"


class Access:
    """`loopback` tells whether nobody but this machine can reach the listeners."""

    def __init__(self, loopback: bool, token: str | None) -> None:
        self._loopback, self._token = loopback, token

    def check(self, call: Call, what: str) -> None:
        """Raise PERMISSION_DENIED where `what` is off, and UNAUTHENTICATED for a token that is missing or wrong."""
        if self._token is None:
            if self._loopback:
                return
            raise Status(
                Code.PERMISSION_DENIED,
                f"{what} is off: the emulator can be reached from other machines; "
                f"start it with FM_EMULATOR_TOKEN set, and send that as {HEADER}",
            )
        shown = call.header(HEADER)
        if shown is None:
            raise Status(Code.UNAUTHENTICATED, f"{what} needs the emulator's token: send it as {HEADER}")
        if not same(shown, self._token):
            raise Status(Code.UNAUTHENTICATED, f"{HEADER}: that is not the emulator's token")


def same(shown: str, token: str) -> bool:
    """Whether that is the token; how long it takes to tell does not tell how much of it is."""
    import hmac  # which needs OpenSSL

    # What is no UTF-8 comes with halves of surrogate pairs in it, and is no token.
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), token.encode("utf-8", "surrogatepass"))
