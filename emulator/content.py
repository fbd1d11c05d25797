"""`Content`: bytes that no longer change, such as a dataset's; small ones in memory, larger ones in a file.

`Store` is where the files lie: a temporary folder of the emulator's own, made when the first one is needed, gone with
`close`. A `Writer` takes bytes as they come and knows their MD5, which object storage calls an ETag.
"""

from __future__ import annotations

import contextlib
import errno
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import hashlib

from .folders import Folder

MOST_IN_MEMORY = 1 << 20
"""Bytes up to which content stays in memory."""

MOST_IN_MEMORY_TOGETHER = 64 << 20
"""Bytes up to which all content that is small stays in memory; beyond that it goes to the disk, too."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Full(OSError):
    """There is no room for more; `strerror` says where, and what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.ENOSPC, text)


def full(failed: OSError, folder: object) -> Full | None:
    """What is to be said of `failed`, where it tells that the disk of `folder` is full."""
    if isinstance(failed, Full):
        return failed
    if failed.errno not in _FULL:
        return None
    return Full(f"the disk is full ({folder}); delete datasets, or set TMPDIR to where there is room")


class Room:
    """How many bytes may be stored in all, by whomever, and how many are; safe from any thread."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = self.in_memory = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """`size` bytes more are stored. Raises Full where they are too many."""
        with self._lock:
            if self.used + size > self.most:
                text = f"datasets may hold {self.most} bytes in all, and {self.used} are stored"
                raise Full(f"{text}; delete some, or start the emulator with a higher --max-stored")
            self.used += size

    def give(self, size: int, in_memory: int = 0) -> None:
        """So many bytes are stored no longer, or no longer in memory."""
        with self._lock:
            self.used -= size
            self.in_memory -= in_memory

    def hold(self, size: int) -> bool:
        """Whether `size` bytes more, which were taken, may stay in memory."""
        with self._lock:
            if self.in_memory + size > MOST_IN_MEMORY_TOGETHER:
                return False
            self.in_memory += size
            return True


class Share:
    """What one store has taken of a room; given back at the store's end, and not once more by its contents."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._used = self._in_memory = 0
        self._over = False
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """`size` bytes more are stored. Raises Full."""
        self._room.take(size)
        with self._lock:
            self._used += size
            late = self._over
        if late:
            self.give(size)

    def hold(self, size: int) -> bool:
        """Whether `size` bytes more may stay in memory."""
        held = self._room.hold(size)
        with self._lock:
            self._in_memory += size if held else 0
            late = held and self._over
        if late:
            self.give(0, size)
        return held

    def give(self, size: int, in_memory: int = 0) -> None:
        """So many bytes are stored no longer, or no longer in memory."""
        with self._lock:
            size, in_memory = min(size, self._used), min(in_memory, self._in_memory)
            self._used -= size
            self._in_memory -= in_memory
        self._room.give(size, in_memory)

    def end(self) -> None:
        """Nothing is stored any more."""
        with self._lock:
            self._over = True
        self.give(self._used, self._in_memory)


class Content:
    """`size` in bytes, `md5` in hexadecimal digits; `path` is None for what is in memory."""

    def __init__(
        self, size: int, md5: str, raw: bytes = b"", path: Path | None = None, share: Share | None = None
    ) -> None:
        self.size, self.md5, self.path = size, md5, path
        self._raw, self._share = raw, share
        self._holders = 1

    @classmethod
    def of(cls, raw: bytes) -> Content:
        """Content that is in memory already, and stays there."""
        return cls(len(raw), _md5(raw).hexdigest(), raw)

    def open(self) -> BinaryIO:
        """The bytes from the beginning. Raises OSError where the file is gone."""
        return io.BytesIO(self._raw) if self.path is None else self.path.open("rb")

    def read(self) -> bytes:
        """All bytes at once. Raises OSError where the file is gone."""
        return self._raw if self.path is None else self.path.read_bytes()

    def hold(self) -> Content:
        """One more needs it, and will `drop` it."""
        self._holders += 1
        return self

    def drop(self) -> None:
        """One fewer needs it. After the last the file is gone; whoever has it open reads on."""
        self._holders -= 1
        if self._holders != 0:
            return
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        if self._share is not None:
            self._share.give(self.size, 0 if self.path is not None else self.size)


