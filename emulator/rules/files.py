"""Fixtures, wherever they come from: files, folders of them, or plain mappings given from Python.

A folder is read in name order, `*.yaml` and `*.yml`, its subfolders included. What a fixture refers to (`text: {file:
...}`, `image: ...`) is looked for beside it and never outside the folder that was given, links included.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct, field

from ..errors import Mistake, UsageError
from .decode import INVALID, decode
from .document import parse, read
from .inline import nodes_of
from .model import File, Rule
from .problems import Problems

SUFFIXES = (".yaml", ".yml")
LARGEST_FILE = 64 * 1024 * 1024


class Source(Struct):
    """One file's fixtures. `file` is None where they can't be read; `problems` tells why.

    Of a file with mistakes it holds what is sound, so that the rest is checked in the same go; `broken` numbers the
    rules that are not.
    """

    name: str
    problems: Problems
    file: File | None = None
    root: Path | None = None
    folder: Path | None = None
    broken: frozenset[int] = frozenset()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def read_file(self, name: str) -> bytes:
        """The bytes of a file that a fixture refers to. Raises ValueError that says why there are none."""
        if self.root is None or self.folder is None:
            raise ValueError(f"{name}: fixtures given from Python have no folder to look in; write the text in place")
        path = self.folder / name
        if not Path(os.path.normpath(path)).is_relative_to(self.root):
            raise ValueError(f"{name}: it is outside the fixtures' folder; put it beside {self.name}")
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise ValueError(f"{name}: no such file beside {self.name}") from None
        if not real.is_relative_to(self.root):
            raise ValueError(f"{name}: it is outside the fixtures' folder; put it beside {self.name}")
        if not real.is_file():
            raise ValueError(f"{name}: it is not a file")
        try:
            if real.stat().st_size > LARGEST_FILE:
                raise ValueError(f"{name}: it is larger than {LARGEST_FILE >> 20} MiB")
            return real.read_bytes()
        except OSError as failed:
            raise ValueError(f"{name}: it can't be read: {failed.strerror}") from None


def load_sources(fixtures: Iterable[Any]) -> list[Source]:
    """The sources of these paths and mappings, in the order given; mistakes are in each one's problems."""
    out: list[Source] = []
    for n, given in enumerate(fixtures, 1):
        if isinstance(given, Mapping):
            out.append(_inline(given, n))
        else:
            if not isinstance(given, (str, os.PathLike)):
                raise UsageError(f"fixtures: {given!r} is neither a path nor a mapping")
            out.extend(_of_path(Path(os.fspath(given))))
    return list(
        {(source.folder and source.folder / Path(source.name).name) or source.name: source for source in out}.values()
    )


def _of_path(path: Path) -> list[Source]:
    try:
        there, is_folder = path.exists(), path.is_dir()
    except OSError as failed:
        return [_unreadable(path, f"can't be read: {failed.strerror}")]
    if is_folder:
        found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and _visible(p, path) and not p.is_dir())
        return [_read(file, path) for file in found]
    if not there:
        return [_unreadable(path, "no such file or folder")]
    return [_read(path, path.parent)]


def _unreadable(path: Path, why: str) -> Source:
    problems = Problems(str(path))
    problems.mistakes.append(Mistake(str(path), 0, 0, why))
    return Source(str(path), problems)


def _visible(path: Path, root: Path) -> bool:
    """Hidden files and folders are left out: editors' backups, and the copies a mounted ConfigMap keeps of itself."""
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _read(path: Path, root: Path) -> Source:
    problems = Problems(str(path))
    try:
        source = Source(str(path), problems, None, root.resolve(), path.parent.resolve())
        real = path.resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        return _unreadable(path, "can't be read: its links lead nowhere")
    if not real.is_relative_to(source.root or real):
        problems.mistakes.append(
            Mistake(str(path), 0, 0, "it is a link to outside the fixtures' folder; copy the file")
        )
        return source
    text = read(path, problems.mistakes)
    if text is None:
        return source
    node = parse(text, str(path), problems.mistakes, problems.warnings)
    if node is None:
        return source
    _decode(node, source)
    return source


def _inline(value: Mapping[str, Any], n: int) -> Source:
    name = f"fixtures[{n}]"
    problems = Problems(name)
    source = Source(name, problems)
    try:
        node = nodes_of(dict(value))
    except (TypeError, ValueError) as failed:
        problems.mistakes.append(Mistake(name, 0, 0, str(failed)))
        return source
    _decode(node, source)
    return source


def _decode(node: yaml.Node, source: Source) -> None:
    file = decode(node, File, source.problems)
    if file is not INVALID:
        source.file = file
    elif isinstance(node, yaml.MappingNode):
        _salvage(node, source)


def _salvage(node: yaml.MappingNode, source: Source) -> None:
    """Decode part by part what can't be decoded whole; every mistake has been told already."""
    silent = Problems(source.name)
    types = {f.encode_name: f.type for f in msgspec.structs.fields(File)}
    parts: dict[str, Any] = {}
    for key, value in node.value:
        if key.value == "rules" and isinstance(value, yaml.SequenceNode):
            rules = [decode(rule, Rule, silent) for rule in value.value]
            source.broken = frozenset(i for i, rule in enumerate(rules) if rule is INVALID)
            pairs = zip(rules, value.value, strict=True)
            parts["rules"] = [_sound_parts(of, silent) if rule is INVALID else rule for rule, of in pairs]
        elif key.value in types and (part := decode(value, types[key.value], silent)) is not INVALID:
            parts[key.value] = part
    source.file = File(**parts)


def _sound_parts(node: yaml.Node, silent: Problems) -> Rule:
    """What of a broken rule can be decoded: its reply, say, where its conditions are misspelt."""
    if not isinstance(node, yaml.MappingNode):
        return Rule()
    fields = {f.encode_name: f for f in msgspec.structs.fields(Rule)}
    parts = {
        fields[key.value].name: part
        for key, value in node.value
        if key.value in fields and (part := decode(value, fields[key.value].type, silent)) is not INVALID
    }
    return Rule(**parts)
