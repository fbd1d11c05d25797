"""YAML text to a graph of nodes that know where they stand.

The graph is PyYAML's own (`yaml.ScalarNode`, `SequenceNode`, `MappingNode`) with two changes: a plain scalar carries
the tag `PLAIN`, because what it means is decided later by the type of the field it lands in, and a node whose mistake
has been told already carries `BROKEN`, so that it is not complained about twice. Duplicate keys, merge keys, keys that
are no scalars, unknown tags and alias bombs do not survive.

Nothing here raises for what a fixture's author wrote: every mistake is collected, with what was probably meant.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from yaml.reader import Reader

from emulator.errors import Mistake
from emulator.rules.alphabets import meet, mixed_word, spelled
from emulator.rules.complaints import reworded
from emulator.rules.problems import mistake_at, short

PLAIN = "plain"
TEXT = "tag:yaml.org,2002:str"
SEQUENCE = "tag:yaml.org,2002:seq"
MAPPING = "tag:yaml.org,2002:map"
BROKEN = "broken"

MAX_BYTES = 10_000_000
MAX_DEPTH = 100
MAX_ALIASED = 100_000  # nodes that aliases may add to those written down

SURROGATE = re.compile(r"[\ud800-\udfff]")

_CORE_TAGS = {f"tag:yaml.org,2002:{name}": PLAIN for name in ("int", "float", "bool", "null")}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_BEYOND = re.compile(r"[\ud800-\udfff\ufffe\uffff]")
"""Together what YAML refuses, `Reader.NON_PRINTABLE`, which takes 3 ms to compile; in two it takes next to nothing."""

_GLUED_COMMENT = re.compile(r" #(?=[^\s#])")


def read(path: str | os.PathLike[str], mistakes: list[Mistake]) -> str | None:
    """The text of a UTF-8 file, without its byte order mark; None, and a mistake, if there is no such text."""
    file = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        mistakes.append(Mistake(file, 0, 0, f"can't be read: {reason}"))
        return None
    if len(raw) > MAX_BYTES:
        mistakes.append(Mistake(file, 0, 0, _too_large()))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The BOM is not part of what error.start counts from, nor does it hold a line break.
        line = raw.count(b"\n", 0, error.start) + 1
        encoding = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "Windows-1251"
        mistakes.append(Mistake(file, line, 1, f"is not UTF-8 (it may be {encoding}): save the file as UTF-8"))
        return None


def parse(text: str, file: str, mistakes: list[Mistake], warnings: list[Mistake]) -> yaml.Node | None:
    """The root node of the one document in `text`; None if it is empty or can't be read as YAML at all.

    `mistakes` grows by what makes the file invalid, `warnings` by what is valid and hardly meant: a ` #` that ended a
    text, letters of two alphabets in a word. A node is returned as well when only parts are mistaken, so that the rest
    can be checked in the same go.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        mistakes.append(Mistake(file, 0, 0, _too_large()))
        return None
    if forbidden := _forbidden_characters(text, file):
        mistakes += forbidden
        return None
    try:
        with collector_paused():
            root: yaml.Node | None = _Loader(text).get_single_node()
            if root is not None:
                _Check(text, file, mistakes, warnings).document(root)
    except _RefusedError as refused:
        mistakes.append(mistake_at(file, refused.mark, refused.text))
        return None
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in (error.problem or ""):  # newer scanners have a bound of their own, and come to it first
            mistakes.append(mistake_at(file, error.problem_mark, f"nested deeper than {MAX_DEPTH} levels"))
        else:
            mistakes.append(reworded(error, file, text.splitlines()))
        return None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        mistakes.append(Mistake(file, 0, 0, f"can't be read as YAML: {error}"))
        return None
    if isinstance(root, yaml.ScalarNode) and root.tag == PLAIN and not root.value:
        return None
    return root


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Hold the cyclic garbage collector back while a large graph grows, which it would walk again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _RefusedError(Exception):
    """The whole document is refused."""

    def __init__(self, mark: yaml.Mark | None, text: str) -> None:
        super().__init__(text)
        self.mark = mark
        self.text = text


