"""Server reflection, v1 and v1alpha: tools list the services and call them with no proto file at hand.

The two versions are the same on the wire, so grpcio-reflection's servicer, which speaks v1alpha, answers both, from our
own descriptor pool. It is imported when a tool first asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..api import POOL
from ..call import Call
from ..errors import Code, Status
from ..gates import Handler

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def handlers(services: Callable[[], Sequence[str]]) -> Mapping[str, Handler]:
    """The services' methods by path; `services` is asked for the names to list when a tool asks."""

    @lru_cache(maxsize=1)
    def servicer() -> Any:
        from grpc_reflection.v1alpha import reflection

        return reflection.ReflectionServicer(services(), POOL)

    async def info(call: Call) -> AsyncIterator[bytes]:
        from grpc_reflection.v1alpha import reflection_pb2

        assert call.requests is not None
        while (raw := await call.session.clock.unless_closed(_next(call.requests))) is not None:
            try:
                request = reflection_pb2.ServerReflectionRequest.FromString(raw)
            except Exception:
                raise Status(Code.INVALID_ARGUMENT, "the request is not a ServerReflectionRequest") from None
            asked = reflection_pb2.ServerReflectionRequest.FromString(raw)
            if request.WhichOneof("message_request") == "file_containing_symbol":
                asked.file_containing_symbol = _container(request.file_containing_symbol)
            for response in servicer().ServerReflectionInfo(iter((asked,)), None):
                response.original_request.CopyFrom(request)
                response.valid_host = request.host
                yield response.SerializeToString()

    return {f"/{service}/ServerReflectionInfo": info for service in SERVICES}


async def _next(requests: AsyncIterator[bytes]) -> bytes | None:
    """The client's next message; None once it has sent all."""
    async for raw in requests:
        return raw
    return None


def _container(symbol: str) -> str:
    """What `symbol` is declared in, if it is a method or a field; Python's pool finds files by larger things alone."""
    parent, _, name = symbol.rpartition(".")
    try:
        if name in POOL.FindServiceByName(parent).methods_by_name:
            return parent
    except KeyError:
        pass
    try:
        return parent if name in POOL.FindMessageTypeByName(parent).fields_by_name else symbol
    except KeyError:
        return symbol
