"""Long work, done where it holds nobody up: in a thread, or in a process of its own where there is much of it.

Python runs one thread at a time, so a minute of work in a thread makes every call of that minute slower; a process has
an interpreter to itself, at the price of starting one (about half a second).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from .content import full
from .errors import Code, Status

if TYPE_CHECKING:
    import subprocess


class Once:
    """Work that is done once, when somebody first waits for it, for all who wait. Work that fails is done anew when
    next asked for; `what` is its name for those who wait when it is cancelled.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], what: str) -> None:
        self._work, self._what = work, what
        self._task: asyncio.Task[None] | None = None
        self._done = False

    async def done(self) -> None:
        """Return once it is done. Raises CANCELLED where it is cancelled meanwhile, RESOURCE_EXHAUSTED where there is
        no room on the disk, INTERNAL where its process dies, and what else it raises; a caller who leaves stops
        nothing.
        """
        if self._done:
            return
        if self._task is None:
            self._task = asyncio.ensure_future(self._work())
            self._task.add_done_callback(self._over)
        task = self._task
        try:
            await asyncio.shield(task)
        except (OSError, RuntimeError) as failed:
            raise _told(failed, self._what) from None
        except asyncio.CancelledError:
            if task.cancelled():
                raise Status(Code.CANCELLED, f"{self._what} was ended: the dataset is gone") from None
            raise

    def settle(self) -> None:
        """It is done already."""
        self._done = True

    def cancel(self) -> None:
        """End what is under way; those who wait get CANCELLED."""
        if self._task is not None:
            self._task.cancel()

    def under_way(self) -> list[asyncio.Task[None]]:
        """The work, if it is going on."""
        return [self._task] if self._task is not None else []

    def _over(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            # Whoever waits is told; if nobody does any more, it is no news.
            self._done = task.exception() is None


def _told(failed: OSError | RuntimeError, what: str) -> Status:
    if isinstance(failed, OSError):
        import tempfile  # slow to import

        told = full(failed, failed.filename or tempfile.gettempdir())
        if told is not None:
            return Status(Code.RESOURCE_EXHAUSTED, f"{what} failed: {told.strerror}")
    return Status(Code.INTERNAL, f"{what} failed: {failed}")


_BEGIN = f"import sys; sys.path[:] = sys.argv[1:]; from {__name__} import main; main()"
"""It imports from where we do: nothing that lies in the working directory gets in between."""


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, called in a thread."""
    return await asyncio.to_thread(function, *arguments)


async def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function`, which a module of ours has by its name, returns, called in a process of its own.

    Arguments, result and exceptions travel pickled. A caller that is cancelled ends the process, and so does the end of
    ours, however it comes. Raises what the function raises, and RuntimeError where the process dies, as it does when
    memory runs out.
    """
    import pickle

    process = _started()
    given = pickle.dumps((function.__module__, function.__qualname__, arguments))
    asked = _in_own_thread(partial(_asked, process, given))
    try:
        told = await asyncio.shield(asked)
    except asyncio.CancelledError:
        process.kill()
        await asyncio.shield(asked)
        raise
    if process.returncode or not told:
        raise RuntimeError(f"the process for {function.__qualname__} ended with status {process.returncode}")
    well, result = pickle.loads(told)
    if not well:
        raise result
    return result


def _started() -> subprocess.Popen[bytes]:
    """The other process. Not by the loop: uvloop would fork, which gRPC's threads don't always survive."""
    import subprocess

    return subprocess.Popen(
        [sys.executable, "-c", _BEGIN, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, and we end it
    )


def _asked(process: subprocess.Popen[bytes], given: bytes) -> bytes:
    """What the process tells when it is given that. Its standard input stays open, and ends only with us."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        with contextlib.suppress(BrokenPipeError):  # it died; its status tells more
            process.stdin.write(given)
            process.stdin.flush()
        told = process.stdout.read()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.wait()
    return told


def _in_own_thread(work: Callable[[], bytes]) -> asyncio.Future[bytes]:
    """What `work` returns, in a thread of its own: those that others share are not to be held for minutes."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()

    def done(result: bytes | BaseException) -> None:
        if future.done():
            return
        if isinstance(result, bytes):
            future.set_result(result)
        else:
            future.set_exception(result)

    def run() -> None:
        try:
            result: bytes | BaseException = work()
        except BaseException as failed:
            result = failed
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(done, result)

    threading.Thread(target=run, name="fm-emulator-apart", daemon=True).start()
    return future


def main() -> None:
    """The other process: one function called, its result told on what was standard output."""
    import pickle

    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, name, arguments = pickle.load(sys.stdin.buffer)
    over = threading.Event()
    threading.Thread(target=_with_its_parent, args=(over,), daemon=True).start()
    try:
        answer = (True, getattr(importlib.import_module(module), name)(*arguments))
    except Exception as failed:
        answer = (False, failed)
    told.write(pickle.dumps(answer))
    over.set()  # who has read it closes our standard input
    told.close()


def _with_its_parent(over: threading.Event) -> None:
    """End this process when the one that began it is gone, even if it was killed: nobody wants the result."""
    while os.read(0, 4096):
        pass
    os._exit(0 if over.is_set() else 1)