class _Tagging:
    """What we change in PyYAML's loaders: no YAML 1.1 resolution, and a bound on nesting while composing.

    The bound can't wait until the graph is there: the C composer recurses and overflows the stack.
    """

    _depth = 0

    def resolve(self, kind: type[yaml.Node], value: object, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return PLAIN if implicit[0] else TEXT
        return MAPPING if kind is yaml.MappingNode else SEQUENCE

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError(parent.start_mark if parent else None, f"nested deeper than {MAX_DEPTH} levels")

    def ascend_resolver(self) -> None:
        self._depth -= 1


def _tagging(loader: type) -> Callable[[str], Any]:
    return type("Loader", (_Tagging, loader), {})


_Loader = _tagging(getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class _Check:
    """One pass over the composed graph: refuses, mends and warns."""

    def __init__(self, text: str, file: str, mistakes: list[Mistake], warnings: list[Mistake]) -> None:
        self._text = text
        self._file = file
        self._mistakes = mistakes
        self._warnings = warnings
        self._known: dict[int, tuple[int, int] | None] = {}  # container -> nodes and levels in it; None while open
        self._aliased = 0
        # Where a ` #` glued to what follows begins: an honest comment is set off by more space.
        self._comments = {match.start() for match in _GLUED_COMMENT.finditer(text)}
        self._two_scripts = meet(text)
        self._escapes = "\\u" in text or "\\U" in text
        self._plain_is_fine = not (self._comments or self._two_scripts)

    def document(self, root: yaml.Node) -> None:
        if isinstance(root, yaml.ScalarNode):
            self._scalar(root)
            return
        self._container(root, 1)

    def _container(self, node: yaml.Node, depth: int) -> tuple[int, int]:
        """How many nodes `node` stands for with its aliases expanded, and how many levels."""
        if id(node) in self._known:
            return self._alias(node, depth)
        expected = MAPPING if isinstance(node, yaml.MappingNode) else SEQUENCE
        if node.tag != expected:
            self._unknown_tag(node)
            return 1, 1
        self._known[id(node)] = None
        children = self._entries(node) if isinstance(node, yaml.MappingNode) else node.value
        size = levels = 1
        for child in children:
            if isinstance(child, yaml.ScalarNode):
                size += 1
                tag = child.tag
                if (tag is PLAIN and self._plain_is_fine) or tag is BROKEN:
                    continue
                self._scalar(child)
                continue
            more, below = self._container(child, depth + 1)
            size += more
            levels = max(levels, below + 1)
        self._known[id(node)] = size, levels
        return size, levels

    def _alias(self, node: yaml.Node, depth: int) -> tuple[int, int]:
        known = self._known[id(node)]
        if known is None:
            raise _RefusedError(node.start_mark, "an alias inside the very node it stands for: it would never end")
        size, levels = known
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise _RefusedError(
                node.start_mark, f"a YAML bomb: aliases multiply this beyond {MAX_ALIASED} nodes; use `snippets`"
            )
        if depth + levels > MAX_DEPTH + 1:
            raise _RefusedError(node.start_mark, f"nested deeper than {MAX_DEPTH} levels by way of an alias")
        return known

    def _entries(self, node: yaml.MappingNode) -> list[yaml.Node]:
        """The values of a mapping, which keeps its sound entries only."""
        first: dict[str, yaml.Node] = {}
        sound: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                if node.flow_style and isinstance(key, yaml.MappingNode) and key.flow_style:
                    self._mistake(node, 'YAML reads `{{` as a mapping: quote the template, "{{ ... }}"')
                    node.tag = BROKEN
                    return []
                self._mistake(key, "a list or mapping can't be a key: if it is a text, quote it")
                continue
            name = key.value
            if key.tag is not PLAIN and key.tag != TEXT:
                self._scalar(key)
                if key.tag is BROKEN:
                    continue
            elif key.tag is PLAIN and name == "<<":
                self._mistake(key, "merge keys are not supported: use `snippets` and `use`")
                continue
            elif key.tag is PLAIN and not name:
                self._mistake(key, "the key before the colon is missing")
                continue
            if node.flow_style and self._stands_alone(key, value):
                self._mistake(key, _split_text(name, sound))
                continue
            if name in first:
                line = first[name].start_mark.line + 1
                self._mistake(key, f"duplicate key `{short(name)}`: it is already in line {line}")
                continue
            first[name] = key
            sound.append((key, value))
        if len(sound) != len(node.value):
            node.value = sound
        return [value for _, value in sound]

    def _stands_alone(self, key: yaml.Node, value: yaml.Node) -> bool:
        if value.value or value.tag is not PLAIN:
            return False
        return ":" not in self._text[key.end_mark.index : value.start_mark.index]

    def _scalar(self, node: yaml.ScalarNode) -> None:
        if node.tag in _CORE_TAGS:
            node.tag = PLAIN
        elif node.tag is not PLAIN and node.tag != TEXT:
            self._unknown_tag(node)
            return
        if self._escapes and SURROGATE.search(node.value):
            self._mistake(node, "a text holds half of a surrogate pair, which UTF-8 can't carry")
            node.tag = BROKEN
            return
        if node.tag is PLAIN and node.end_mark.index in self._comments and not _NUMBER.fullmatch(node.value):
            end = node.end_mark.index
            comment = short(self._text[end : end + 40].splitlines()[0].strip(), 20)
            self._warn(node, f"`{comment}` reads as a comment; if it is part of the text, quote the text")
        if self._two_scripts and (word := mixed_word(node.value)):
            self._warn(node, f"`{short(word)}` mixes Latin and Cyrillic letters that look alike ({spelled(word)})")

    def _unknown_tag(self, node: yaml.Node) -> None:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        self._mistake(node, f"unknown tag `{short(tag)}`: if it begins a text, quote the text")
        node.tag = BROKEN

    def _mistake(self, node: yaml.Node, text: str) -> None:
        self._mistakes.append(mistake_at(self._file, node.start_mark, text))

    def _warn(self, node: yaml.Node, text: str) -> None:
        self._warnings.append(mistake_at(self._file, node.start_mark, text))


_NUMBER = re.compile(r"[-+]?[\d.:_]+\w{0,2}|true|false|null")


def _too_large() -> str:
    return f"larger than {MAX_BYTES // 1_000_000} MB: split it into several files"


def _split_text(name: str, before: list[tuple[yaml.Node, yaml.Node]]) -> str:
    told = f"`{short(name)}` stands alone, without a value"
    if before and isinstance(before[-1][1], yaml.ScalarNode) and before[-1][1].tag is PLAIN:
        whole = short(f"{before[-1][1].value}, {name}")
        return f'{told}; if a comma split a text, quote it: "{whole}", or use block style'
    return f"{told}; if a comma split a text, quote the text or use block style"


def _forbidden_characters(text: str, file: str) -> list[Mistake]:
    found: list[Mistake] = []
    if _CONTROL.search(text) is None and _BEYOND.search(text) is None:
        return found
    for match in Reader.NON_PRINTABLE.finditer(text):
        start = match.start()
        line = text.count("\n", 0, start) + 1
        column = start - text.rfind("\n", 0, start)
        code = ord(match[0])
        kind = "half of a surrogate pair" if 0xD800 <= code < 0xE000 else "a control character"
        remedy = f'write it in double quotes as "\\x{code:02x}"' if code < 0x100 else "remove it"
        found.append(Mistake(file, line, column, f"{kind}, U+{code:04X}: {remedy}"))
        if len(found) == 20:
            break
    return found
