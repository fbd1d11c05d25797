"""An HTTP proxy on loopback that leads clients of the cloud to the emulator, and nobody anywhere else.

A tunnel (CONNECT) to a host of the cloud ends at the emulator's TLS port; this machine is let through; another host
only where it is allowed. Requests for plain HTTP (`GET http://...`) stand under the same rule, but for the cloud, which
has none. Whatever is refused gets a 403 with a sentence, and is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import urlsplit

from .errors import UsageError
from .tls import CLOUD

PATIENCE = 10.0
"""Real seconds that a client has for the head of its request, and another host to be reached."""

MOST_HEAD = 64 * 1024
MOST_HOST = 253
"""Characters in the name of a host, as in DNS."""

MOST_HOSTS = 1000
"""Hosts that are told apart in the counts; what comes after them is counted as one."""

_CHUNK = 64 * 1024
_HANDSHAKE = b"\x16"
_HTTP2 = b"\x02h2"
"""How the first message of a client's TLS offers HTTP/2, in the clear."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Traffic:
    """How often each `host:port` was asked for: led to the emulator, and refused. `not_grpc` are those among the taken
    whose client did not offer HTTP/2, and so finds nobody to talk to.
    """

    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    not_grpc: Counter[str] = field(default_factory=Counter)


class _Refused(Exception):
    """A request that gets this status and sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Proxy:
    """A proxy before what listens with TLS on `port` of 127.0.0.1; `allowed` are globs of hosts, or `host:port`.

    Raises UsageError for one that no host can match.
    """

    def __init__(self, port: int, allowed: Iterable[str] = ()) -> None:
        self.traffic = Traffic()
        self._to, self._allowed = port, tuple(_check_pattern(pattern).lower().rstrip(".") for pattern in allowed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(self) -> int:
        """Listen on a free port of 127.0.0.1, in the running loop; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MOST_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more, and end what goes through."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except _Refused as refused:
            with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.CancelledError):
                writer.write(_response(refused))
                await writer.drain()
                writer.write_eof()
                await asyncio.wait_for(_leave(reader), PATIENCE)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # one of the two has left, or the proxy ends
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target = rest.partition(" ")[0]
        if method == "CONNECT":
            host, port = _place(f"//{target}", 443)
            async with self._reached(host, port, tunnel=True) as other:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                if _is_taken(host, port):
                    other[1].write(await self._hello(reader, f"{host}:{port}"))
                await _join((reader, writer), other)
        elif target.lower().startswith("http://"):
            async with self._reached(*_place(target, 80), tunnel=False) as other:
                other[1].write(_in_origin_form(head, method, target))
                await _join((reader, writer), other)
        else:
            raise _Refused("400 Bad Request", "this is a proxy: send CONNECT host:port, or a whole http:// URL")

    async def _hello(self, reader: asyncio.StreamReader, told: str) -> bytes:
        """What a client says first in a tunnel to the cloud: a whole record of TLS, in however many pieces it comes."""
        hello = await reader.read(_CHUNK)
        while hello[:1] == _HANDSHAKE and len(hello) < 5 + int.from_bytes(hello[3:5], "big"):
            more = await reader.read(_CHUNK)
            if not more:
                break
            hello += more
        if hello and _HTTP2 not in hello:
            self._count(self.traffic.not_grpc, told)
        return hello

    @contextlib.asynccontextmanager
    async def _reached(self, host: str, port: int, *, tunnel: bool) -> AsyncIterator[Stream]:
        """The same as `_reach`, closed at the end."""
        other = await self._reach(host, port, tunnel=tunnel)
        try:
            yield other
        finally:
            other[1].close()

    async def _reach(self, host: str, port: int, *, tunnel: bool) -> Stream:
        """A connection to where the request leads. Raises _Refused."""
        told = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        taken = tunnel and _is_taken(host, port)
        if not taken and not _is_this_machine(host) and not self._is_allowed(host, told):
            self._count(self.traffic.refused, told)
            raise _Refused(
                "403 Forbidden",
                f"fm-emulator: {told} is outside, and not allowed; let it through with --allow {host}",
            )
        if taken:
            self._count(self.traffic.taken, told)
            host, port = "127.0.0.1", self._to
        try:
            return await asyncio.wait_for(asyncio.open_connection(host, port), PATIENCE)
        except asyncio.TimeoutError:
            raise _Refused("504 Gateway Timeout", f"fm-emulator: {told} does not answer") from None
        except (OSError, ValueError) as failed:
            raise _Refused("502 Bad Gateway", f"fm-emulator: {told} can't be reached: {failed}") from None

    def _is_allowed(self, host: str, told: str) -> bool:
        return any(
            pattern in (host, told) or fnmatchcase(host, pattern) or fnmatchcase(told, pattern)
            for pattern in self._allowed
        )

    @staticmethod
    def _count(counts: Counter[str], told: str) -> None:
        counts[told if told in counts or len(counts) < MOST_HOSTS else "others"] += 1


def _check_pattern(pattern: str) -> str:
    if not pattern or "/" in pattern or any(letter.isspace() for letter in pattern):
        raise UsageError(f"allow: {pattern!r} is no host; give a host or a glob, such as example.org or *.example.org")
    return pattern


def is_cloud(host: str) -> bool:
    """Whether the emulator's certificate is for this host of the cloud."""
    label, _, rest = host.partition(".")
    return host in CLOUD or (label != "" and f"*.{rest}" in CLOUD)


def _is_taken(host: str, port: int) -> bool:
    return port == 443 and is_cloud(host)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _place(url: str, default: int) -> tuple[str, int]:
    """Host, in lower case, and port of a URL. Raises _Refused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port if parts.port is not None else default
    except ValueError:
        host, port = "", 0
    host = host.rstrip(".")
    if not 0 < len(host) <= MOST_HOST or not host.isprintable() or not port:
        raise _Refused("400 Bad Request", f"fm-emulator: {url[:200]!r} names no host and port")
    return host, port


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, with the empty line. Raises _Refused for one that is too long."""
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    except asyncio.LimitOverrunError:
        raise _Refused("431 Request Header Fields Too Large", "fm-emulator: the request's head is too long") from None


def _in_origin_form(head: bytes, method: str, target: str) -> bytes:
    """The head as the host itself takes it. The connection ends with the response, as the next may be for another."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [line for line in lines if not line.lower().startswith((b"proxy-", b"connection:", b"keep-alive:"))]
    begin = f"{method} {path} HTTP/1.1".encode("latin-1") if b" HTTP/" in first else first
    return b"\r\n".join([begin, *kept, b"Connection: close", b"", b""])


async def _leave(reader: asyncio.StreamReader) -> None:
    """Let a client say the rest: closed upon in the middle of a body, it would see a reset in place of its response."""
    while await reader.read(_CHUNK):
        pass


def _response(refused: _Refused) -> bytes:
    body = f"{refused.sentence}\n".encode()
    head = f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


async def _join(one: Stream, other: Stream) -> None:
    """Pass on in both directions until both are at their end, or one breaks."""
    ways = [asyncio.ensure_future(_pass_on(one[0], other[1])), asyncio.ensure_future(_pass_on(other[0], one[1]))]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
