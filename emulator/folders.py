"""Temporary folders of the emulator's own, and what one that was killed has left of them.

Each holds a file that is locked as long as its process lives, in whichever container that is; so a folder of ours
whose lock nobody holds is a leftover, and the next emulator takes it away. A process's number would not tell: it may
be another's by then, or be unknown in this container. Where there are no such locks (Windows), leftovers stay.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

PREFIX = "fm-emulator-"
LOCK = "in-use"


class Folder:
    """A new folder for this user alone, until `remove`; `kind` is for people who look. Raises OSError."""

    def __init__(self, kind: str = "") -> None:
        import tempfile  # slow to import, and most never need it

        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-" if kind else PREFIX))
        self._lock = _locked(self.path)

    def files(self) -> list[Path]:
        """What was put into it, in order of names."""
        return sorted(path for path in self.path.iterdir() if path.name != LOCK)

    def remove(self) -> None:
        """Take it away, and all that is in it."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def any_left() -> bool:
    """Whether there are folders of emulators, in use or not."""
    return next(_ours(), None) is not None


def sweep() -> list[Path]:
    """Take away those whose processes are gone; which they were. It may take a while."""
    swept = []
    for path in _ours():
        lock = _abandoned(path)
        if lock is None:
            continue
        import shutil

        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
        swept.append(path)
    return swept


def _ours() -> Iterator[Path]:
    """The folders of this user's emulators in the place for temporary ones; a link is none."""
    if os.name != "posix":
        return
    where = os.environ.get("TMPDIR") or "/tmp"
    with contextlib.suppress(OSError), os.scandir(where) as there:
        for entry in there:
            if entry.name.startswith(PREFIX) and _is_ours(entry):
                yield Path(entry.path)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # it has just been taken away
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _locked(folder: Path) -> int | None:
    """The lock of a new folder, held from the moment on at which others can see it."""
    try:
        import fcntl
    except ImportError:
        return None
    new = folder / f"{LOCK}.new"
    lock = os.open(new, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # a file system without locks: nobody sees one, and the folder stays if we are killed
        os.close(lock)
        new.unlink()
        return None
    new.rename(folder / LOCK)
    return lock


def _abandoned(folder: Path) -> int | None:
    """The lock of that folder, which nobody held and now we do; None where somebody does, or there is none."""
    import fcntl

    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
