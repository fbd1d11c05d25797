"""Which host a caller is told, by where it calls from."""

from __future__ import annotations

import socket

import pytest

from emulator.services import endpoint
from emulator.services.endpoint import host_for


@pytest.mark.parametrize(
    "peer",
    [
        "ipv4:127.0.0.1:40000",
        "ipv4:127.8.9.1:40000",
        "ipv6:[::1]:40000",
        "ipv6:%5B::1%5D:40000",
        "ipv6:[::ffff:127.0.0.1]:40000",
        "ipv6:%5B::ffff:127.0.0.1%5D:40000",
        "unix:",
        "unix:/tmp/emulator.sock",
        "",
        "ipv4:nonsense:1",
        "something else",
    ],
)
def test_a_caller_on_this_machine_or_an_unknown_one_is_told_localhost(peer: str) -> None:
    assert host_for(peer) == "localhost"


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is asked of the system about routes, which are not the same on every machine."""
    asked: list[tuple[str, int]] = []

    def facing(address: str, version: int) -> str:
        asked.append((address, version))
        return "10.0.0.2" if version == 4 else "fd00::2"

    monkeypatch.setattr(endpoint, "_facing", facing)
    monkeypatch.setattr(endpoint, "_gateway", lambda: "172.17.0.1")
    return asked


@pytest.mark.parametrize(
    ("peer", "host", "asked"),
    [
        ("ipv4:10.0.0.7:40000", "10.0.0.2", ("10.0.0.7", 4)),
        ("ipv6:[::ffff:10.0.0.7]:40000", "10.0.0.2", ("10.0.0.7", 4)),
        ("ipv6:[fd00::7]:40000", "[fd00::2]", ("fd00::7", 6)),
        ("ipv6:%5Bfd00::7%5D:40000", "[fd00::2]", ("fd00::7", 6)),
        ("ipv6:[fe80::7%eth0]:40000", "[fd00::2]", ("fe80::7", 6)),
        ("ipv6:%5Bfe80::7%25eth0%5D:40000", "[fd00::2]", ("fe80::7", 6)),
    ],
)
def test_a_caller_elsewhere_is_told_our_address_on_the_way_to_it(
    routes: list[tuple[str, int]], peer: str, host: str, asked: tuple[str, int]
) -> None:
    assert host_for(peer) == host
    assert routes == [asked]


@pytest.mark.parametrize("peer", ["ipv4:172.17.0.1:40000", "ipv6:[::ffff:172.17.0.1]:40000"])
def test_a_caller_through_the_gateway_came_by_a_published_port(routes: list[tuple[str, int]], peer: str) -> None:
    assert host_for(peer) == "localhost"
    assert routes == []


@pytest.mark.parametrize("peer", ["ipv4:192.0.2.7:40000", "ipv6:[2001:db8::7]:40000"])
def test_the_address_that_is_told_is_one_of_this_machine(peer: str) -> None:
    host = host_for(peer).strip("[]")
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        assert server.getsockname()[1]
