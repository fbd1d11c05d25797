"""`Content`: bytes that no longer change, such as a dataset's; small ones in memory, larger ones in a file.

`Store` is where the files lie: a temporary folder of the emulator's own, made when the first one is needed, gone with
`close`. A `Writer` takes bytes as they come and knows their MD5, which object storage calls an ETag.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import threading
from pathlib import Path
from typing import BinaryIO

MOST_IN_MEMORY = 1 << 20
"""Bytes up to which content stays in memory."""


class Content:
    """`size` in bytes, `md5` in hexadecimal digits; `path` is None for what is in memory."""

    def __init__(self, size: int, md5: str, raw: bytes = b"", path: Path | None = None) -> None:
        self.size, self.md5, self.path = size, md5, path
        self._raw = raw
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
        if self._holders == 0 and self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()


class Store:
    """Makes content, from any thread, and holds its files until it is closed; who writes on then gets an OSError."""

    def __init__(self) -> None:
        self._folder: Path | None = None
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
        """The file at `path`, which lies at `free_path` and is the store's from now on. Raises OSError."""
        found, size = _md5(), 0
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                found.update(chunk)
                size += len(chunk)
        if size > MOST_IN_MEMORY:
            return Content(size, found.hexdigest(), path=path)
        content = Content(size, found.hexdigest(), path.read_bytes())
        path.unlink()
        return content

    def free_path(self) -> Path:
        """Where a file may be written that nobody else writes. Raises OSError, also where the store is closed."""
        with self._lock:
            if self._closed:
                raise FileNotFoundError(errno.ENOENT, "what was stored is gone")
            if self._folder is None:
                import tempfile  # slow to import, and most never store a file

                self._folder = Path(tempfile.mkdtemp(prefix="fm-emulator-"))
            self._made += 1
            return self._folder / str(self._made)

    def open(self) -> bool:
        """Begin anew, and tell whether it was closed."""
        before, self._closed = self._closed, False
        return before

    def close(self) -> None:
        """Take all files away; there will be no others until `open`."""
        with self._lock:
            folder, self._folder, self._closed = self._folder, None, True
        if folder is not None:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)


class Writer:
    """Takes bytes in order; `size` is how many there are so far. `finish` or `discard` ends it."""

    def __init__(self, store: Store) -> None:
        self.size = 0
        self._store, self._md5 = store, _md5()
        self._memory: bytearray | None = bytearray()
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def write(self, raw: bytes) -> None:
        """Add bytes. Raises OSError where the disk is full."""
        self.size += len(raw)
        self._md5.update(raw)
        if self._memory is not None and self.size <= MOST_IN_MEMORY:
            self._memory += raw
            return
        if self._file is None:
            self._path = self._store.free_path()
            self._file = self._path.open("wb")
            self._file.write(self._memory or b"")
            self._memory = None
        self._file.write(raw)

    def finish(self) -> Content:
        """The content of all that was written. Raises OSError where the disk is full."""
        if self._file is None:
            return Content(self.size, self._md5.hexdigest(), bytes(self._memory or b""))
        self._file.close()
        return Content(self.size, self._md5.hexdigest(), path=self._path)

    def discard(self) -> None:
        """Keep nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._memory = None


def _md5(raw: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(raw, usedforsecurity=False)
