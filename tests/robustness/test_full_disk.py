"""A disk that is full: a small one of its own, mounted where only the server sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from wire.client import FOLDER, Client, eventually

from emulator.api import message_class

from .processes import Serving, serving, start

PACKAGE = "yandex.cloud.ai.dataset.v1"
MIB = 1 << 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of its own, as Linux lets processes do"),
]


def small(folder: Path, kib: int = 512, fill: bool = False) -> list[str]:
    """Words before a command that let it run with a disk of so many KiB at `folder`; with `fill` there is no room."""
    folder.mkdir(parents=True, exist_ok=True)
    namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    filled = "dd if=/dev/zero of=$0/filling bs=4k 2>/dev/null;" if fill else ""
    script = f'mount -t tmpfs -o size={kib}k tmpfs "$0" && {{ {filled} exec "$@"; }}'
    return ["unshare", *namespaces, "sh", "-c", script, str(folder)]


def dataset(client: Client, served: Serving, size: int) -> tuple[str, Any]:
    """A new dataset, and what came of putting so many bytes into it."""
    created = client.call(
        f"/{PACKAGE}.DatasetService/Create",
        message_class(f"{PACKAGE}.CreateDatasetRequest")(
            name="a", folder_id=FOLDER, task_type="TextToTextGenerationRequest", upload_format="jsonlines"
        ),
    ).only
    id_ = str(created.dataset_id)
    url = client.call(
        f"/{PACKAGE}.DatasetService/GetUploadDraftUrl",
        message_class(f"{PACKAGE}.GetUploadDraftUrlRequest")(dataset_id=id_, size_bytes=size),
    ).only.upload_url
    return id_, httpx.put(str(url), content=b"x" * size, trust_env=False, timeout=30)


def test_an_upload_that_does_not_fit_is_refused_and_smaller_ones_are_not(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with (
        serving(tmp_path / "served", before=small(disk, 3 * 1024), TMPDIR=str(disk)) as served,
        Client(served.target) as client,
    ):
        _, answer = dataset(client, served, 4 * MIB)
        assert answer.status_code == 507
        assert f"the disk is full ({disk}/" in answer.text
        _, answer = dataset(client, served, 2 * MIB)
        assert answer.status_code == 200
        _, answer = dataset(client, served, 2 * MIB)
        assert answer.status_code == 507
        _, answer = dataset(client, served, 1000)
        assert answer.status_code == 200
        served.answers()


def test_a_ready_file_for_which_there_is_no_room_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    process = start(
        tmp_path / "served", "grpc.aio", before=small(disk, fill=True), FM_EMULATOR_READY_FILE=f"{disk}/ready.json"
    )
    assert process.wait(60) == 1
    log = (tmp_path / "served" / "log.txt").read_text()
    assert log.splitlines()[-1] == (
        f"fm-emulator: ready-file: {disk}/ready.json can't be written: No space left on device"
    )
    assert "Traceback" not in log


def test_certificates_for_which_there_is_no_room_are_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    process = start(tmp_path / "served", "grpc.aio", "--tls", "--tls-dir", f"{disk}", before=small(disk, fill=True))
    assert process.wait(60) == 1
    log = (tmp_path / "served" / "log.txt").read_text()
    assert "Traceback" not in log, log
    assert "tls_dir" in log.splitlines()[-1], log
    assert "No space left on device" in log, log


def test_a_snapshot_for_which_there_is_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with serving(tmp_path / "served") as served:
        save = [sys.executable, "-m", "emulator", "snapshot", "save", f"{disk}/kept", "--target", served.target]
        script = f'echo before > "{disk}/kept"; dd if=/dev/zero of="{disk}/filling" bs=4k 2>/dev/null; "$@"; s=$?;'
        script += f'cat "{disk}/kept"; ls "{disk}"; exit $s'
        run = subprocess.run(
            [*small(disk, 64), "sh", "-c", script, "sh", *save], capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 1
        assert run.stderr == f"fm-emulator: {disk}/kept can't be written: No space left on device\n"
        assert run.stdout.split() == ["before", "filling", "kept"]
        served.answers()


def test_a_log_for_which_there_is_no_room_is_lost_and_nothing_else(tmp_path: Path) -> None:
    # /dev/full is only opened for writing, which it refuses as a full disk does.
    with serving(tmp_path / "served", before=["sh", "-c", 'exec "$0" "$@" >/dev/full 2>&1']) as served:
        for _ in range(3):
            served.answers()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0
    eventually(lambda: not (tmp_path / "served" / "ready.json").exists())
