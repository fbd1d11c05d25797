"""Very many at once: connections that do nothing, clients that have gone without a word, streams that wait."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from wire.client import Client, asking, eventually, tokenizing

from .faults import COMPLETION, HELLO, TOKENIZE, headers
from .frames import DATA, END_STREAM, RawClient, frame, message
from .processes import ENGINES, Serving, serving

MIB = 1 << 20
CONNECTIONS = 10_000
STREAMS = 10_000

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """As many as both ends of so many connections need; the server inherits it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + 2000
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], needed), max(before[1], needed)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(params=ENGINES)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, request.param, "--log-level", "warning") as serving_:
        serving_.answers()
        yield serving_


def connected(stack: ExitStack, served: Serving, count: int, raw: bytes = HELLO) -> list[socket.socket]:
    """Connections to the server that have sent so much and heard its settings."""
    made = []
    for n in range(count):
        # One client address has some 28,000 ports, of which others need some.
        connection = socket.socket()
        stack.callback(connection.close)
        connection.bind((f"127.0.0.{2 + n % 4}", 0))
        connection.settimeout(30)
        connection.connect(served.address)
        connection.sendall(raw)
        made.append(connection)
    for connection in made:
        assert connection.recv(4096)[3:4] == b"\4"
    return made


def test_ten_thousand_idle_connections_cost_little_and_hold_nobody_up(
    served: Serving, record_property: Callable[[str, object], None]
) -> None:
    idle, before = served.descriptors(), served.resident()
    with ExitStack() as stack:
        made = connected(stack, served, CONNECTIONS)
        each = (served.resident() - before) / CONNECTIONS
        record_property("bytes_per_idle_connection", each)
        assert served.descriptors() >= CONNECTIONS
        for _ in range(5):
            served.answers()
        # They are alive: any of them may call.
        call = headers(1, TOKENIZE) + frame(DATA, END_STREAM, 1, message(tokenizing().SerializeToString()))
        for connection in made[:: CONNECTIONS // 50]:
            connection.sendall(call)
            got = b""
            while b"grpc-status" not in got and b"\x9a\xca\xc8\xb2\x12\x34\xda\x8f" not in got:
                more = connection.recv(1 << 16)
                assert more
                got += more
        assert each < 64_000
    served.answers()
    eventually(lambda: served.descriptors() <= idle + 4, within=240)


def test_a_thousand_clients_that_stop_answering_in_the_middle_hold_nobody_up(served: Serving) -> None:
    """Their sockets stay open, and nothing more comes from them: half-open connections, as a failed network leaves
    them. What is meant for them waits within their windows.
    """
    idle = served.descriptors()
    question = message(asking("много", stream=True).SerializeToString())
    call = HELLO + headers(1, COMPLETION) + frame(DATA, END_STREAM, 1, question)
    with ExitStack() as stack:
        before = served.resident()
        connected(stack, served, 960, HELLO + headers(1, COMPLETION))  # who never say what they ask for
        connected(stack, served, 40, call)
        for _ in range(10):
            served.answers()
        # What is meant for the 40 would be 8 GB; either engine keeps a message of a stream.
        assert served.resident() < before + 400 * MIB
    eventually(lambda: served.descriptors() <= idle + 4, within=240)
    served.answers()


def test_ten_thousand_streams_at_once_all_wait_and_end(
    served: Serving, record_property: Callable[[str, object], None]
) -> None:
    with Client(served.target) as client:
        before = served.resident()
        with ExitStack() as stack:
            question = message(asking("вечно", stream=True).SerializeToString())
            for _ in range(10):
                raw = RawClient(served.target)
                stack.callback(raw.close)
                for n in range(1, STREAMS // 5, 2):
                    raw.socket.settimeout(240)
                    raw.socket.sendall(headers(n, COMPLETION) + frame(DATA, END_STREAM, n, question))

            def open_calls() -> int:
                return int(client.call("emulator.v1.ControlService/Info", b"", timeout=120).only.open_calls)

            eventually(lambda: open_calls() == STREAMS, within=240)
            each = (served.resident() - before) / STREAMS
            record_property("bytes_per_stream_that_waits", each)
            served.answers()
            assert each < 100_000
        eventually(lambda: open_calls() == 0, within=240)
    served.answers()
