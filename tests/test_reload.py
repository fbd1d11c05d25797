"""`serve --watch`: what changes among the fixtures is loaded, on every kind of volume; what is broken is not."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from emulator.engine.book import Book, load
from emulator.reload import THREAD, Look, Watched, follow

SOON = 30
"""Seconds after which a test gives up waiting; nothing takes nearly that long."""
INTERVAL = 0.02


def rules(*texts: str) -> str:
    """A fixture file whose rules are called by these names."""
    return "rules:\n" + "".join(
        f"  - {{name: {text}, when: {{question: {text}}}, reply: {{text: ok}}}}\n" for text in texts
    )


def made(folder: Path, name: str) -> Path:
    """Make that folder, with one rule in it."""
    folder.mkdir()
    (folder / "a.yaml").write_text(rules(name))
    return folder


def names(book: Book) -> list[str]:
    return [rule.name for rule in book.rules]


class Follower:
    """What a reload tells; `swapped` and `refused` wait for the next it has to tell of either."""

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.loads = 0
        self.errors: list[str] = []
        self.stop = asyncio.Event()
        self._books: asyncio.Queue[Book] = asyncio.Queue()
        self._refusals: asyncio.Queue[str] = asyncio.Queue()

    def load(self) -> Book:
        self.loads += 1
        return load([str(path) for path in self.paths])

    def failed(self, text: str) -> None:
        self.errors.append(text)
        if text:
            self._refusals.put_nowait(text)

    async def run(self, since: Look | None = None) -> None:
        await follow(
            self.paths, self.load, self._books.put_nowait, self.failed, self.stop, since=since, interval=INTERVAL
        )

    async def swapped(self) -> list[str]:
        """The names of the next rules that are put in force."""
        return names(await asyncio.wait_for(self._books.get(), SOON))

    async def swapped_to(self, *wanted: str) -> None:
        """Wait until exactly those rules are in force; others may be for a moment."""
        while await self.swapped() != list(wanted):
            pass

    async def refused(self) -> str:
        return await asyncio.wait_for(self._refusals.get(), SOON)

    @property
    def nothing_more(self) -> bool:
        return self._books.empty() and self._refusals.empty()


@asynccontextmanager
async def following(*paths: Path) -> AsyncIterator[Follower]:
    """A reload that has seen what is there by now, until the block ends."""
    follower = Follower(*paths)
    task = asyncio.create_task(follower.run(Watched(paths).look()))
    try:
        yield follower
    finally:
        follower.stop.set()
        await asyncio.wait_for(task, SOON)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "fixtures", "one")


async def test_a_saved_file_is_loaded(folder: Path) -> None:
    async with following(folder) as follower:
        (folder / "a.yaml").write_text(rules("one", "two"))
        await follower.swapped_to("one", "two")
        (folder / "a.yaml").write_text(rules("three"))
        await follower.swapped_to("three")


async def test_a_single_file_is_followed_by_itself(folder: Path) -> None:
    async with following(folder / "a.yaml") as follower:
        (folder / "noise.txt").write_text("not ours")
        (folder / "b.yaml").write_text(rules("others"))
        (folder / "a.yaml").write_text(rules("two"))
        await follower.swapped_to("two")
        assert follower.loads == 1


async def test_a_new_file_renamed_over_the_old_one_is_loaded_even_if_it_is_as_old_and_as_long(folder: Path) -> None:
    for watched in (folder, folder / "a.yaml"):
        (folder / "a.yaml").write_text(rules("one"))
        async with following(watched) as follower:
            was = (folder / "a.yaml").stat()
            (folder / ".a.yaml.new").write_text(rules("two"))
            os.utime(folder / ".a.yaml.new", ns=(was.st_atime_ns, was.st_mtime_ns))
            (folder / ".a.yaml.new").replace(folder / "a.yaml")
            assert (folder / "a.yaml").stat().st_mtime_ns == was.st_mtime_ns
            await follower.swapped_to("two")


async def test_every_save_within_a_second_counts(folder: Path) -> None:
    async with following(folder) as follower:
        for name in ("two", "six", "ten"):
            (folder / "a.yaml").write_text(rules(name))
            await follower.swapped_to(name)


async def test_a_file_that_is_gone_for_a_moment_is_loaded_when_it_is_back(folder: Path) -> None:
    async with following(folder / "a.yaml") as follower:
        (folder / "a.yaml").unlink()
        assert "no such file" in await follower.refused()
        (folder / "a.yaml").write_text(rules("back"))
        await follower.swapped_to("back")
        assert follower.errors[-1] == ""


async def test_a_folder_that_is_deleted_and_made_again_is_followed_on(folder: Path) -> None:
    async with following(folder) as follower:
        shutil.rmtree(folder)
        assert "no such file or folder" in await follower.refused()
        made(folder, "again")
        await follower.swapped_to("again")
        (folder / "a.yaml").write_text(rules("further"))
        await follower.swapped_to("further")


async def test_a_folder_replaced_in_one_go_is_followed_on(folder: Path) -> None:
    async with following(folder) as follower:
        shutil.move(folder, folder.with_name("old"))
        made(folder, "new")
        await follower.swapped_to("new")


async def test_files_come_and_go_in_subfolders(folder: Path) -> None:
    async with following(folder) as follower:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "b.yml").write_text(rules("two"))
        await follower.swapped_to("one", "two")
        (folder / "deep" / "er" / "b.yml").rename(folder / "deep" / "b.yml")
        await follower.swapped_to("one", "two")
        shutil.rmtree(folder / "deep")
        await follower.swapped_to("one")


def mounted(mount: Path, version: int, text: str, *names: str) -> None:
    """Write a ConfigMap's next version as kubelet does: a folder of its own, and one link swapped for another."""
    content = mount / f"..2026_11_2{version}"
    content.mkdir(parents=True)
    for name in names:
        (content / name).parent.mkdir(exist_ok=True)
        (content / name).write_text(text)
    (mount / "..data_tmp").symlink_to(content.name)
    old = (mount / "..data").resolve()
    (mount / "..data_tmp").rename(mount / "..data")
    for name in names:
        first = name.split("/")[0]
        if not (mount / first).is_symlink():
            (mount / first).symlink_to(f"..data/{first}")
    if version > 1:
        shutil.rmtree(old)


