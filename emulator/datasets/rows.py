"""`Rows`: JSON lines and what is found out about them, once, when it is first asked for, outside the loop."""

from __future__ import annotations

import asyncio

from ..apart import in_process, in_thread
from ..content import MOST_IN_MEMORY, Content, Store
from ..errors import Code, Status
from ..rows.verdict import Verdict


class Rows:
    """JSON lines of a task type, and what becomes of them: a verdict and a Parquet file, made once, when first asked
    for, and shared by all who wait.
    """

    def __init__(self, content: Content, task_type: str, store: Store) -> None:
        self.content, self.task_type = content, task_type
        self.verdict: Verdict | None = None
        self.stored: Content | None = None
        self._store = store
        self._checking: asyncio.Task[None] | None = None

    async def checked(self) -> Verdict:
        """The verdict. Raises INTERNAL where the disk is full or the check died; it is made anew when next asked."""
        while self.verdict is None:
            if self._checking is None:
                self._checking = asyncio.ensure_future(self._check())
                self._checking.add_done_callback(self._done)
            checking = self._checking
            try:
                await asyncio.shield(checking)
            except (OSError, RuntimeError) as failed:
                raise Status(Code.INTERNAL, f"the rows could not be checked: {failed}") from None
            except asyncio.CancelledError:
                if checking.cancelled():
                    raise Status(Code.CANCELLED, "the dataset is gone") from None
                raise
        return self.verdict

    async def file(self) -> Content:
        """The rows as Parquet. Raises FAILED_PRECONDITION where pyarrow is missing, and what `checked` raises."""
        await self.checked()
        if self.stored is None:
            raise Status(Code.FAILED_PRECONDITION, needs("pyarrow", "parquet", "datasets are downloaded as Parquet"))
        return self.stored

    @property
    def size(self) -> int:
        """Bytes of what is stored: the Parquet file, or what was uploaded where pyarrow is missing."""
        return (self.stored or self.content).size

    def drop(self) -> None:
        """Let go of all of it."""
        if self._checking is not None:
            self._checking.cancel()
        for content in (self.content, self.stored):
            if content is not None:
                content.drop()

    async def _check(self) -> None:
        from ..rows.check import check
        from ..rows.parquet import available

        path = self._store.free_path() if available() else None
        large = self.content.size > MOST_IN_MEMORY
        source = self.content.path or self.content.read()
        try:
            verdict = await (in_process if large else in_thread)(check, source, self.task_type, path)
            if verdict.stored and path is not None:
                self.stored = await in_thread(self._store.taken, path)
        except BaseException:
            if path is not None:
                path.unlink(missing_ok=True)
            raise
        self.verdict = verdict

    def _done(self, checking: asyncio.Task[None]) -> None:
        self._checking = None
        if not checking.cancelled():
            checking.exception()  # whoever waits is told; if nobody does any more, it is no news


def needs(package: str, extra: str, why: str) -> str:
    """What to install where a package is missing that is an extra of ours."""
    return f"{why}, which needs {package}: pip install 'fm-emulator[{extra}]'"
