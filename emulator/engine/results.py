"""What a batch comes to: its rows answered and written down as a Parquet file, in the columns that were recorded.

`written` is one pass in bounded memory, whatever the number of rows; `written_apart` is the same for another process.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct, field

from .rows import Answered, Fork, Packed, answered

TASK_TYPE = "TextToTextGeneration"
"""The task type of a result dataset (recorded)."""

MOST_ERRORS = 1000
"""Failed rows that a task tells one by one: a reply must stay within what clients take (4 MiB)."""

LONGEST_ERROR = 1000


class Made(Struct):
    """`rows` were answered, `failed` of them with an error; `errors` are the first: line number and message."""

    rows: int = 0
    failed: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)


def written(fork: Fork, source: BinaryIO, parquet: Path | BytesIO | None) -> Made:
    """Answer all rows of these JSON lines and write them to `parquet`; with None they are only counted. Raises OSError
    where the disk is full.
    """
    from ..rows.parquet import Table

    made = Made()
    table = Table(parquet, TASK_TYPE) if parquet is not None else None
    try:
        with source:
            for row in answered(fork, _texts(source)):
                _count(made, row)
                if table is not None:
                    told = {"request": row.messages, "response": row.response}
                    table.add(told, row.size + len(row.response or ""))
        if table is not None:
            table.close()
    except BaseException:
        if table is not None:
            table.dropped()
        raise
    return made


def written_apart(packed: Packed, source: bytes | Path, parquet: Path | None) -> Made:
    """`written` for a process of its own: `source` are the JSON lines, or their path."""
    rows = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    return written(packed.opened(), rows, parquet)


def _texts(source: BinaryIO) -> Iterator[bytes]:
    from ..rows.check import lines  # with the types of rows, which take a while to make

    return (line or b"" for _, line in lines(source))


def _count(made: Made, row: Answered) -> None:
    made.rows += 1
    if row.response is None:
        made.failed += 1
        if len(made.errors) < MOST_ERRORS:
            made.errors.append((row.number, row.error[:LONGEST_ERROR]))
