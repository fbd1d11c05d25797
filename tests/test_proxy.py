"""The proxy: what it leads where, what it refuses and in which words, and what it makes of requests that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from emulator.errors import UsageError
from emulator.proxy import MOST_HEAD, Proxy, is_cloud

Ask = Callable[..., Awaitable[bytes]]


@asynccontextmanager
async def server(answer: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """Something that listens: its port, and the heads of what it gets. It answers each with `answer`, or itself."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65536))
        writer.write(answer or got[-1])
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], got
    finally:
        listening.close()


@asynccontextmanager
async def proxy(to: int, *allowed: str) -> AsyncIterator[tuple[Proxy, Ask]]:
    """A proxy, and a way to say something to it: everything that comes back."""
    one = Proxy(to, allowed)
    port = await one.start()

    async def ask(text: str | bytes, then: bytes = b"") -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text.encode() if isinstance(text, str) else text)
        if then:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(then)
            back = head + await asyncio.wait_for(reader.read(), 10)
        else:
            back = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return back

    try:
        yield one, ask
    finally:
        await one.stop()


def connect(place: str) -> str:
    return f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("api.cloud.yandex.net", True),
        ("llm.api.cloud.yandex.net", True),
        ("operation.api.cloud.yandex.net", True),
        ("storage.yandexcloud.net", True),
        ("a.b.api.cloud.yandex.net", False),
        ("cloud.yandex.net", False),
        ("api.cloud.yandex.net.example.org", False),
        ("evilapi.cloud.yandex.net", False),
        ("yandexcloud.net", False),
        (".api.cloud.yandex.net", False),
        ("*.api.cloud.yandex.net", True),
    ],
)
def test_the_hosts_of_the_cloud_are_those_of_the_certificate(host: str, taken: bool) -> None:
    assert is_cloud(host) is taken


@pytest.mark.parametrize("place", ["llm.api.cloud.yandex.net:443", "LLM.api.cloud.yandex.net.:443"])
async def test_a_tunnel_to_the_cloud_ends_at_the_emulator(place: str) -> None:
    async with server() as (port, _), proxy(port) as (one, ask):
        back = await ask(connect(place), b"\x16\x03\x01\x00\x01a")
        assert back == b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x01\x00\x01a"
        assert one.traffic.taken == {"llm.api.cloud.yandex.net:443": 1}
        assert not one.traffic.refused


async def test_a_hello_in_pieces_is_read_as_one() -> None:
    hello = b"\x16\x03\x01\x00\x08....\x02h2."
    async with server() as (port, got), proxy(port) as (one, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", await _port_of(one))
        writer.write(connect("api.cloud.yandex.net:443").encode())
        await reader.readuntil(b"\r\n\r\n")
        for at in range(len(hello)):
            writer.write(hello[at : at + 1])
            await asyncio.sleep(0.001)
        assert await asyncio.wait_for(reader.read(), 10) == hello
        writer.close()
        assert got == [hello]
        assert not one.traffic.not_grpc


async def test_this_machine_is_let_through_and_not_counted() -> None:
    async with server() as (port, _), proxy(1) as (one, ask):
        for host in ("127.0.0.1", "localhost"):
            assert (await ask(connect(f"{host}:{port}"), b"hi")).endswith(b"\r\n\r\nhi")
        assert not one.traffic.taken
        assert not one.traffic.refused


@pytest.mark.parametrize(
    "request_",
    [
        connect("example.org:443"),
        connect("api.cloud.yandex.net:80"),
        connect("[2001:db8::1]:443"),
        connect("10.0.0.7:22"),
        "GET http://example.org/a HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "POST http://api.cloud.yandex.net/ HTTP/1.1\r\n\r\n",
    ],
)
async def test_everything_else_is_refused_in_a_sentence_and_counted(request_: str) -> None:
    async with proxy(1, "*.example.org", "example.org:8080") as (one, ask):
        for _ in range(2):
            back = (await ask(request_)).decode()
            (place,) = one.traffic.refused
            assert back.startswith("HTTP/1.1 403 Forbidden\r\n")
            assert f"fm-emulator: {place} is outside, and not allowed; let it through with --allow " in back
        assert list(one.traffic.refused.values()) == [2]


async def test_what_is_allowed_is_let_through_by_host_glob_or_port() -> None:
    async with AsyncExitStack() as stack:
        port, _ = await stack.enter_async_context(server())
        for pattern in ("0.0.0.0", "0.0.*", f"0.0.0.0:{port}"):
            one, ask = await stack.enter_async_context(proxy(1, pattern))
            assert (await ask(connect(f"0.0.0.0:{port}"), b"hi")).endswith(b"\r\n\r\nhi")
            assert not one.traffic.refused


async def test_what_is_allowed_may_be_an_ipv6_address_or_end_in_a_dot() -> None:
    async with proxy(1, "[2001:db8::1]:1", "FM-emulator.invalid.") as (_, ask):
        for place in ("[2001:db8::1]:1", "fm-emulator.invalid:443"):
            assert not (await ask(connect(place))).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("pattern", ["https://example.org/", "10.0.0.0/8", "a b", ""])
def test_what_no_host_can_match_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"^allow: '.*' is no host; give a host or a glob, such as example.org"):
        Proxy(1, [pattern])


