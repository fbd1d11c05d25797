"""The datasets of fixture files: checked at load, line by line, like everything else in them."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from ..datasets.given import Fixture
from ..errors import Mistake
from ..rows.names import TASK_TYPES
from ..rules import model
from ..seed import Seed

if TYPE_CHECKING:
    from ..rules.files import Source

_ID = re.compile(r"fds[0-9a-v]{17}")
_LIKE_AN_ID = re.compile(r"fds[0-9a-z]{15,19}")
LONGEST_NAME = 63
MOST_TOLD = 20


def id_of(name: str) -> str:
    """The id of a dataset: its name, if that is written as one, else one that follows from the name alone."""
    return name if _ID.fullmatch(name) else Seed(0).identifier("fds", "fixture", name)


def compile_dataset(name: str, spec: model.GivenDataset, source: Source) -> Fixture | None:
    """The dataset of that name; None where it is wrong, which the source's problems tell."""
    at: tuple[str | int, ...] = ("datasets", name)
    problems = source.problems
    before = len(problems.mistakes)
    task_type = spec.task_type or "TextToTextGenerationRequest"
    if not name or len(name) > LONGEST_NAME:
        problems.at(at, f"a dataset's name has 1 to {LONGEST_NAME} characters; this one has {len(name)}")
    if _LIKE_AN_ID.fullmatch(name) and not _ID.fullmatch(name):
        problems.warn(at, "this looks like an id and is none: fds and 17 of 0-9 and a-v; it is taken for a name")
    if task_type not in TASK_TYPES:
        problems.at((*at, "task_type"), f"no such task type: {task_type}; there are {', '.join(TASK_TYPES)}")
    if (spec.file is None) == (spec.rows is None):
        problems.at(at, "say where the rows come from: file, or rows in place, and not both")
    if len(problems.mistakes) > before:
        return None
    raw = _of_file(spec.file, source, at) if spec.file is not None else _in_place(spec.rows or [])
    if raw is None or not _sound(raw, task_type, spec.file, source, at):
        return None
    told = spec.name if spec.name is not None else "" if _ID.fullmatch(name) else name
    return Fixture(
        id_of(name), told, task_type, raw, spec.folder or "", spec.description or "", dict(spec.labels or {})
    )


def _of_file(name: str, source: Source, at: tuple[str | int, ...]) -> bytes | None:
    try:
        return source.read_file(name)
    except ValueError as missing:
        source.problems.at((*at, "file"), str(missing))
        return None


def _in_place(rows: list[Any]) -> bytes:
    import json

    return b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n" for row in rows)


def _sound(raw: bytes, task_type: str, file: str | None, source: Source, at: tuple[str | int, ...]) -> bool:
    """Whether all rows are; if not, each that isn't is told where it stands."""
    from ..rows.check import check

    faults = check(raw, task_type, None).faults
    told = [(row, fault.description) for fault in faults for row in fault.rows or [0]]
    for row, text in sorted(told)[:MOST_TOLD]:
        if file is not None:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source.name), file))
            source.problems.mistakes.append(Mistake(path, row, 0, text))
        else:
            source.problems.at((*at, "rows", row - 1) if row else (*at, "rows"), text)
    if len(told) > MOST_TOLD:
        source.problems.at(at, f"{len(told) - MOST_TOLD} rows or more have further mistakes")
    return not faults
