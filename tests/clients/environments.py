"""Environments with a client's packages, made once for all workers and runs.

They are kept in the virtual environment that runs the tests, and go with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

KEPT = Path(sys.prefix if sys.prefix != sys.base_prefix else tempfile.gettempdir()) / "fm-emulator-clients"


def made(name: str, files: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder of the environment `name`; `make(folder)` fills it, unless it did so before for the same `files`."""
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = KEPT / name
    key = _key(files)
    with _alone(KEPT / f"{name}.lock"):
        mark = folder / ".made"
        if not mark.exists() or mark.read_text(encoding="utf-8") != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            mark.write_text(key, encoding="utf-8")
    return folder


def _key(files: Sequence[Path]) -> str:
    key = hashlib.sha256(sys.version.encode())
    for file in files:
        key.update(file.read_bytes())
    return key.hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While the block runs nobody else, in this process or another, is in it with the same file."""
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
