"""What no gRPC library would send, to a real server's port: after each of it another client is served as if nothing
had been, nothing was logged as a defect, and neither connections nor memory stay behind.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from wire.client import Client, eventually

from .faults import CALLS, COMPLETION, FLOODS, HELLO, MALFORMED, STREAM, headers
from .frames import DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, RawClient, frame, message
from .processes import ENGINES, Serving, serving

pytestmark = pytest.mark.slow
MIB = 1 << 20


@pytest.fixture(scope="module", params=ENGINES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served"), request.param, "--log-level", "warning") as serving_:
        serving_.answers()
        yield serving_


def sent(served: Serving, raw: bytes, patience: float = 0.1) -> bytes:
    """What comes back until stream 1 or the connection ends, or nothing more comes for a moment."""
    got = b""
    # It may be cut off while it sends.
    with socket.create_connection(served.address, timeout=5) as connection, contextlib.suppress(OSError):
        connection.sendall(raw)
        connection.settimeout(patience)
        while not over(got) and (more := connection.recv(1 << 16)):
            got += more
    return got


def over(got: bytes) -> bool:
    at = 0
    while len(got) - at >= 9:
        kind, flags, stream = got[at + 3], got[at + 4], int.from_bytes(got[at + 5 : at + 9], "big")
        if kind == GOAWAY or (stream == 1 and (kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM))):
            return True
        at += 9 + int.from_bytes(got[at : at + 3], "big")
    return False


@pytest.mark.parametrize("fault", [*MALFORMED, *CALLS])
def test_what_is_malformed_harms_nobody_else(served: Serving, fault: str) -> None:
    before = served.resident()
    got = sent(served, MALFORMED[fault] if fault in MALFORMED else HELLO + CALLS[fault])
    assert b"defect" not in got
    assert b"Traceback" not in got
    served.answers()
    assert served.resident() < before + 16 * MIB


NEVER_BEGUN = ("calls that are reset at once", "streams that are opened and left open")
"""Calls that end before their request has come: gRPC's core keeps some KB of each for good, in a server with nothing
but a constant reply as well.
"""


@pytest.mark.parametrize("fault", FLOODS)
def test_a_flood_passes_and_leaves_nothing_behind(served: Serving, fault: str) -> None:
    idle = served.descriptors()
    held = []
    for _ in range(4):  # what was needed once is used again the next time
        sent(served, FLOODS[fault])
        served.answers()
        eventually(lambda: served.descriptors() <= idle + 2, within=20)
        eventually(lambda: open_calls(served) == 0, within=20)
        held.append(served.resident())
    if fault not in NEVER_BEGUN or served.engine != "grpc.aio":
        assert held[3] < held[1] * 1.15 + 16 * MIB


def open_calls(served: Serving) -> int:
    with Client(served.target) as client:
        return int(client.call("emulator.v1.ControlService/Info", b"", timeout=120).only.open_calls)


def test_prefaces_that_come_byte_by_byte_hold_nobody_up(served: Serving) -> None:
    idle = served.descriptors()
    slow = [socket.create_connection(served.address, timeout=5) for _ in range(100)]
    try:
        for n in range(len(HELLO) - 1):
            for connection in slow:
                connection.sendall(HELLO[n : n + 1])
            if n % 8 == 0:
                served.answers()
        for connection in slow:
            connection.sendall(HELLO[-1:])
        for connection in slow:
            assert connection.recv(1 << 16)[3:4] == b"\4", "the server's settings, as for anybody"
    finally:
        for connection in slow:
            connection.close()
    served.answers()
    eventually(lambda: served.descriptors() <= idle + 2, within=20)


def test_a_thousand_connections_that_are_reset_leave_none_behind(served: Serving) -> None:
    idle = served.descriptors()
    for n in range(1000):
        connection = socket.create_connection(served.address, timeout=5)
        connection.sendall(HELLO[: n % len(HELLO)] if n % 2 else HELLO + CALLS["no message"])
        # Closed with a linger of 0 it is a reset, as when a machine fails, and not a goodbye.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    served.answers()
    eventually(lambda: served.descriptors() <= idle + 2, within=20)


def test_http_has_its_own_share_of_nonsense(served: Serving) -> None:
    host, _, port = served.http.rpartition(":")
    lines = [
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"PUT /fm-datasets/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nabc",
        b"PUT /fm-datasets/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        HELLO,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        bytes(100_000),
    ]
    for line in lines:
        with socket.create_connection((host, int(port)), timeout=5) as connection, contextlib.suppress(OSError):
            connection.sendall(line)
            connection.settimeout(0.2)
            got = connection.recv(1 << 16)
            assert b"root:" not in got
            assert b"Traceback" not in got
        served.answers()


def test_who_does_not_read_costs_no_more_than_a_window(served: Serving) -> None:
    before = served.resident()
    silent = []
    for _ in range(20):
        client = RawClient(served.target, window=1 << 16)
        for stream in (1, 3):
            client.socket.sendall(headers(stream, COMPLETION) + frame(DATA, END_STREAM, stream, message(STREAM)))
        silent.append(client)
    eventually(lambda: open_calls(served) == len(silent) * 2, within=20)
    for _ in range(20):
        served.answers()
    # 40 streams of 2,000 growing messages, 200 MB each, would be 8 GB.
    assert served.resident() < before + 160 * MIB
    for client in silent:
        client.close()
    eventually(lambda: open_calls(served) == 0, within=20)
    served.answers()
