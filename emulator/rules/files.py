"""Fixtures, wherever they come from: files, folders of them, bundles in memory, or plain mappings given from Python.

A folder is read in name order, `*.yaml` and `*.yml`, its subfolders included. What a fixture refers to (`text: {file:
...}`, `image: ...`) is looked for beside it and never outside the folder that was given, links included. A bundle is
such a folder in memory.

What was loaded is kept as data (`kept`), so that the same rules can be loaded again where neither the files nor the
environment are.
"""

from __future__ import annotations

import datetime
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import yaml
from msgspec import Struct, field

from ..errors import Mistake, UsageError
from .decode import INVALID, decode
from .document import MAX_BYTES, parse, read
from .duration import Delay
from .inline import nodes_of
from .model import File, GlobalFault, Rule
from .problems import Problems
from .variables import environment_names

SUFFIXES = (".yaml", ".yml")
LARGEST_FILE = 64 * 1024 * 1024
_MOST_TOLD = 5
_NO_FAULT = GlobalFault(delay=Delay(0))
"""Keeps the place of one that can't be decoded."""


class Bundle(Struct, frozen=True):
    """A folder of fixtures in memory: YAML files and what they refer to, by path below the folder with forward slashes.

    `environment` is all that its `vars` see of any environment. `name` stands before the paths where places are told:
    `NAME/chat.yaml:12`. `root` is the real folder if the files were read from one: references may have been written
    with it; empty for files that come from elsewhere.
    """

    files: Mapping[str, bytes]
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    root: str = ""

    def place(self, path: str) -> str:
        """How the file at `path` is told to people."""
        return posixpath.join(self.name, path)


class Inline(Struct, frozen=True):
    """A mapping of what a file would hold, with the name it is told by and what its `vars` see of the environment."""

    content: Mapping[str, Any]
    name: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Source(Struct):
    """One file's fixtures. `file` is None where they can't be read; `problems` tells why.

    Of a file with mistakes it holds what is sound, so that the rest is checked in the same go; `broken` numbers the
    rules that are not.

    `inside` is the path below `root`, and `raw` what the file says, without a byte order mark. `taken` holds the files
    that were referred to, by path below `root`; sources of one folder share it. `origin` is what the source was given
    as, if that is in memory.
    """

    name: str
    problems: Problems
    file: File | None = None
    root: Path | None = None
    folder: Path | None = None
    broken: frozenset[int] = frozenset()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    inside: str = ""
    raw: bytes = b""
    taken: dict[str, bytes] = field(default_factory=dict)
    origin: Bundle | Inline | None = None

    def read_file(self, name: str) -> bytes:
        """The bytes of a file that a fixture refers to. Raises ValueError that says why there are none."""
        if isinstance(self.origin, Bundle):
            return self._read_bundled(name, self.origin)
        if self.root is None or self.folder is None:
            raise ValueError(f"{name}: fixtures given from Python have no folder to look in; write the text in place")
        path = self.folder / name
        plain = Path(os.path.normpath(path))
        if not plain.is_relative_to(self.root):
            raise ValueError(f"{name}: it is outside the fixtures' folder; put it beside {self.name}")
        below = plain.relative_to(self.root).as_posix()
        if below not in self.taken:
            self.taken[below] = self._read_from_disk(name, path, self.root)
        return self.taken[below]

    def _read_from_disk(self, name: str, path: Path, root: Path) -> bytes:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise ValueError(f"{name}: no such file beside {self.name}") from None
        if not real.is_relative_to(root):
            raise ValueError(f"{name}: it is outside the fixtures' folder; put it beside {self.name}")
        if not real.is_file():
            raise ValueError(f"{name}: it is not a file")
        try:
            if real.stat().st_size > LARGEST_FILE:
                raise ValueError(f"{name}: it is larger than {LARGEST_FILE >> 20} MiB")
            return real.read_bytes()
        except OSError as failed:
            raise ValueError(f"{name}: it can't be read: {failed.strerror}") from None

    def _read_bundled(self, name: str, bundle: Bundle) -> bytes:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.inside), name))
        if bundle.root and PurePosixPath(path).is_relative_to(bundle.root):
            path = PurePosixPath(path).relative_to(bundle.root).as_posix()
        if path.startswith(("/", "../")) or path == "..":
            raise ValueError(f"{name}: it is outside the fixtures' folder; put it beside {self.name}")
        data = bundle.files.get(path)
        if data is None:
            if path == "." or any(other.startswith(f"{path}/") for other in bundle.files):
                raise ValueError(f"{name}: it is not a file")
            raise ValueError(f"{name}: no such file beside {self.name}")
        if len(data) > LARGEST_FILE:
            raise ValueError(f"{name}: it is larger than {LARGEST_FILE >> 20} MiB")
        return data

    def lender(self) -> Source:
        """The same without its YAML nodes, which are large: all that reading a file and `kept` need."""
        seen = _seen_environment(self)
        return msgspec.structs.replace(self, problems=Problems(self.name), file=None, environment=seen)


