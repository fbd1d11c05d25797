"""Rows as a Parquet file, as datasets are stored: snappy, one row group for up to 50,000 rows (recorded of small ones).

pyarrow is an extra of the package, and imported when the first file is written.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

from .names import LABELLED

EXTRA = "fm-emulator[parquet]"
ROWS_A_GROUP = 50_000
BYTES_A_GROUP = 32 * 1024 * 1024


def available() -> bool:
    """Whether pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


class Table:
    """A file, on the disk or in memory, that is being written row by row; `close` or `dropped` ends it.

    Raises OSError where the disk is full.
    """

    def __init__(self, to: Path | io.BytesIO, task_type: str) -> None:
        self._to, self._task_type = to, task_type
        self._rows: list[Any] = []
        self._bytes = 0
        self._writer: Any = None

    def add(self, row: Any, size: int) -> None:
        """Add a row of plain values; `size` is roughly what it takes in bytes."""
        self._rows.append(row)
        self._bytes += size
        if len(self._rows) >= ROWS_A_GROUP or self._bytes >= BYTES_A_GROUP:
            self._write()

    def close(self) -> None:
        """The file is whole."""
        if self._rows or self._writer is None:
            self._write()
        self._writer.close()

    def dropped(self) -> None:
        """No file, after all."""
        if self._writer is not None:
            with contextlib.suppress(Exception):  # what can't be finished is taken away anyhow
                self._writer.close()
        if isinstance(self._to, Path):
            self._to.unlink(missing_ok=True)

    def _write(self) -> None:
        # It comes without types, and whoever checks a program of theirs strictly shall not hear of that.
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        if self._writer is None:
            self._schema = _schema(self._task_type, self._rows)
            self._writer = parquet.ParquetWriter(self._to, self._schema, compression="snappy")
        if self._schema.names == ["row"]:
            self._rows = [{"row": json.dumps(row, ensure_ascii=False)} for row in self._rows]
        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._bytes = [], 0


def _schema(task_type: str, rows: list[Any]) -> Any:
    """The columns; those of labels are the first row's, and a row of unknown fields is one column of JSON."""
    pa: Any = importlib.import_module("pyarrow")
    text = pa.string()
    message = pa.struct([("role", text), ("text", text)])
    part = pa.struct([("type", text), ("text", text), ("image", text)])
    pictured = pa.struct([("role", text), ("content", pa.list_(part))])
    if task_type in LABELLED:
        labels = [name for name in rows[0] if name != "text"]
        return pa.schema([("text", text), *((name, pa.int64()) for name in labels)])
    known = {
        "TextToTextGenerationRequest": [("request", pa.list_(message))],
        "TextToTextGeneration": [("request", pa.list_(message)), ("response", text)],
        "ImageTextToTextGenerationRequest": [("request", pa.list_(pictured))],
        "TextEmbeddingsPair": [("anchor", text), ("positive", text)],
        "TextEmbeddingsTriplet": [("anchor", text), ("positive", text), ("negative", text)],
    }
    return pa.schema(known.get(task_type, [("row", text)]))
