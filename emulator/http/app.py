"""The aiohttp application: what HTTP serves here, with a line in the log for each request.

HTTP transfers are not in the journal: they are no calls of the API, and verification counts those.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..clock import Monotonic
from ..gates.access import same
from ..sessions import Sessions
from . import metadata
from .storage import Refusal, Storage

log = logging.getLogger("emulator.http")
server_log = logging.getLogger("emulator.http.server")
"""aiohttp's own."""

_QUOTED = re.compile(r"[:\s]+b?['\"]")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


Exposed = Callable[[str], Awaitable[tuple[bytes, str]]]
"""The metrics, for who accepts that: a body, and its content type."""


def application(
    sessions: Callable[[], Sessions],
    under_way: set[asyncio.Task[Any]],
    exposed: Exposed | None = None,
    token: str | None = None,
) -> web.Application:
    """Everything that is served; the tasks of requests are in `under_way` as long as they are. Metrics are there where
    `exposed` is, for who shows the `token` if there is one.
    """

    @web.middleware
    async def followed(request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        most = sessions().max_streams
        if len(under_way) >= most:
            text = f"{most} requests are under way; let some end, or start the emulator with a higher --max-streams"
            return Refusal(503, "SlowDown", text).response(request.path, "")
        under_way.add(task)
        try:
            return await handler(request)
        finally:
            under_way.discard(task)

    if not server_log.filters:
        server_log.addFilter(NoRequests())
    app = web.Application(middlewares=[followed, _logged])
    app.add_routes(Storage(sessions).routes())
    app.add_routes(metadata.routes(sessions))
    if exposed is not None:
        app.add_routes([web.get("/metrics", _metrics(exposed, token))])
    app.router.add_route("*", "/{path:.*}", _unknown)
    return app


def _metrics(exposed: Exposed, token: str | None) -> Handler:
    async def metrics(request: web.Request) -> web.StreamResponse:
        if token is not None:
            scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not same(shown.strip(), token):
                text = "metrics need the emulator's token: send it as Authorization: Bearer TOKEN\n"
                return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})
        body, content_type = await exposed(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return metrics


class NoRequests(logging.Filter):
    """What a peer sends that is no HTTP is no error of ours: one line, without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        failed = record.exc_info[1] if record.exc_info else None
        if isinstance(failed, HttpProcessingError):
            grpc = "PRI" in failed.message
            # What came is left out: it may hold a credential, or what a URL is signed with.
            why = "gRPC is served on the other port" if grpc else _QUOTED.split(failed.message, 1)[0]
            record.msg, record.args = "a request that is no HTTP/1.1: %s", (why,)
            record.exc_info, record.exc_text = None, None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


async def _unknown(request: web.Request) -> web.Response:
    text = f"nothing is served at {request.path}: HTTP is for the URLs that DatasetService tells; the API is gRPC\n"
    return web.Response(status=404, text=text)


@web.middleware
async def _logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    began, status = Monotonic.now(), "-"
    try:
        response = await handler(request)
        status = str(response.status)
        return response
    except web.HTTPException as ended:
        status = str(ended.status)
        raise
    except (asyncio.CancelledError, ConnectionError):
        status = "the client left"
        raise
    finally:
        took = (Monotonic.now() - began) * 1000
        # The path alone: what is signed stands in the query.
        fields = {"http_method": request.method, "path": request.path, "status": status, "ms": round(took, 1)}
        log.info("%s %s %s %.1fms", request.method, request.path, status, took, extra={"fields": fields})
