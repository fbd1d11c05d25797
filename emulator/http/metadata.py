"""The metadata server of a virtual machine, as far as clients without credentials ask it: for an IAM token.

The SDK's `MetadataAuth` asks it at the address in `YC_METADATA_ADDR`. The machine's service account is the first one
that the fixtures list, else the session's own, which may use every folder (our choice). The session is the one that
the server began with.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from ..clock import SECOND
from ..sessions import Sessions

PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
FLAVOR = "Metadata-Flavor"


def routes(sessions: Callable[[], Sessions]) -> list[web.RouteDef]:
    """What it answers."""

    async def token(request: web.Request) -> web.Response:
        if request.headers.get(FLAVOR) != "Google":
            return web.Response(status=403, text=f"Missing required header: {FLAVOR}: Google\n")
        session = sessions().default
        account, known = next(iter(session.auth.accounts.items()), (session.account, None))
        issued = session.tokens.issue(session.seed, account, known.folders if known is not None else None)
        left = (issued.expires - session.clock.now()) // SECOND
        told = {"access_token": issued.token, "expires_in": left, "token_type": "Bearer"}
        return web.json_response(told, headers={FLAVOR: "Google"})

    return [web.get(PATH, token)]
