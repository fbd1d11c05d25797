"""Addresses to listen on: both loopbacks for `localhost`, and sentences for those that can't be had.

gRPC binds for itself; everything else gets plain sockets from here.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

from .errors import UsageError

BACKLOG = 128
_REMEDY = "give one of this machine, e.g. 127.0.0.1 or 0.0.0.0"


def joined(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str, port: int) -> str:
    """Where what listens on `host` is reached from this machine."""
    return joined("127.0.0.1" if host in ("localhost", "0.0.0.0", "::", "[::]") else host, port)


def on_every_loopback(bind: Callable[[str, int], int], host: str, port: int) -> int:
    """Bind `host`, for `localhost` 127.0.0.1 and, where there is IPv6, ::1; the port, or a free one for 0.

    Raises what `bind` raises: UsageError where the port is taken or the address isn't ours.
    """
    if host != "localhost":
        return bind(host, port)
    for attempt in range(20):
        chosen = bind("127.0.0.1", port)
        if not has_ipv6():
            return chosen
        try:
            bind("::1", chosen)
        except UsageError:
            if port or attempt == 19:
                raise
            continue  # that free number is taken over there: try another
        return chosen
    raise AssertionError("unreachable")


def listening(host: str, port: int, option: str) -> tuple[list[socket.socket], int]:
    """Sockets that listen on `host`, and their port; a free one for 0. `option` is the flag that would change it.

    Raises UsageError if the port is taken or the address isn't ours.
    """
    found: dict[str, socket.socket] = {}

    def bind(address: str, wanted: int) -> int:
        if address == "127.0.0.1":  # it begins again with another number
            _close(found)
        if wanted:
            check_free(address, wanted, option)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = socket.socket(family, socket.SOCK_STREAM)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and address.strip("[]") != "::":
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address.strip("[]"), wanted))
            one.listen(BACKLOG)
        except (socket.gaierror, UnicodeError):
            one.close()
            raise UsageError(f"host: {address} is no address; {_REMEDY}") from None
        except OSError as failed:
            one.close()
            raise UsageError(f"can't listen on {joined(address, wanted)}: {failed.strerror or failed}") from None
        one.setblocking(False)
        found[address] = one
        return int(one.getsockname()[1])

    try:
        chosen = on_every_loopback(bind, host, port)
    except UsageError:
        _close(found)
        raise
    return list(found.values()), chosen


def _close(sockets: dict[str, socket.socket]) -> None:
    for one in sockets.values():
        with contextlib.suppress(OSError):
            one.close()
    sockets.clear()


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def check_free(host: str, port: int, option: str = "--port") -> None:
    """Raise UsageError where `port` of `host` can't be had, with the remedy.

    gRPC words a taken port badly; asking first gives the sentence, and gRPC's own check still stands behind it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except socket.gaierror:
        raise UsageError(f"host: {host} is no address; {_REMEDY}") from None
    except OSError as failed:
        if failed.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} on {host} is taken; stop what listens there, or give {option} 0 for a free one"
            ) from None
        if failed.errno == errno.EACCES:
            raise UsageError(f"port {port} on {host} is not for this user; give one above 1023") from None
        raise UsageError(f"can't listen on {host}:{port}: {failed.strerror}") from None