async def test_plain_http_reaches_its_host_as_if_there_were_no_proxy() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\nda") as (port, got), proxy(1) as (_, ask):
        head = f"GET http://localhost:{port}/a/b?c=d HTTP/1.1\r\nHost: localhost\r\nProxy-Authorization: x\r\n"
        back = await ask(f"{head}Connection: keep-alive\r\nX-A: b\r\n\r\nbody")
        assert back == b"HTTP/1.1 200 OK\r\n\r\nda"
        first, _, body = got[0].partition(b"\r\n\r\n")
        assert first == b"GET /a/b?c=d HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\nConnection: close"
        assert body in (b"body", b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT nothing:port HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT :443 HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT .:443 HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT " + b"a" * 254 + b":443 HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT [::1 HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT a:99999 HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET http:// HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"\xff\xfe\x00 \x00\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT " + b"a" * (MOST_HEAD + 100) + b"\r\n\r\n", b"431 Request Header Fields Too Large"),
        (b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", b"502 Bad Gateway"),
    ],
)
async def test_what_is_no_request_gets_a_status_and_the_proxy_goes_on(request_: bytes, status: bytes) -> None:
    async with server() as (port, _), proxy(port) as (_, ask):
        assert (await ask(request_)).startswith(b"HTTP/1.1 " + status + b"\r\n")
        assert (await ask(connect("api.cloud.yandex.net:443"), b"hi")).endswith(b"hi")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST http://example.org/ HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n" + b"a" * 8_000_000, b"403 Forbidden"),
        (b"CONNECT " + b"a" * 8_000_000, b"431 Request Header Fields Too Large"),
    ],
    ids=["a body", "a head"],
)
async def test_who_is_refused_may_say_the_rest_and_gets_the_sentence(request_: bytes, status: bytes) -> None:
    async with proxy(1) as (one, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", await _port_of(one))
        writer.write(request_)
        await asyncio.wait_for(writer.drain(), 10)
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 " + status + b"\r\n")
        writer.close()


async def test_who_is_refused_and_stays_does_not_hold_it_up() -> None:
    async with proxy(1) as (one, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", await _port_of(one))
        writer.write(connect("example.org:443").encode())
        await asyncio.wait_for(reader.read(), 10)
        await asyncio.wait_for(one.stop(), 5)
        writer.close()


async def test_when_it_stops_tunnels_end() -> None:
    held = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        held.set()
        writer.close()

    listening = await asyncio.start_server(hold, "127.0.0.1", 0)
    one = Proxy(listening.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", await one.start())
    writer.write(connect("api.cloud.yandex.net:443").encode())
    await reader.readuntil(b"\r\n\r\n")
    await one.stop()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    await asyncio.wait_for(held.wait(), 10)
    writer.close()
    listening.close()


async def test_a_client_that_leaves_in_the_middle_harms_nobody() -> None:
    async with server() as (port, _), proxy(port) as (one, ask):
        for text in (b"", b"CONN", connect("api.cloud.yandex.net:443").encode()):
            _, writer = await asyncio.open_connection("127.0.0.1", await _port_of(one))
            writer.write(text)
            writer.transport.abort()
        assert (await ask(connect("api.cloud.yandex.net:443"), b"hi")).endswith(b"hi")


async def _port_of(one: Proxy) -> int:
    return int(one._server.sockets[0].getsockname()[1])
