"""Nodes to values, driven by types: whatever is wrong anywhere in the tree is collected, each with its place.

A scalar is read by the YAML 1.2 core schema and then by the type of its field: in a text field `no`, `12:30` and `+20`
are texts. Types are what msgspec knows (Structs, list, tuple, dict, Literal, Enum, unions told apart by the kind of
node) and classes with the hooks of `FromScalar`. A type is compiled once, on first use.
"""

from __future__ import annotations

import enum
import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import yaml
from msgspec import inspect

from emulator.errors import Mistake
from emulator.rules.document import BROKEN, MAX_DIGITS, PLAIN, collector_paused, mixed_word

Path: TypeAlias = tuple["str | int", ...]
Decoder: TypeAlias = "Callable[[yaml.Node, Problems, Path], Any]"

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_ALMOST_BOOL = frozenset(("yes", "no", "on", "off", "y", "n", "да", "нет"))
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_FEW = 8
_LONGEST_TEXT = 1000


class _Invalid(enum.Enum):
    INVALID = "INVALID"

    def __repr__(self) -> str:
        return self.value


INVALID = _Invalid.INVALID
"""What `decode` returns when something below was mistaken; the mistakes are in `Problems`."""


class FromScalar(Protocol):
    """A class of our own as a field's type.

    It may also have `mapping_type() -> type[Struct]` and `from_mapping(value)`: a mapping is then decoded as that type
    first. All of them say what is wrong by raising ValueError.
    """

    @classmethod
    def from_scalar(cls, text: str) -> Any: ...


class Problems:
    """The mistakes and warnings of one file, told by the path of what they are about, e.g. `("rules", 3, "reply")`."""

    def __init__(self, file: str, mistakes: list[Mistake] | None = None, warnings: list[Mistake] | None = None) -> None:
        self.file = file
        self.mistakes = [] if mistakes is None else mistakes
        self.warnings = [] if warnings is None else warnings
        self._roots: dict[Path, yaml.Node] = {}

    def place(self, path: Path, node: yaml.Node) -> None:
        """Let `node` be what stands at `path`; `decode` does so for the node it is given."""
        root = self._roots.get(())
        if root is None or _descend(root, path)[1] is not node:
            self._roots[path] = node

    def mark(self, path: Path) -> tuple[int, int]:
        """The 1-based line and column of the longest known beginning of `path`; (0, 0) if nothing of it is known.

        A mapping's entry stands where its key does.
        """
        # Looked up when asked, not recorded for every node: most files have nothing wrong.
        for length in range(len(path), -1, -1):
            if (root := self._roots.get(path[:length])) is not None:
                mark, _ = _descend(root, path[length:])
                return mark.line + 1, mark.column + 1
        return 0, 0

    def at(self, path: Path, text: str) -> None:
        """Record a mistake at `path`."""
        self.mistakes.append(self._told(path, text))

    def warn(self, path: Path, text: str) -> None:
        """Record a warning at `path`."""
        self.warnings.append(self._told(path, text))

    def _told(self, path: Path, text: str) -> Mistake:
        line, column = self.mark(path)
        where = dotted(path, line > 0)
        text = text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
        return Mistake(self.file, line, column, f"{where}: {text}" if where else text)


def decode(node: yaml.Node, type_: Any, problems: Problems, path: Path = ()) -> Any:
    """The value of type `type_` that `node` stands for, or INVALID once `problems` has been told why not.

    `path` is where the node stands in its file. Raises TypeError for a type that no fixture field can have.
    """
    decoder = _decoder(type_)
    problems.place(path, node)
    with collector_paused():
        return decoder(node, problems, path)


