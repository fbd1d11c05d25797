"""Temporary folders: whose process is gone, those are taken away by the next emulator; nobody else's are."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.folders import PREFIX, Folder, sweep

pytestmark = pytest.mark.skipif(os.name != "posix", reason="leftovers stay where there are no such locks")
HOLDER = """
from emulator.folders import Folder
folder = Folder("tls")
(folder.path / "kept").write_text("something")
print(folder.path, flush=True)
input()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def holder(place: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def folder_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def test_what_a_killed_process_has_left_is_taken_away_and_not_before(
    place: Path, holder: subprocess.Popen[str]
) -> None:
    folder = folder_of(holder)
    assert sweep() == []
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (folder / "kept").exists()
    assert sweep() == [folder]
    assert list(place.iterdir()) == []


def test_a_folder_in_use_in_this_process_stays_and_goes_with_remove(place: Path) -> None:
    folder = Folder()
    assert sweep() == []
    assert folder.path.is_dir()
    folder.remove()
    assert list(place.iterdir()) == []


def test_where_there_are_no_locks_a_folder_holds_what_was_put_into_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = Folder()
    (folder.path / "kept").touch()
    assert folder.files() == [folder.path / "kept"]
    assert sweep() == []
    folder.remove()
    assert list(place.iterdir()) == []


def test_what_only_looks_like_a_leftover_stays(place: Path) -> None:
    (place / f"{PREFIX}without-a-lock").mkdir(mode=0o700)
    for name, mode in ((f"{PREFIX}others-may-look", 0o755), ("of-another-program", 0o700)):
        (place / name).mkdir(mode=mode)
        (place / name / "in-use").touch()
    (place / f"{PREFIX}link").symlink_to(place / "of-another-program")
    (place / f"{PREFIX}file").touch()
    there = sorted(place.iterdir())
    assert sweep() == []
    assert sorted(place.iterdir()) == there


def test_an_emulator_that_starts_takes_away_what_one_that_was_killed_has_left(
    place: Path, holder: subprocess.Popen[str]
) -> None:
    folder = folder_of(holder)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    command = [sys.executable, "-m", "emulator", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as serving:
        assert serving.stderr is not None
        told = next(line for line in serving.stderr if "took away" in line)
        serving.send_signal(signal.SIGTERM)
        serving.communicate()
    assert str(folder) in told
    assert not folder.exists()