class Store:
    """Makes content, from any thread, and holds its files until it is closed; who writes on then gets an OSError.
    `room` is what it shares with others.
    """

    def __init__(self, room: Room | None = None) -> None:
        self._room = room or Room(1 << 62)
        self.share = Share(self._room)
        self._folder: Folder | None = None
        self._made = 0
        self._closed = False
        self._lock = threading.Lock()

    def writer(self) -> Writer:
        """A place for bytes that are still to come."""
        return Writer(self)

    def kept(self, raw: bytes) -> Content:
        """These bytes as content. Raises OSError where the disk is full."""
        writer = self.writer()
        try:
            writer.write(raw)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise

    def taken(self, path: Path) -> Content:
        """The file at `path`, which lies at `free_path` and is the store's from now on. Raises OSError, and Full where
        it is too large.
        """
        found, size, share = _md5(), 0, self.share
        share.take(path.stat().st_size)
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                found.update(chunk)
                size += len(chunk)
        if size > MOST_IN_MEMORY or not share.hold(size):
            return Content(size, found.hexdigest(), path=path, share=share)
        content = Content(size, found.hexdigest(), path.read_bytes(), share=share)
        path.unlink()
        return content

    def free_path(self) -> Path:
        """Where a file may be written that nobody else writes. Raises OSError, also where the store is closed."""
        with self._lock:
            if self._closed:
                raise FileNotFoundError(errno.ENOENT, "what was stored is gone")
            if self._folder is None:
                self._folder = Folder()
            self._made += 1
            return self._folder.path / str(self._made)

    def open(self) -> bool:
        """Begin anew, and tell whether it was closed."""
        before, self._closed = self._closed, False
        if before:
            self.share = Share(self._room)
        return before

    def close(self) -> None:
        """Take all files away; there will be no others until `open`."""
        with self._lock:
            folder, self._folder, self._closed = self._folder, None, True
        self.share.end()
        if folder is not None:
            folder.remove()


class Writer:
    """Takes bytes in order; `size` is how many there are so far. `finish` or `discard` ends it."""

    def __init__(self, store: Store) -> None:
        self.size = 0
        self._store, self._md5, self._share = store, _md5(), store.share
        self._memory: bytearray | None = bytearray()
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def write(self, raw: bytes) -> None:
        """Add bytes. Raises OSError, and Full where there is no room for them."""
        self._share.take(len(raw))
        self.size += len(raw)
        self._md5.update(raw)
        if self._memory is not None and self.size <= MOST_IN_MEMORY and self._share.hold(len(raw)):
            self._memory += raw
            return
        with self._on_disk():
            if self._file is None:
                self._path = self._store.free_path()
                self._file = self._path.open("wb")
                self._file.write(self._memory or b"")
                self._share.give(0, len(self._memory or b""))
                self._memory = None
            self._file.write(raw)

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        """Say where the disk is full."""
        try:
            yield
        except OSError as failed:
            raise full(failed, self._path) or failed from None

    def finish(self) -> Content:
        """The content of all that was written. Raises OSError where the disk is full."""
        if self._file is None:
            return Content(self.size, self._md5.hexdigest(), bytes(self._memory or b""), share=self._share)
        with self._on_disk():
            self._file.close()
        return Content(self.size, self._md5.hexdigest(), path=self._path, share=self._share)

    def discard(self) -> None:
        """Keep nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._share.give(self.size, len(self._memory or b""))
        self.size, self._memory = 0, None


def _md5(raw: bytes = b"") -> hashlib._Hash:
    import hashlib

    return hashlib.md5(raw, usedforsecurity=False)