def load_sources(fixtures: Iterable[Any]) -> list[Source]:
    """The sources of these paths, bundles and mappings, in the order given; mistakes are in each one's problems."""
    out: list[Source] = []
    for n, given in enumerate(fixtures, 1):
        if isinstance(given, Bundle):
            out.extend(_of_bundle(given))
        elif isinstance(given, Inline):
            out.append(_inline(given, given.environment))
        elif isinstance(given, Mapping):
            out.append(_inline(Inline(given, f"fixtures[{n}]"), os.environ))
        else:
            if not isinstance(given, (str, os.PathLike)):
                raise UsageError(f"fixtures: {given!r} is neither a path nor a mapping")
            if not os.fspath(given):
                raise UsageError("fixtures: an empty text is no path; for the working directory write `.`")
            out.extend(_of_path(Path(os.fspath(given))))
    return list({_key(source): source for source in out}.values())


def kept(sources: Iterable[Source]) -> tuple[Bundle | Inline, ...]:
    """What these sources were loaded from, as data: loaded again it gives the same rules in the same order.

    Files that were referred to are there as far as `read_file` was asked for them, so ask once all rules are compiled.
    """
    out: list[Bundle | Inline] = []
    folder: list[Source] = []  # what of one folder has come in a row
    for source in sources:
        if folder and not (source.origin is None and _follows(folder[-1], source)):
            out.append(_bundle(folder))
            folder = []
        if source.origin is None:
            folder.append(source)
        elif isinstance(source.origin, Inline):
            out.append(msgspec.structs.replace(source.origin, environment=_seen_environment(source)))
        elif not out or out[-1] is not source.origin:
            out.append(source.origin)
    return (*out, _bundle(folder)) if folder else tuple(out)


def _bundle(folder: list[Source]) -> Bundle:
    """The bundle of files of one folder on disk."""
    first = folder[0]
    prefix = first.name.removesuffix(first.inside)
    files = {**first.taken, **{source.inside: source.raw for source in folder}}
    environment = {name: value for source in folder for name, value in _seen_environment(source).items()}
    name = prefix if prefix == "/" else prefix.removesuffix("/")
    return Bundle(files, environment, name, first.root.as_posix() if first.root else "")


def _follows(last: Source, source: Source) -> bool:
    """Whether both were given as one folder, and stand in it in this order."""
    return last.taken is source.taken and last.inside.split("/") < source.inside.split("/")


def _seen_environment(source: Source) -> Mapping[str, str]:
    """Of the environment what the file's `vars` refer to."""
    if source.file is None:
        return source.environment if source.environment is not os.environ else {}
    names = environment_names(source.file.vars or {})
    return {name: source.environment[name] for name in sorted(names) if name in source.environment}


def _key(source: Source) -> object:
    """What tells a file given twice: where it really lies."""
    if source.folder is not None:
        return source.folder / Path(source.name).name
    return source.name if source.origin is None else id(source)


def _of_bundle(bundle: Bundle) -> Iterator[Source]:
    # Files read from a disk are called what they are called there.
    wrong = {} if bundle.root else {path: why for path in bundle.files if (why := _wrong_path(path))}
    for path, why in wrong.items():
        source = Source(bundle.place(path) or "fixtures", Problems(path), origin=bundle)
        source.problems.mistakes.append(Mistake(source.name, 0, 0, why))
        yield source
    paths = [path for path in bundle.files if path not in wrong]
    found = [p for p in paths if PurePosixPath(p).suffix in SUFFIXES and not _hidden(p)]
    for path in sorted(found, key=lambda path: path.split("/")):
        yield _bundled(bundle, path)
    if paths and not found:
        told = ", ".join(sorted(paths)[:_MOST_TOLD]) + (", ..." if len(paths) > _MOST_TOLD else "")
        source = Source(bundle.name or "fixtures", Problems(bundle.name), origin=bundle)
        source.problems.mistakes.append(Mistake(source.name, 0, 0, f"no *.yaml file among {told}"))
        yield source


def _wrong_path(path: str) -> str | None:
    """Why a bundle can't hold a file of this path."""
    if not path:
        return "a file has no name; give each its path below the folder, such as chat.yaml"
    if "\\" in path:
        return f"write the path with forward slashes: {path.replace(chr(92), '/')}"
    steps = path.split("/")
    if path.startswith("/") or ".." in steps or path[1:3] == ":/":
        return "it is outside the fixtures' folder; give its path below that, such as chat.yaml"
    if "" in steps or "." in steps:
        return f"not a plain path; write {posixpath.normpath(path)}"
    return None


def _hidden(path: str) -> bool:
    return any(step.startswith(".") for step in path.split("/"))


def _bundled(bundle: Bundle, path: str) -> Source:
    name, raw = bundle.place(path), bundle.files[path]
    problems = Problems(name)
    source = Source(name, problems, environment=bundle.environment, inside=path, origin=bundle)
    text = _text_of(raw, name, problems.mistakes)
    node = None if text is None else parse(text, name, problems.mistakes, problems.warnings)
    if node is not None:
        _decode(node, source)
    return source