def dotted(path: Path, with_line: bool = True) -> str:
    """`("rules", 3, "reply", "stream")` as `reply.stream` where a line number says which rule, else in full."""
    if with_line and len(path) > 1 and path[0] == "rules" and isinstance(path[1], int):
        path = path[2:]
    steps = (f"[{step}]" if isinstance(step, int) else f".{_short(step)}" for step in path)
    return "".join(steps).removeprefix(".")


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `word` was probably meant to be, or None."""
    import difflib

    plain = {choice.lower().replace("_", "-"): choice for choice in choices}
    found = difflib.get_close_matches(word[:100].lower().replace("_", "-"), plain, n=1)
    return plain[found[0]] if found else None


def _descend(node: yaml.Node, path: Path) -> tuple[yaml.Mark, yaml.Node]:
    """Where the longest known beginning of `path` stands below `node`, and what stands there."""
    mark = node.start_mark
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
            node = node.value[step]
            mark = node.start_mark
            continue
        if not isinstance(node, yaml.MappingNode):
            break
        name = str(step)
        entry = next((entry for entry in node.value if entry[0].value == name), None)
        if entry is None:
            break
        mark, node = entry[0].start_mark, entry[1]
    return mark, node


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _listed(names: Sequence[str], last: str) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def _found(node: yaml.Node) -> str:
    """A node as a complaint names it."""
    if isinstance(node, yaml.MappingNode):
        if node.flow_style and len(node.value) == 1 and isinstance(node.value[0][1], yaml.ScalarNode):
            return "found a mapping (if a colon split a text, quote the text)"
        return "found a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "found a list"
    if node.tag is not PLAIN:
        return f'found the text "{_short(node.value)}"'
    return "found nothing" if node.value in _NULL else f"found `{_short(node.value)}`"


def _scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema; ValueError for a number of absurd length."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits; quote it if it is a text")
    if text.startswith(("0x", "0o")):
        return int(text, 0)
    return int(text)


@functools.cache
def _decoder(type_: Any) -> Decoder:
    return _compile(inspect.type_info(type_), {})


def _compile(info: Any, structs: dict[type, Decoder]) -> Decoder:
    """The decoder of one msgspec type; `structs` are those under way, which recursive types come back to."""
    if isinstance(info, inspect.Metadata):
        return _compile(info.type, structs)
    if isinstance(info, inspect.StructType):
        return _struct_decoder(info, structs)
    if isinstance(info, inspect.UnionType):
        return _union_decoder(info, structs)
    if isinstance(info, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)):
        return _sequence_decoder(info, structs)
    if isinstance(info, inspect.TupleType):
        return _tuple_decoder(info, structs)
    if isinstance(info, inspect.DictType):
        return _dict_decoder(info, structs)
    if isinstance(info, inspect.CustomType):
        return _custom_decoder(info.cls)
    if isinstance(info, inspect.EnumType):
        return _enum_decoder(info.cls)
    if isinstance(info, inspect.LiteralType):
        words = {str(value): value for value in info.values if value is not None}
        choice = _choice_decoder(words, list(words))
        return _optional(choice) if None in info.values else choice
    if isinstance(info, inspect.StrType):
        return _text_decoder(info)
    if isinstance(info, (inspect.IntType, inspect.FloatType)):
        return _number_decoder(info)
    simple = {inspect.BoolType: _boolean, inspect.AnyType: _anything, inspect.NoneType: _nothing}
    if type(info) in simple:
        return simple[type(info)]
    raise TypeError(f"{type(info).__name__} can't be the type of a fixture field")


def _refuse(node: yaml.Node, problems: Problems, path: Path, needed: str) -> Any:
    if node.tag is not BROKEN:
        problems.at(path, f"needs {needed}; {_found(node)}")
    return INVALID


def _boolean(node: yaml.Node, problems: Problems, path: Path) -> Any:
    if node.tag is PLAIN:
        if node.value in _TRUE:
            return True
        if node.value in _FALSE:
            return False
    elif isinstance(node, yaml.ScalarNode) and node.value in _TRUE | _FALSE:
        return _refuse(node, problems, path, "true or false, without quotes")
    if isinstance(node, yaml.ScalarNode) and node.tag is not BROKEN and node.value.lower() in _ALMOST_BOOL:
        problems.at(path, f"write true or false instead of `{node.value}`")
        return INVALID
    return _refuse(node, problems, path, "true or false")


def _nothing(node: yaml.Node, problems: Problems, path: Path) -> Any:
    if node.tag is PLAIN and node.value in _NULL:
        return None
    return _refuse(node, problems, path, "to be left empty")


def _anything(node: yaml.Node, problems: Problems, path: Path) -> Any:
    if isinstance(node, yaml.ScalarNode):
        if node.tag is not PLAIN:
            return INVALID if node.tag is BROKEN else node.value
        try:
            return _scalar(node.value)
        except ValueError as error:
            problems.at(path, str(error))
            return INVALID
    if node.tag is BROKEN:
        return INVALID
    if isinstance(node, yaml.SequenceNode):
        items = [_anything(item, problems, (*path, index)) for index, item in enumerate(node.value)]
        return INVALID if INVALID in items else items
    entries = {key.value: _anything(value, problems, (*path, key.value)) for key, value in node.value}
    return INVALID if INVALID in entries.values() else entries


def _text_decoder(info: inspect.StrType) -> Decoder:
    low, high, pattern = info.min_length or 0, info.max_length, info.pattern and re.compile(info.pattern)
    constrained = bool(low or high is not None or pattern)

    def text(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, "a text")
        value = node.value
        if node.tag is PLAIN and value in _NULL:
            hint = f"quote it if `{value}` is the text" if value else "'' is the empty text"
            problems.at(path, f"needs a text; found nothing ({hint})")
            return INVALID
        if not constrained:
            return value
        if len(value) < low:
            problems.at(path, "must not be empty" if low == 1 else f"needs at least {low} characters, has {len(value)}")
        elif high is not None and len(value) > high:
            problems.at(path, f"takes at most {high} characters, has {len(value)}")
        elif pattern and not pattern.search(value):
            problems.at(path, f"must match `{pattern.pattern}`; {_found(node)}")
        else:
            return value
        return INVALID

    return text


def _number_decoder(info: inspect.IntType | inspect.FloatType) -> Decoder:
    whole = isinstance(info, inspect.IntType)
    needed = "a whole number" if whole else "a number"
    bounds = _bounds(info)

    def number(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, needed)
        if node.tag is not PLAIN:
            quoted = bool(_INTEGER.fullmatch(node.value) or (not whole and _FLOAT.fullmatch(node.value)))
            return _refuse(node, problems, path, needed + ", without quotes" if quoted else needed)
        try:
            value = _number(node.value, whole)
        except ValueError as error:
            problems.at(path, str(error))
            return INVALID
        if value is None:
            return _refuse(node, problems, path, needed)
        for holds, told in bounds:
            if not holds(value):
                problems.at(path, f"must be {told}; {_found(node)}")
                return INVALID
        return value

    return number


def _number(text: str, whole: bool) -> int | float | None:
    if _INTEGER.fullmatch(text):
        value = _integer(text)
        return value if whole else float(value)
    if whole or not _FLOAT.fullmatch(text):
        return None
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def _bounds(info: inspect.IntType | inspect.FloatType) -> list[tuple[Callable[[float], bool], str]]:
    bounds: list[tuple[Callable[[float], bool], str]] = []
    if (ge := info.ge) is not None:
        bounds.append((lambda value: value >= ge, f"at least {ge}"))
    if (gt := info.gt) is not None:
        bounds.append((lambda value: value > gt, f"more than {gt}"))
    if (le := info.le) is not None:
        bounds.append((lambda value: value <= le, f"at most {le}"))
    if (lt := info.lt) is not None:
        bounds.append((lambda value: value < lt, f"less than {lt}"))
    if (step := info.multiple_of) is not None:
        bounds.append((lambda value: value % step == 0, f"a multiple of {step}"))
    return bounds


def _enum_decoder(cls: type[enum.Enum]) -> Decoder:
    """An enum of texts is written by its values, one of numbers by its names, as the API's JSON, or numbers."""
    members = cls.__members__
    if all(isinstance(member.value, str) for member in members.values()):
        words = {member.value: member for member in members.values()}
        return _choice_decoder(words, list(words))
    return _choice_decoder({**members, **{str(member.value): member for member in members.values()}}, list(members))


