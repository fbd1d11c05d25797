"""Calls from commands to a running emulator."""

from __future__ import annotations

from typing import Any

from ..api import METHODS


class Unreachable(Exception):
    """No answer, or an error for one; says which."""


def unary(target: str, path: str, fields: dict[str, Any], timeout: float = 10.0) -> Any:
    """Call the method at `path` of the emulator at `target` (HOST:PORT). Raises Unreachable."""
    import grpc

    method = METHODS[path]
    with grpc.insecure_channel(target, options=(("grpc.enable_http_proxy", 0),)) as channel:
        call: Any = channel.unary_unary(path, lambda m: m.SerializeToString(), method.output.FromString)
        try:
            return call(method.input(**fields), timeout=timeout)
        except grpc.RpcError as failed:
            error: Any = failed
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise Unreachable(f"nothing answers there ({error.details()})") from None
            if error.code() is grpc.StatusCode.UNIMPLEMENTED and "/emulator." in path:
                raise Unreachable(
                    "its control API is off: it is on where the emulator listens on loopback alone"
                ) from None
            raise Unreachable(error.details()) from None