@pytest.mark.parametrize("watched", ["", "a.yaml"])
async def test_a_config_map_is_loaded_when_kubelet_swaps_it(tmp_path: Path, watched: str) -> None:
    mount = tmp_path / "mount"
    mounted(mount, 1, rules("one"), "a.yaml")
    async with following(mount / watched) as follower:
        mounted(mount, 2, rules("two"), "a.yaml")
        await follower.swapped_to("two")
        mounted(mount, 3, rules("six"), "a.yaml")
        await follower.swapped_to("six")


async def test_texts_in_a_config_maps_subfolder_count(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mounted(mount, 1, "Привет", "texts/hello.txt")
    (mount / "a.yaml").write_text("rules:\n  - {name: one, reply: {text: {file: texts/hello.txt}}}\n")
    async with following(mount) as follower:
        mounted(mount, 2, "Добрый день", "texts/hello.txt")
        await follower.swapped_to("one")


@pytest.mark.parametrize("watched", ["", "a.yaml"])
async def test_what_fixtures_refer_to_counts_as_they_do(folder: Path, watched: str) -> None:
    (folder / "texts").mkdir()
    (folder / "texts" / "hello.txt").write_text("Привет")
    (folder / "cat.png").write_bytes(b"\x89PNG 1")
    (folder / "a.yaml").write_text(
        "rules:\n"
        "  - {name: text, reply: {text: {file: texts/hello.txt}}}\n"
        "  - name: picture\n"
        "    reply:\n"
        "      image: cat.png\n"
    )
    async with following(folder / watched) as follower:
        (folder / "texts" / "hello.txt").write_text("Добрый день")
        await follower.swapped_to("text", "picture")
        (folder / "cat.png").write_bytes(b"\x89PNG 2")
        await follower.swapped_to("text", "picture")
        (folder / "cat.png").unlink()
        assert "cat.png: no such file" in await follower.refused()


async def test_hidden_files_do_not_count(folder: Path) -> None:
    (folder / ".git").mkdir()
    before = Watched([folder]).look()
    (folder / ".git" / "b.yaml").write_text(rules("two"))
    (folder / ".a.yaml.swp").write_text("an editor's")
    assert Watched([folder]).look() == before


async def test_links_in_circles_and_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "circle").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    (tmp_path / "outside").mkdir()
    (folder / "out").symlink_to(tmp_path / "outside")
    before = Watched([folder]).look()
    (tmp_path / "outside" / "b.yaml").write_text(rules("two"))
    assert Watched([folder]).look() == before
    assert {Path(path).name for path in before} == {"fixtures", "a.yaml", "itself"}


