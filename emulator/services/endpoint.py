"""ApiEndpointService: where clients find the services, which is here, at an address they can reach.

A client asks this first and then calls whatever it is told, so the address matters more than it seems. gRPC tells a
handler neither the authority nor the local address. So: what `--advertise` says; else `localhost` for a caller on this
machine, or one that came through the default gateway, as a published container port does; else our own address on the
way to that caller. A port that is published under another number can't be seen from inside: `FM_EMULATOR_ADVERTISE`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..addresses import joined
from ..api import ApiEndpoint, ListApiEndpointsResponse
from ..call import Call, parsed
from ..errors import Code, Status
from ..gates import Handler

IDS = (
    "ai-fomo-dataset",
    "ai-foundatation-models",
    "ai-foundation-models",
    "ai-llm",
    "endpoint",
    "fomo-dataset",
    "iam",
    "operation",
    "storage",
)
"""The ids that clients of these services ask for, sorted as the real list is; one is misspelt by a client itself."""

_SERVICE = "/yandex.cloud.endpoint.ApiEndpointService/"
MOST_A_PAGE = 1000


def handlers(address: Callable[[Call], str]) -> Mapping[str, Handler]:
    """The service's methods by path. `address` is where the one who calls reaches us, in the way of that call."""

    def endpoint(call: Call, id_: str) -> Any:
        return ApiEndpoint(id=id_, address=address(call))

    async def get(call: Call) -> AsyncIterator[bytes]:
        asked = parsed(call).api_endpoint_id[:100]
        if asked not in IDS:
            import difflib

            near = difflib.get_close_matches(asked, IDS, 1)
            there = f"did you mean {near[0]}?" if near else f"there are {', '.join(IDS)}"
            raise Status(Code.NOT_FOUND, f"no such endpoint: {asked}; {there}")
        yield endpoint(call, asked).SerializeToString()

    async def list_(call: Call) -> AsyncIterator[bytes]:
        request = parsed(call)
        start = _start(request.page_token)
        size = request.page_size if 0 < request.page_size <= MOST_A_PAGE else MOST_A_PAGE
        page = IDS[start : start + size]
        following = str(start + size) if start + size < len(IDS) else ""
        endpoints = [endpoint(call, id_) for id_ in page]
        yield ListApiEndpointsResponse(endpoints=endpoints, next_page_token=following).SerializeToString()

    return {_SERVICE + "Get": get, _SERVICE + "List": list_}


def _start(token: str) -> int:
    if token == "":
        return 0
    if not token.isdecimal() or len(token) > 6:
        raise Status(Code.INVALID_ARGUMENT, f"page_token {token!r} is none that List gave")
    return int(token)


def address_for(peer: str, host: str, port: int, advertise: str | None) -> str:
    """HOST:PORT at which `peer` reaches what listens on `host` and `port`; `advertise` is what was told to say."""
    if advertise:
        return advertise
    if host in ("localhost", "0.0.0.0", "::", "[::]"):
        return f"{host_for(peer)}:{port}"
    return joined(host, port)


def host_for(peer: str) -> str:
    """The host that `peer` (`ipv4:10.0.0.7:40000`, `ipv6:[::1]:40000`, `unix:...`) reaches us at."""
    import ipaddress

    kind, _, rest = peer.partition(":")
    address = rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]").partition("%")[0]
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "localhost"
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if kind not in ("ipv4", "ipv6") or ip.is_loopback or str(ip) == _gateway():
        return "localhost"
    own = _facing(str(ip), ip.version)
    return f"[{own}]" if ":" in own else own


@lru_cache(maxsize=256)
def _facing(address: str, version: int) -> str:
    """Our own address on the way to `address`; nothing is sent."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "localhost"


@lru_cache(maxsize=1)
def _gateway() -> str:
    """The default gateway's IPv4 address where the system tells it (Linux), else nothing."""
    try:
        routes = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return ""
    for route in routes:
        _, destination, gateway, *_ = route.split()
        if destination == "00000000" and gateway != "00000000":
            return socket.inet_ntoa(bytes.fromhex(gateway)[::-1])
    return ""
