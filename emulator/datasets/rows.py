"""`Rows`: JSON lines and what is found out about them, once, when it is first asked for, outside the loop."""

from __future__ import annotations

import asyncio
import io

from ..apart import Once, in_process, in_thread
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
        self._check_once = Once(self._check, "the check of the rows")

    async def checked(self) -> Verdict:
        """The verdict. Raises what `Once.done` does."""
        await self._check_once.done()
        assert self.verdict is not None
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

    def under_way(self) -> list[asyncio.Task[None]]:
        """The check, if it is going on."""
        return self._check_once.under_way()

    def drop(self) -> None:
        """Let go of all of it."""
        self._check_once.cancel()
        for content in (self.content, self.stored):
            if content is not None:
                content.drop()

    async def _check(self) -> None:
        from ..rows.check import check
        from ..rows.parquet import available

        if self.content.size > MOST_IN_MEMORY:
            self.verdict = await self._check_large(available())
            return
        parquet = io.BytesIO() if available() else None
        verdict = await in_thread(check, self.content.read(), self.task_type, parquet)
        if verdict.stored and parquet is not None:
            self.stored = self._store.kept(parquet.getvalue())
        self.verdict = verdict

    async def _check_large(self, stored: bool) -> Verdict:
        """The same in a process of its own, which writes to the disk."""
        from ..rows.check import check

        path = self._store.free_path() if stored else None
        try:
            verdict: Verdict = await in_process(check, self.content.path or self.content.read(), self.task_type, path)
            if verdict.stored and path is not None:
                self.stored = await in_thread(self._store.taken, path)
        except BaseException:
            if path is not None:
                path.unlink(missing_ok=True)
            raise
        return verdict


def needs(package: str, extra: str, why: str) -> str:
    """What to install where a package is missing that is an extra of ours."""
    return f"{why}, which needs {package}: pip install 'fm-emulator[{extra}]'"
