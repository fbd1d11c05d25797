"""The aiohttp application: what HTTP serves here, with a line in the log for each request.

HTTP transfers are not in the journal: they are no calls of the API, and verification counts those.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from ..clock import Monotonic
from ..sessions import Sessions
from .storage import Storage

log = logging.getLogger("emulator.http")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(sessions: Callable[[], Sessions]) -> web.Application:
    """Everything that is served; its "under way" holds the tasks of requests that are."""
    app = web.Application(middlewares=[_logged])
    app["under way"] = set()
    app.add_routes(Storage(sessions).routes())
    app.router.add_route("*", "/{path:.*}", _unknown)
    return app


async def _unknown(request: web.Request) -> web.Response:
    text = f"nothing is served at {request.path}: HTTP is for the URLs that DatasetService tells; the API is gRPC\n"
    return web.Response(status=404, text=text)


@web.middleware
async def _logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    began, status = Monotonic.now(), "-"
    task, under_way = asyncio.current_task(), request.app["under way"]
    under_way.add(task)
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
        under_way.discard(task)
        took = (Monotonic.now() - began) * 1000
        log.info("%s %s %s %.1fms", request.method, request.path, status, took)