async def test_a_burst_of_writes_is_loaded_once(folder: Path) -> None:
    async with following(folder) as follower:
        for i in range(50):
            (folder / f"b{i:02}.yaml").write_text(rules(f"r{i:02}"))
        await follower.swapped_to("one", *(f"r{i:02}" for i in range(50)))
        assert follower.loads == 1
        assert follower.nothing_more


async def test_what_changed_before_following_began_is_not_missed(folder: Path) -> None:
    follower = Follower(folder)
    since = Watched([folder]).look()
    (folder / "a.yaml").write_text(rules("two"))
    task = asyncio.create_task(follower.run(since))
    assert await follower.swapped() == ["two"]
    follower.stop.set()
    await asyncio.wait_for(task, SOON)


async def test_what_changes_while_it_is_loaded_is_loaded_next(folder: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Follower):
        def load(self) -> Book:
            book = super().load()
            entered.set()
            assert go_on.wait(SOON)
            return book

    follower = Slow(folder)
    since = Watched([folder]).look()
    task = asyncio.create_task(follower.run(since))
    (folder / "a.yaml").write_text(rules("two"))
    assert await asyncio.to_thread(entered.wait, SOON)
    (folder / "a.yaml").write_text(rules("three"))
    go_on.set()
    assert await follower.swapped() == ["two"]
    await follower.swapped_to("three")
    follower.stop.set()
    await asyncio.wait_for(task, SOON)


async def test_a_broken_file_keeps_the_last_good_rules_and_says_why(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = "rules:\n  - name: one\n    reply: {txt: нет}\n  - name: two\n    wen: {question: привет}\n"
    async with following(folder) as follower:
        (folder / "a.yaml").write_text(broken)
        told = await follower.refused()
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        for line in (3, 5):
            assert f"{folder / 'a.yaml'}:{line}: " in told
            assert any(error.startswith(f"{folder / 'a.yaml'}:{line}: ") for error in errors)
        assert errors[-1] == "not reloaded: the last good rules stay"
        assert follower.nothing_more
        (folder / "a.yaml").write_text(rules("mended"))
        await follower.swapped_to("mended")
        assert (follower.errors[0], follower.errors[-1]) == (told, "")


async def test_a_reload_tells_how_many_rules_there_are_and_what_is_hardly_meant(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="emulator")
    async with following(folder) as follower:
        (folder / "a.yaml").write_text(
            "rules:\n  - {name: all, reply: {text: a}}\n  - {name: none, reply: {text: b}}\n"
        )
        await follower.swapped_to("all", "none")
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("INFO", "reloaded: 2 rules") in told
    assert any(level == "WARNING" and ":3: never reached: all" in text for level, text in told)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("of our own")], ids=repr)
async def test_no_failure_of_a_load_ends_the_following(
    folder: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    class Failing(Follower):
        def load(self) -> Book:
            if self.loads == 0:
                self.loads = 1
                raise error
            return super().load()

    follower = Failing(folder)
    task = asyncio.create_task(follower.run(Watched([folder]).look()))
    (folder / "a.yaml").write_text(rules("two"))
    assert await follower.refused() == str(error)
    assert any(str(error) in record.getMessage() for record in caplog.records)
    (folder / "a.yaml").write_text(rules("three"))
    await follower.swapped_to("three")
    follower.stop.set()
    await asyncio.wait_for(task, SOON)


def stopped(follower: Follower, task: asyncio.Task[None]) -> None:
    follower.stop.set()


def cancelled(follower: Follower, task: asyncio.Task[None]) -> None:
    task.cancel()


@pytest.mark.parametrize("end", [stopped, cancelled])
async def test_it_ends_at_once_even_while_it_loads_and_leaves_no_thread(
    folder: Path, end: Callable[[Follower, asyncio.Task[None]], None]
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Stuck(Follower):
        def load(self) -> Book:
            entered.set()
            assert go_on.wait(SOON)
            return super().load()

    follower = Stuck(folder)
    task = asyncio.create_task(follower.run(Watched([folder]).look()))
    (folder / "a.yaml").write_text(rules("two"))
    assert await asyncio.to_thread(entered.wait, SOON)
    end(follower, task)
    await asyncio.wait([task], timeout=SOON)
    assert task.done()
    assert task.cancelled() == (end is cancelled)
    assert not go_on.is_set()
    go_on.set()
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith(THREAD)]:
        await asyncio.to_thread(thread.join, SOON)
        assert not thread.is_alive()
    assert follower.nothing_more
