"""Hot reload: follow the fixtures, and load them anew when they change.

What is there is looked at again and again instead of waiting for the operating system's events: those don't arrive from
mounted volumes (Docker Desktop, NFS), follow a deleted folder into nowhere, and know nothing of a ConfigMap, whose
files are links into a folder that is itself a swapped link. A look is a `stat` of each file, compared to the nanosecond
with time of change and inode included, so that two saves within one second are two, and so is a file renamed over
another of the same age.

Of a folder every visible file counts, since fixtures refer to others (`text: {file: ...}`, `image: ...`); of a single
file only that one and those it refers to, for it may lie in a crowded place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from .clock import Monotonic
from .engine.book import Book
from .engine.reach import warnings
from .errors import FixtureError, Mistake

if TYPE_CHECKING:
    import yaml

T = TypeVar("T")

log = logging.getLogger("emulator")

INTERVAL = 0.25
"""Real seconds between two looks. A change is loaded once two looks in a row have seen the same."""
PATIENCE = 2.0
"""Real seconds after which a change is loaded even if something goes on changing, as a log among the fixtures does."""
THREAD = "emulator-reload"

Look = Mapping[str, "tuple[int, ...]"]
"""What is there at one moment: for each path, what tells a change of it; the error's number for what can't be read."""


class Watched:
    """The files and folders that are followed. Knows no events: `look` reads what is there now."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._referred: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}

    def look(self) -> Look:
        """What is there now; never raises for what a path leads to."""
        seen: dict[str, tuple[int, ...]] = {}
        for path in self.paths:
            if path.is_dir():
                seen.update(_of_folder(str(path)))
            else:
                seen.update(self._of_file(path))
        return seen

    def _of_file(self, path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        name, mark = str(path), _mark(str(path))
        yield name, mark
        known = self._referred.get(name)
        if known is None or known[0] != mark:
            found = _referred(path)
            # A file that can't be read just now still refers to what it did.
            known = self._referred[name] = (mark, found if found is not None else known[1] if known else ())
        for other in known[1]:
            yield other, _mark(other)


async def follow(
    paths: Sequence[Path],
    load: Callable[[], Book],
    swap: Callable[[Book], None],
    failed: Callable[[str], None],
    stop: asyncio.Event,
    *,
    since: Look | None = None,
    interval: float = INTERVAL,
) -> None:
    """Load and swap whenever something under `paths` has changed, until `stop` is set or the task is cancelled.

    `load` runs in a thread of its own, `swap` and `failed` in the loop. Where loading fails the last good rules stay,
    every mistake is logged, and `failed` is told all of them, a line each; it is told the empty text once a load
    succeeds. `since` is `Watched(paths).look()` from before the rules in force were loaded, so that nothing is missed
    in between; without it only what changes from now on counts. `interval` is in real seconds.
    """
    # Not the loop's own pool, whose threads live as long as the loop.
    with _Aside(stop) as aside:
        watched = Watched(paths)
        loaded = await aside.run(watched.look) if since is None else since
        while not stop.is_set():
            await aside.rest(interval)
            seen = await aside.run(watched.look)
            if stop.is_set() or seen is None or seen == loaded:
                continue
            noticed = Monotonic.now()
            while not stop.is_set() and Monotonic.now() - noticed < PATIENCE:
                await aside.rest(interval)
                before, seen = seen, await aside.run(watched.look)
                if seen == before:
                    break
            if seen == loaded:  # gone for a moment
                continue
            # Seen before it is loaded: what changes meanwhile is loaded next time.
            outcome = await aside.run(lambda: _load(load))
            if outcome is None:
                return
            loaded = seen
            _take(outcome, swap, failed)


class _Aside:
    """Work in one thread, and rests, that both end early (with None) when `stop` is set."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def __enter__(self) -> _Aside:
        self._pool = ThreadPoolExecutor(1, THREAD)
        self._stopped = asyncio.ensure_future(self._stop.wait())
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.cancel()
        # What can't be interrupted is not waited for: its thread ends when it returns.
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], T]) -> T | None:
        """What `work` returns."""
        if self._stop.is_set():
            return None
        under_way = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            await asyncio.wait((under_way, self._stopped), return_when=asyncio.FIRST_COMPLETED)
            return None if self._stop.is_set() else under_way.result()
        finally:
            under_way.cancel()

    async def rest(self, seconds: float) -> None:
        """Wait for so many real seconds."""
        await asyncio.wait((self._stopped,), timeout=seconds)


_Outcome: TypeAlias = "tuple[Book, list[Mistake]] | Exception"


def _load(load: Callable[[], Book]) -> _Outcome:
    try:
        book = load()
        return book, warnings(book)
    except Exception as error:
        # Whatever it is, the next save deserves a try: files also vanish while they are read.
        return error


def _take(outcome: _Outcome, swap: Callable[[Book], None], failed: Callable[[str], None]) -> None:
    if isinstance(outcome, Exception):
        if isinstance(outcome, FixtureError):
            for mistake in outcome.mistakes:
                log.error("%s", mistake, extra={"event": "mistake"})
        elif isinstance(outcome, OSError):
            log.error("the fixtures can't be read: %s", outcome)
        else:
            log.error("the fixtures can't be loaded: %s", outcome, exc_info=outcome)
        log.error("not reloaded: the last good rules stay", extra={"event": "reload"})
        failed(str(outcome) or type(outcome).__name__)
        return
    book, doubts = outcome
    swap(book)
    failed("")
    rules = len(book.rules)
    about = {"event": "reload", "fields": {"rules": rules}}
    log.info("reloaded: %d rule%s", rules, "s" if rules != 1 else "", extra=about)
    for doubt in doubts:
        log.warning("%s", doubt, extra={"event": "warning"})


def _mark(path: str) -> tuple[int, ...]:
    """What tells one state of a file from another, of the file that a link leads to."""
    try:
        now = os.stat(path)
    except (OSError, ValueError) as error:
        return (getattr(error, "errno", None) or 0,)
    if stat.S_ISDIR(now.st_mode):
        return ()  # its time changes with hidden files, too
    return now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino, now.st_dev


def _of_folder(root: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every visible file below, and the folders they lie in."""
    from .rules.files import walked

    for path, unlisted in walked(root):
        yield path, _mark(path) if unlisted is None else (unlisted,) if unlisted else ()


def _referred(path: Path) -> tuple[str, ...] | None:
    """The files that a fixture file refers to; None if it can't be read."""
    from .rules.document import parse, read

    text = read(path, [])
    root = None if text is None else parse(text, str(path), [], [])
    if root is None:
        return None
    return tuple(str(path.parent / name) for name in sorted(set(_names(root))))


def _names(root: yaml.Node) -> Iterator[str]:
    """The texts under `file` and `image`, wherever they stand."""
    import yaml

    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                left.append(value)
                if key.value in ("file", "image") and isinstance(value, yaml.ScalarNode) and value.value:
                    yield value.value