def _text_of(raw: bytes, name: str, mistakes: list[Mistake]) -> str | None:
    if len(raw) > MAX_BYTES:
        mistakes.append(Mistake(name, 0, 0, f"larger than {MAX_BYTES // 1_000_000} MB: split it into several files"))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        mistakes.append(Mistake(name, line, 1, "is not UTF-8: save the file as UTF-8"))
        return None


def _of_path(path: Path) -> list[Source]:
    try:
        there, is_folder = path.exists(), path.is_dir()
    except OSError as failed:
        return [_unreadable(path, f"can't be read: {failed.strerror}")]
    if is_folder:
        files = (Path(file) for file, unlisted in walked(str(path)) if unlisted is None)
        found = sorted(file for file in files if file.suffix in SUFFIXES)
        taken: dict[str, bytes] = {}
        return [_read(file, path, taken) if _can_end(file) else _unreadable(file, "is not a file") for file in found]
    if not there:
        return [_unreadable(path, "no such file or folder")]
    return [_read(path, path.parent, {})]


def _can_end(path: Path) -> bool:
    """Whether reading it comes to an end, which of a pipe or a device nobody knows."""
    return path.is_file() or not path.exists()


def _unreadable(path: Path, why: str) -> Source:
    problems = Problems(str(path))
    problems.mistakes.append(Mistake(str(path), 0, 0, why))
    return Source(str(path), problems)


def walked(root: str) -> Iterator[tuple[str, int | None]]:
    """Every visible file below `root`, with None, and every folder, with the number of the error for which its files
    can't be listed (0: they can).

    Hidden files and folders are left out: editors' backups, and the copies that a mounted ConfigMap keeps of itself.
    Its folders are links to those, so linked folders are followed unless they lead out of `root`, or in a circle.
    """
    inside = os.path.realpath(root)
    left, entered = [root], {inside}
    while left:
        folder = left.pop()
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError as error:
            yield folder, error.errno or 0
            continue
        yield folder, 0
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:
                is_folder = False
            if not is_folder:
                yield entry.path, None
                continue
            real = os.path.realpath(entry.path)
            if real not in entered and Path(real).is_relative_to(inside):
                entered.add(real)
                left.append(entry.path)


def _read(path: Path, root: Path, taken: dict[str, bytes]) -> Source:
    problems = Problems(str(path))
    try:
        source = Source(str(path), problems, None, root.resolve(), path.parent.resolve(), taken=taken)
        source.inside = path.relative_to(root).as_posix()
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
    source.raw = text.encode()
    node = parse(text, str(path), problems.mistakes, problems.warnings)
    if node is None:
        return source
    _decode(node, source)
    return source


def _inline(given: Inline, environment: Mapping[str, str]) -> Source:
    problems = Problems(given.name)
    source = Source(given.name, problems, environment=environment)
    try:
        node = nodes_of(dict(given.content))
    except (TypeError, ValueError) as failed:
        problems.mistakes.append(Mistake(given.name, 0, 0, str(failed)))
        return source
    source.origin = Inline(_plain(given.content), given.name)
    _decode(node, source)
    return source


def _plain(value: Any) -> Any:
    """A copy, since the caller may change his mapping later; in JSON's types, and read as the same fixtures."""
    if isinstance(value, Mapping):
        return {_key_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, datetime.timedelta):
        return f"{value // datetime.timedelta(microseconds=1)}us"
    return value


def _key_text(key: Any) -> str:
    """A key as the node that `nodes_of` makes of it says."""
    text: str = key if isinstance(key, str) else nodes_of(key).value
    return text


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
    for key, value in _by_text(node):
        if key == "rules" and isinstance(value, yaml.SequenceNode):
            rules = [decode(rule, Rule, silent) for rule in value.value]
            source.broken = frozenset(i for i, rule in enumerate(rules) if rule is INVALID)
            pairs = zip(rules, value.value, strict=True)
            parts["rules"] = [_sound_parts(of, silent) if rule is INVALID else rule for rule, of in pairs]
        elif key == "chaos" and isinstance(value, yaml.SequenceNode):
            faults = [decode(fault, GlobalFault, silent) for fault in value.value]
            parts["chaos"] = [_NO_FAULT if fault is INVALID else fault for fault in faults]
        elif key in types and (part := decode(value, types[key], silent)) is not INVALID:
            parts[key] = part
    source.file = File(**parts)


def _sound_parts(node: yaml.Node, silent: Problems) -> Rule:
    """What of a broken rule can be decoded: its reply, say, where its conditions are misspelt."""
    if not isinstance(node, yaml.MappingNode):
        return Rule()
    fields = {f.encode_name: f for f in msgspec.structs.fields(Rule)}
    parts = {
        fields[key].name: part
        for key, value in _by_text(node)
        if key in fields and (part := decode(value, fields[key].type, silent)) is not INVALID
    }
    return Rule(**parts)


def _by_text(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    """The entries of a mapping but those under a list or another mapping, as `{{a}}` has them."""
    return ((key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
