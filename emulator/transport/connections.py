"""Connections that end in the middle of a call, as when a machine or the network fails.

gRPC has no way to end one connection of a server's from within a call, so it is done where the connection is a socket
of this process: the one whose other end is the caller. Works where the kernel lists a process's descriptors in
`/dev/fd` (Linux, macOS).
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from urllib.parse import unquote

from ..call import Call

log = logging.getLogger("emulator")
_OPEN = "/dev/fd"
_MAPPED = "::ffff:"  # an IPv4 address, as sockets for both families tell it


def drop_if_asked(call: Call) -> None:
    """Drop the connection of a call that chaos has ended so; where that can't be done, the log says so."""
    if call.dropped and not drop(call.peer):
        log.warning("%s: the connection could not be dropped here; the call ends with UNAVAILABLE", call.peer)


def drop(peer: str) -> bool:
    """End the connection to `peer`, as gRPC writes it (`ipv4:127.0.0.1:40000`), with all calls on it.

    Returns whether there was one to be found.
    """
    family, _, place = peer.partition(":")
    host, _, port = unquote(place).rpartition(":")
    if family not in ("ipv4", "ipv6") or not port.isdecimal():
        return False
    caller = (host.strip("[]").partition("%")[0], int(port))
    try:
        numbers = [int(name) for name in os.listdir(_OPEN) if name.isdecimal()]
    except OSError:
        return False
    return any(_ended(number, caller) for number in numbers)


def _ended(number: int, caller: tuple[str, int]) -> bool:
    """Whether that descriptor is the connection to `caller`, which is over then."""
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return False
        # A descriptor of our own, since gRPC may close its one at any moment, and the number be another's by then.
        with socket.socket(fileno=os.dup(number)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            name = connection.getpeername()
            if (name[0].removeprefix(_MAPPED).partition("%")[0], name[1]) != caller:
                return False
            connection.shutdown(socket.SHUT_RDWR)
            return True
    except OSError:  # closed meanwhile, or connected to nobody
        return False
