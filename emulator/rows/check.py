"""Checking a dataset: every line once, in order, with what is wrong of it; and the Parquet file on the way.

Memory stays bounded however many rows there are, so this can run over gigabytes. It is plain work without a loop: call
it in a thread, or in a process of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from .parquet import Table
from .types import LABELLED, ROWS
from .verdict import Fault, Verdict

LONGEST_LINE = 32 * 1024 * 1024
MOST_FAULTS = 100
MOST_ROWS_TOLD = 100
LONGEST_DESCRIPTION = 300
"""Characters of what is said of a mistake: it may quote the row, and all of them go into one reply."""

_PLACE = re.compile(r"^(?P<text>.*) - at `(?P<where>key in )?\$\.?(?P<path>.*?)`$", re.DOTALL)
_BYTE = re.compile(r" \(byte \d+\)$")
_BOM = b"\xef\xbb\xbf"


class Wrong(Exception):
    """What is wrong with a line: the kind of mistake, and the mistake itself."""

    def __init__(self, error: str, description: str) -> None:
        if len(description) > LONGEST_DESCRIPTION:
            half = LONGEST_DESCRIPTION // 2
            description = f"{description[:half]}...{description[-half:]}"
        super().__init__(error, description)
        self.error, self.description = error, description


def check(source: bytes | Path, task_type: str, parquet: Path | io.BytesIO | None) -> Verdict:
    """The verdict on these JSON lines; where they are sound, their rows are in `parquet` afterwards.

    Raises OSError where the source can't be read or the disk is full.
    """
    verdict = Verdict()
    faults: dict[tuple[str, str], Fault] = {}
    read = reader(task_type)
    table = Table(parquet, task_type) if parquet is not None else None
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            for number, line in lines(file):
                verdict.rows = number
                try:
                    row = read(line)
                except Wrong as wrong:
                    _note(faults, wrong, number)
                    continue
                verdict.valid += 1
                if table is not None and not faults:
                    table.add(row, len(line or b""))
        if not verdict.rows:
            _note(faults, Wrong("EmptyDataset", "the file has no rows"), 0)
        if table is not None and not faults:
            table.close()
            verdict.stored = True
    finally:
        if table is not None and not verdict.stored:
            table.dropped()
    verdict.faults = list(faults.values())
    return verdict


def _note(faults: dict[tuple[str, str], Fault], wrong: Wrong, number: int) -> None:
    key = (wrong.error, wrong.description)
    if key not in faults and len(faults) >= MOST_FAULTS:
        key = (
            "TooManyErrors",
            f"more kinds of mistakes than the {MOST_FAULTS} above; these are rows with further ones",
        )
    fault = faults.setdefault(key, Fault(*key))
    if number and len(fault.rows) < MOST_ROWS_TOLD:
        fault.rows.append(number)


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number, counted from 1; None for one that is too long to be held. What is blank at the end is
    no line.
    """
    number, blank = 0, 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        line = line.removeprefix(_BOM) if number == 1 else line
        too_long = len(line) == LONGEST_LINE and not line.endswith(b"\n")
        if too_long:
            _skip_line(file)
        elif not line.strip():
            blank += 1
            continue
        yield from ((n, b"") for n in range(number - blank, number))
        blank = 0
        yield number, None if too_long else line


def _skip_line(file: BinaryIO) -> None:
    while (more := file.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
        pass


def reader(task_type: str) -> Callable[[bytes | None], Any]:
    """A function that gives the row of a line, in plain values, and raises Wrong where it is none."""
    checks = _Labels(task_type) if task_type in LABELLED else _any_object
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ROWS.get(task_type, dict[str, Any]))
    fixed = task_type in ROWS

    def read(line: bytes | None) -> Any:
        if line is None:
            raise Wrong("TooLongRow", f"the line is longer than {LONGEST_LINE >> 20} MiB")
        if not line:
            raise Wrong("EmptyRow", "the line is empty")
        try:
            row = decoder.decode(line)
        except msgspec.ValidationError as failed:
            raise Wrong("InvalidRow", worded(str(failed))) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as failed:
            raise _unreadable(line, failed) from None
        except RecursionError:
            raise Wrong("InvalidJson", "the line is nested too deeply") from None
        if fixed:
            return msgspec.to_builtins(row)
        checks(row)
        return row

    return read


def _unreadable(line: bytes, failed: Exception) -> Wrong:
    try:
        line.decode()
    except UnicodeDecodeError as broken:
        return Wrong("InvalidEncoding", f"the line is not UTF-8: byte {broken.start + 1} is 0x{line[broken.start]:02x}")
    # Where in the line it is would tell apart what is one kind of mistake.
    remark = _BYTE.sub("", str(failed)).removeprefix("JSON is malformed: ")
    return Wrong("InvalidJson", f"the line is not JSON: {remark}")


def worded(text: str) -> str:
    """A remark of msgspec's with its place before it: `request[0].role: ...`."""
    found = _PLACE.match(text)
    place, remark = (found["path"], found["text"]) if found else ("", text)
    remark = remark.replace("`", "")
    remark = remark.replace("Expected str of length >= 1", "the text is empty")
    remark = remark.replace("Expected array of length >= 1", "the list is empty")
    if remark.startswith("Invalid enum value") and place.endswith("role"):
        remark = f"{remark.removeprefix('Invalid enum value ')} is no role; there are system, user, assistant"
    return f"{place}: {remark}" if place else remark


class _Labels:
    """A text and labels: those of the first row, in every row."""

    def __init__(self, task_type: str) -> None:
        self._one = task_type == "TextClassificationMulticlass"
        self._labels: frozenset[str] | None = None

    def __call__(self, row: Mapping[str, Any]) -> None:
        text = row.get("text")
        if not isinstance(text, str) or not text:
            raise Wrong("InvalidRow", "text: it is missing, empty or no text")
        labels = {name: value for name, value in row.items() if name != "text"}
        for name, value in labels.items():
            if value not in (0, 1) or isinstance(value, (bool, float)):
                raise Wrong("InvalidRow", f"{name[:60]}: a label is 1 where it fits and 0 where it doesn't")
        if not labels:
            raise Wrong("InvalidRow", "there are no labels beside the text")
        if self._one and sum(labels.values()) != 1:
            raise Wrong("InvalidRow", f"exactly one label is 1; {sum(labels.values())} are")
        if self._labels is None:
            self._labels = frozenset(labels)
        if self._labels != labels.keys():
            odd = sorted(self._labels ^ labels.keys())[0]
            raise Wrong("InvalidRow", f"{odd[:60]}: all rows have the same labels as the first, and this one differs")


def _any_object(row: Mapping[str, Any]) -> None:
    if not row:
        raise Wrong("InvalidRow", "the object is empty")
