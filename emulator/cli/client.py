"""Calls from commands to a running emulator, and the options that say which and as whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from msgspec import Struct

from ..api import METHODS
from ..config import ENVIRONMENT_PREFIX
from ..errors import UsageError

CONTROL = "/emulator.v1.ControlService/"
LARGEST = 64 * 1024 * 1024
"""Bytes of an answer that are taken; snapshots and journals are larger than gRPC's own 4 MiB."""

LARGEST_REQUEST = 64 * 1024 * 1024
"""Bytes of a request that the control API takes."""


class Unreachable(Exception):
    """No answer, or an error for one; says which."""


class NoAnswer(Unreachable):
    """Something may be there, but there was no answer in time."""


class Remote(Struct):
    """An emulator somewhere: `target` is HOST:PORT; `session` and `token` go with every call if not empty."""

    target: str
    session: str = ""
    token: str = ""

    def ask(self, method: str, timeout: float | None = 30.0, **fields: Any) -> Any:
        """Call a method of the control API. Raises Unreachable."""
        return self.call(CONTROL + method, fields, timeout)

    def call(self, path: str, fields: dict[str, Any], timeout: float | None = 10.0) -> Any:
        """Call the unary method at `path`. Raises Unreachable."""
        method = METHODS[path]
        with self._calling() as channel:
            call = channel.unary_unary(path, lambda m: m.SerializeToString(), method.output.FromString)
            return call(method.input(**fields), timeout=timeout, metadata=self._metadata)

    def stream(self, method: str, **fields: Any) -> Iterator[Any]:
        """The messages of a streaming method of the control API, as they come. Raises Unreachable."""
        found = METHODS[CONTROL + method]
        with self._calling() as channel:
            call = channel.unary_stream(CONTROL + method, lambda m: m.SerializeToString(), found.output.FromString)
            yield from call(found.input(**fields), metadata=self._metadata)

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        pairs = (("session", self.session), ("token", self.token))
        for name, value in pairs:
            if not (value.isascii() and value.isprintable()):
                raise UsageError(f"{name}: it travels as a header; give printable ASCII")
        return tuple((f"x-emulator-{name}", value) for name, value in pairs if value)

    @contextmanager
    def _calling(self) -> Iterator[Any]:
        import grpc

        options = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", LARGEST))
        with grpc.insecure_channel(self.target, options=options) as channel:
            try:
                yield channel
            except grpc.RpcError as failed:
                kind = NoAnswer if failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED else Unreachable
                raise kind(f"{self.target}: {_worded(failed)}") from None


def _worded(failed: Any) -> str:
    import grpc

    code, details = failed.code(), failed.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        if "shutting down" in details:
            return details
        return f"it has gone ({details})" if "closed" in details.lower() else f"nothing answers there ({details})"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "no answer in time"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"it does not have that: {details}"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return f"{details}; give it with --token or {ENVIRONMENT_PREFIX}TOKEN"
    return details or str(code.name)


def remote_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--target`, `--token` and `--session`, which a command gets as one argument, `remote`."""

    @click.option(
        "--session",
        envvar=ENVIRONMENT_PREFIX + "SESSION",
        show_envvar=True,
        metavar="NAME",
        help="The session it is about; the one that the emulator begins with unless named.",
    )
    @click.option(
        "--token",
        envvar=ENVIRONMENT_PREFIX + "TOKEN",
        show_envvar=True,
        metavar="TEXT",
        help="The emulator's token, where it has one.",
    )
    @target_option
    @click.pass_context
    def command(ctx: click.Context, /, target: str, token: str | None, session: str | None, **rest: Any) -> Any:
        try:
            return ctx.invoke(function, remote=Remote(target, session or "", token or ""), **rest)
        except Unreachable as failed:
            click.echo(str(failed), err=True)
            ctx.exit(1)

    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    return command


target_option = click.option(
    "--target",
    default=lambda: f"localhost:{os.environ.get(ENVIRONMENT_PREFIX + 'PORT', '50051')}",
    envvar=ENVIRONMENT_PREFIX + "TARGET",
    show_envvar=True,
    show_default="localhost:50051",
    metavar="H:P",
    help="Where the emulator serves.",
)
