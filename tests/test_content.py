"""Content: where bytes lie, and that nothing is left of them."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from emulator.content import MOST_IN_MEMORY, Room, Store, Writer
from emulator.folders import LOCK


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_threads_that_write_at_once_share_one_folder_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, barrier = Store(), threading.Barrier(16)
    paths: list[Path] = []
    made = tempfile.mkdtemp

    def slowly(**options: Any) -> str:
        threading.Event().wait(0.05)
        return made(**options)

    monkeypatch.setattr(tempfile, "mkdtemp", slowly)

    def write() -> None:
        barrier.wait()
        paths.append(store.free_path())

    threads = [threading.Thread(target=write) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 16
    assert len(list(tmp_path.iterdir())) == 1
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_store_makes_no_new_folder_until_it_is_opened(tmp_path: Path) -> None:
    store = Store()
    late = store.writer()
    late.write(b"x" * MOST_IN_MEMORY)
    store.close()
    with pytest.raises(OSError, match="is gone"):
        late.write(b"x")
    assert list(tmp_path.iterdir()) == []
    store.open()
    content = store.kept(b"x" * (MOST_IN_MEMORY + 1))
    assert content.path is not None
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_what_a_full_disk_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Writer) -> Any:
        raise OSError(28, "No space left on device")

    store = Store()
    monkeypatch.setattr(Writer, "finish", full)
    with pytest.raises(OSError, match="No space"):
        store.kept(b"x" * (MOST_IN_MEMORY + 1))
    assert [[path.name for path in folder.iterdir()] for folder in tmp_path.iterdir()] == [[LOCK]]
    store.close()


def test_what_comes_after_a_store_was_closed_takes_no_memory_from_the_others() -> None:
    room = Room(100)
    store = Store(room)
    late = store.writer()
    store.close()
    late.write(b"late")
    assert (room.used, room.in_memory) == (0, 0)
    late.discard()
    assert (room.used, room.in_memory) == (0, 0)