def _choice_decoder(choices: dict[str, Any], names: Sequence[str]) -> Decoder:
    """Any of `choices` is taken; `names` are those that are told."""

    def choice(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, _choices_told(names))
        if node.value in choices:
            return choices[node.value]
        meant = nearest(node.value, names) if node.value else None
        hint = f"; did you mean {meant}?" if meant else ""
        problems.at(path, f"needs {_choices_told(names)}; {_found(node)}{hint}")
        return INVALID

    return choice


def _choices_told(names: Sequence[str]) -> str:
    if len(names) <= _FEW:
        return _listed(names, "or")
    return f"one of {len(names)} words such as {_listed(names[:3], 'or')}"


def _custom_decoder(cls: Any) -> Decoder:
    if not hasattr(cls, "from_scalar"):
        raise TypeError(f"{cls.__name__} needs from_scalar() to be the type of a fixture field")
    as_mapping = cls.mapping_type if hasattr(cls, "from_mapping") else None

    def custom(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if node.tag is BROKEN:
            return INVALID
        try:
            if isinstance(node, yaml.ScalarNode):
                return cls.from_scalar(node.value)
            if as_mapping and isinstance(node, yaml.MappingNode):
                inner = _decoder(as_mapping())(node, problems, path)
                return INVALID if inner is INVALID else cls.from_mapping(inner)
        except ValueError as error:
            problems.at(path, str(error))
            return INVALID
        return _refuse(node, problems, path, f"a {cls.__name__.lower()}")

    return custom


def _sequence_decoder(info: Any, structs: dict[type, Decoder]) -> Decoder:
    item_decoder = _compile(info.item_type, structs)
    low, high = info.min_length or 0, info.max_length
    kinds: dict[type, Callable[[list[Any]], Any]] = {
        inspect.VarTupleType: tuple,
        inspect.SetType: set,
        inspect.FrozenSetType: frozenset,
    }
    build = kinds.get(type(info))

    def sequence(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.SequenceNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, "a list")
        items = [item_decoder(item, problems, (*path, index)) for index, item in enumerate(node.value)]
        if len(items) < low or (high is not None and len(items) > high):
            bound = f"at least {low}" if len(items) < low else f"at most {high}"
            problems.at(path, f"takes {bound} item{'s' if bound[-2:] != ' 1' else ''}, has {len(items)}")
            return INVALID
        if any(item is INVALID for item in items):
            return INVALID
        return build(items) if build else items

    return sequence


def _tuple_decoder(info: inspect.TupleType, structs: dict[type, Decoder]) -> Decoder:
    decoders = [_compile(item, structs) for item in info.item_types]

    def fixed(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.SequenceNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, f"a list of {len(decoders)}")
        if len(node.value) != len(decoders):
            problems.at(path, f"takes exactly {len(decoders)} items, has {len(node.value)}")
            return INVALID
        pairs = enumerate(zip(decoders, node.value, strict=True))
        items = [decoder(item, problems, (*path, index)) for index, (decoder, item) in pairs]
        return INVALID if any(item is INVALID for item in items) else tuple(items)

    return fixed


def _dict_decoder(info: inspect.DictType, structs: dict[type, Decoder]) -> Decoder:
    value_decoder = _compile(info.value_type, structs)
    texts = type(info.key_type) in (inspect.StrType, inspect.AnyType) and info.key_type in (
        inspect.StrType(),
        inspect.AnyType(),
    )
    key_decoder = None if texts else _compile(info.key_type, structs)
    low, high = info.min_length or 0, info.max_length

    def mapping(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.MappingNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, "a mapping")
        entries: dict[Any, Any] = {}
        sound = True
        for key_node, value_node in node.value:
            here = (*path, key_node.value)
            key = key_decoder(key_node, problems, here) if key_decoder else key_node.value
            value = value_decoder(value_node, problems, here)
            if key is INVALID or value is INVALID:
                sound = False
            elif key in entries:
                problems.at(here, "the same key as one before, written differently")
                sound = False
            else:
                entries[key] = value
        if not sound:
            return INVALID
        if len(entries) < low or (high is not None and len(entries) > high):
            bound = f"at least {low}" if len(entries) < low else f"at most {high}"
            problems.at(path, f"takes {bound} entr{'ies' if bound[-2:] != ' 1' else 'y'}, has {len(entries)}")
            return INVALID
        return entries

    return mapping


def _struct_decoder(info: inspect.StructType, structs: dict[type, Decoder]) -> Decoder:
    """A Struct may say more than msgspec knows of it: `EXAMPLE`, how it is written; `BELONGS`, where fields belong that
    are often put here; `MAY_BE_EMPTY`, the only optional fields that may stand there with nothing after them.
    """
    cls = info.cls
    if cls in structs:
        return structs[cls]
    fields: dict[str, tuple[str, Decoder]] = {}
    example = getattr(cls, "EXAMPLE", "")
    belongs: dict[str, str] = getattr(cls, "BELONGS", {})
    must_say = _must_say(info)
    required = [field.encode_name for field in info.fields if field.required]

    def struct(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.MappingNode) or node.tag is BROKEN:
            needed = f"a mapping with {_fields_told(list(fields))}"
            return _refuse(node, problems, path, f"{needed}, e.g. {example}" if example else needed)
        values: dict[str, Any] = {}
        sound = True
        for key_node, value_node in node.value:
            name = key_node.value
            field = fields.get(name)
            if field is None:
                where = f"it belongs under `{belongs[name]}`" if name in belongs else ""
                text = f"no such field here; {where}" if where else _no_such_field(name, list(fields), node.flow_style)
                problems.at((*path, name), text)
                sound = False
                continue
            value = field[1](value_node, problems, (*path, name))
            if value is None and name in must_say and value_node.tag is PLAIN:
                problems.at((*path, name), "says nothing; give it a value, or leave the line out")
                sound = False
            if value is INVALID:
                sound = False
            values[field[0]] = value
        if required:
            present = {key_node.value for key_node, _ in node.value}
            if missing := [name for name in required if name not in present]:
                problems.at(path, f"needs the field{'s' if len(missing) > 1 else ''} {_listed(missing, 'and')}")
                sound = False
        if not sound:
            return INVALID
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            problems.at(path, str(error))
            return INVALID

    structs[cls] = struct
    for field in info.fields:
        fields[field.encode_name] = field.name, _compile(field.type, structs)
    return struct


def _must_say(info: inspect.StructType) -> frozenset[str]:
    """The optional fields of a Struct that may be left out but not left empty."""
    may_be_empty = getattr(info.cls, "MAY_BE_EMPTY", None)
    if may_be_empty is None:
        return frozenset()
    optional = (
        field.encode_name
        for field in info.fields
        if isinstance(field.type, inspect.UnionType)
        and any(isinstance(member, inspect.NoneType) for member in field.type.types)
    )
    return frozenset(optional) - frozenset(may_be_empty)


def _fields_told(names: Sequence[str]) -> str:
    if not names:
        return "no fields"
    few = f"{', '.join(f'`{name}`' for name in names[:_FEW])}, ..." if len(names) > _FEW else _listed(names, "and")
    return f"the fields {few}" if len(names) > 1 else f"the field {few}"


def _no_such_field(name: str, names: Sequence[str], flow: bool | None) -> str:
    if meant := nearest(name, names):
        return f"no such field; did you mean {meant}?"
    if word := mixed_word(name):
        return f"no such field; `{_short(word)}` mixes Latin and Cyrillic letters that look alike"
    hint = "; if a comma or colon split a text, quote the text" if flow and not name.isascii() else ""
    return (
        f"no such field; there {'are' if len(names) > 1 else 'is'} {_listed(names, 'and') if names else 'none'}{hint}"
    )


def _union_decoder(info: inspect.UnionType, structs: dict[type, Decoder]) -> Decoder:
    """The member is chosen by the kind of node; among scalar members, by what the scalar is."""
    members = [member.type if isinstance(member, inspect.Metadata) else member for member in info.types]
    if any(isinstance(member, inspect.AnyType) for member in members):
        return _anything
    decoders = {type(member): _compile(member, structs) for member in members}
    may_be_null = decoders.pop(inspect.NoneType, None) is not None
    if len(decoders) == 1:
        return _optional(next(iter(decoders.values()))) if may_be_null else next(iter(decoders.values()))

    in_list = _first(decoders, inspect.ListType, inspect.VarTupleType, inspect.TupleType, inspect.SetType)
    in_mapping = _first(decoders, inspect.StructType, inspect.DictType)
    by_choice = _first(decoders, inspect.LiteralType, inspect.EnumType)
    by_text = decoders.get(inspect.StrType)
    by_bool, by_int, by_float = (decoders.get(kind) for kind in (inspect.BoolType, inspect.IntType, inspect.FloatType))
    needed = " or ".join(dict.fromkeys(_NAMES.get(kind, "a text") for kind in decoders))
    only_scalar = by_choice or by_text or by_bool or by_int or by_float
    scalar_kinds = sum(decoder is not None for decoder in (by_choice, by_text, by_bool, by_int, by_float))

    def scalar(node: yaml.Node, problems: Problems, path: Path) -> Any:
        text = node.value
        if node.tag is PLAIN:
            if text in _NULL:
                return None if may_be_null else _refuse(node, problems, path, needed)
            if by_bool and (text in _TRUE or text in _FALSE):
                return text in _TRUE
            is_integer = _INTEGER.fullmatch(text)
            if by_int and is_integer:
                return by_int(node, problems, path)
            if by_float and (is_integer or _FLOAT.fullmatch(text)):
                return by_float(node, problems, path)
        if scalar_kinds == 1 and only_scalar:
            return only_scalar(node, problems, path)
        last = by_text or by_choice
        return last(node, problems, path) if last else _refuse(node, problems, path, needed)

    def union(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if node.tag is BROKEN:
            return INVALID
        if isinstance(node, yaml.ScalarNode):
            return scalar(node, problems, path)
        chosen = in_list if isinstance(node, yaml.SequenceNode) else in_mapping
        return chosen(node, problems, path) if chosen else _refuse(node, problems, path, needed)

    return union


_NAMES: dict[type, str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "a text",
    inspect.LiteralType: "a word",
    inspect.EnumType: "a word",
    inspect.ListType: "a list",
    inspect.VarTupleType: "a list",
    inspect.TupleType: "a list",
    inspect.SetType: "a list",
    inspect.FrozenSetType: "a list",
    inspect.StructType: "a mapping",
    inspect.DictType: "a mapping",
}


def _first(decoders: dict[Any, Decoder], *kinds: type) -> Decoder | None:
    return next((decoders[kind] for kind in kinds if kind in decoders), None)


def _optional(decoder: Decoder) -> Decoder:
    def optional(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if node.tag is PLAIN and node.value in _NULL:
            return None
        return decoder(node, problems, path)

    return optional
