"""What is installed here and what its process takes: versions of libraries, extras of the package, memory."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import defaultdict
from contextlib import suppress
from functools import cache

DISTRIBUTION = "fm-emulator"
ALSO = ("yandex-ai-studio-sdk", "yandexcloud")
"""Not asked for by the package, and worth knowing where they are there."""

_OF_DEVELOPERS = ("all", "test", "fuzz")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")


def libraries() -> dict[str, str]:
    """Versions of Python and of what the package needs, with the extras that are there, by name."""
    names = sorted({name for needed in _needed().values() for name in needed} | set(ALSO), key=str.lower)
    found = {name: _version(name) for name in names}
    return {"Python": platform.python_version(), **{name: version for name, version in found.items() if version}}


def extras() -> list[str]:
    """The package's extras of which every library is there. None can be told where it runs without being installed."""
    return [extra for extra, names in sorted(_needed().items()) if extra and all(map(_version, names))]


def memory() -> int:
    """Bytes of memory that the process has in use (RSS); where only the most it ever had is told, as on macOS, that.

    0 where nothing is.
    """
    with suppress(OSError, ValueError, AttributeError), open("/proc/self/statm", "rb") as told:
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@cache
def _needed() -> dict[str, list[str]]:
    """Libraries by the extra that needs them; those that the package itself needs by the empty text."""
    from importlib import metadata  # slow to import

    found: dict[str, list[str]] = defaultdict(list)
    with suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires(DISTRIBUTION) or ():
            name, extra = _NAME.match(requirement), _EXTRA.search(requirement)
            if name is not None and (extra is None or extra[1] not in _OF_DEVELOPERS):
                found[extra[1] if extra is not None else ""].append(name[0])
    return found


@cache
def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
