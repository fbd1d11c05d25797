"""Nodes to values, driven by types: whatever is wrong anywhere in the tree is collected, each with its place.

A scalar is read by the YAML 1.2 core schema and then by the type of its field: in a text field `no`, `12:30` and `+20`
are texts. Types are what msgspec knows (Structs, list, tuple, dict, Literal, Enum, unions told apart by the kind of
node) and classes with the hooks of `FromScalar`. A type is compiled once, on first use, and a Struct field by field:
most files say little of what can be said, and to compile the whole language takes longer than to start the rest.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Protocol, TypeAlias, Union, get_args, get_origin

import yaml
from msgspec import Struct, defstruct, inspect, structs

from emulator.rules.alphabets import mixed_word
from emulator.rules.document import BROKEN, PLAIN, TEXT, collector_paused
from emulator.rules.problems import Path, Problems, short
from emulator.rules.scalars import ALMOST_BOOL, FALSE, FLOAT, INTEGER, NULL, TRUE, number_of, scalar_of

Decoder: TypeAlias = "Callable[[yaml.Node, Problems, Path], Any]"

_FEW = 8


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


def decode(node: yaml.Node, type_: Any, problems: Problems, path: Path = ()) -> Any:
    """The value of type `type_` that `node` stands for, or INVALID once `problems` has been told why not.

    `path` is where the node stands in its file. Raises TypeError for a type that no fixture field can have.
    """
    decoder = _decoder(type_)
    problems.place(path, node)
    with collector_paused():
        return decoder(node, problems, path)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `word` was probably meant to be, or None."""
    import difflib

    plain = {choice.lower().replace("_", "-"): choice for choice in choices}
    found = difflib.get_close_matches(word[:100].lower().replace("_", "-"), plain, n=1)
    return plain[found[0]] if found else None


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
        return f'found the text "{short(node.value)}"'
    return "found nothing" if node.value in NULL else f"found `{short(node.value)}`"


@functools.cache
def _decoder(type_: Any) -> Decoder:
    return _compile(inspect.type_info(_outlined(type_)))


def _outlined(type_: Any) -> Any:
    """`type_` with a stand-in for each Struct, or msgspec would look at everything that is below it."""
    if isinstance(type_, type) and issubclass(type_, Struct):
        return _stand_in(type_)
    origin, args = get_origin(type_), get_args(type_)
    if not args or origin is Literal:
        return type_
    inner = tuple(map(_outlined, args))
    if origin is UnionType or origin is Union:
        return Union[inner]  # noqa: UP007
    return Annotated[inner] if origin is Annotated else origin[inner]


@functools.cache
def _stand_in(cls: type[Struct]) -> type[Struct]:
    return defstruct(cls.__name__, (), namespace={"__doc__": "Stands for another Struct.", "STANDS_FOR": cls})


def _compile(info: Any) -> Decoder:
    """The decoder of one msgspec type, outlined."""
    if isinstance(info, inspect.Metadata):
        return _compile(info.type)
    if isinstance(info, inspect.StructType):
        return _struct_decoder(info.cls.STANDS_FOR)  # type: ignore[attr-defined]
    if isinstance(info, inspect.UnionType):
        return _union_decoder(info)
    if isinstance(info, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)):
        return _sequence_decoder(info)
    if isinstance(info, inspect.TupleType):
        return _tuple_decoder(info)
    if isinstance(info, inspect.DictType):
        return _dict_decoder(info)
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


def _kept(text: str) -> str:
    """A copy of a text of the graph, whose memory can't be given back as long as texts are scattered over it: the graph
    of many rules takes more than all that is made of it.
    """
    return text[:1] + text[1:]


def _refuse(node: yaml.Node, problems: Problems, path: Path, needed: str) -> Any:
    if node.tag is not BROKEN:
        problems.at(path, f"needs {needed}; {_found(node)}")
    return INVALID


def _boolean(node: yaml.Node, problems: Problems, path: Path) -> Any:
    if node.tag is PLAIN:
        if node.value in TRUE:
            return True
        if node.value in FALSE:
            return False
    elif isinstance(node, yaml.ScalarNode) and node.value in TRUE | FALSE:
        return _refuse(node, problems, path, "true or false, without quotes")
    if isinstance(node, yaml.ScalarNode) and node.tag is not BROKEN and node.value.lower() in ALMOST_BOOL:
        problems.at(path, f"write true or false instead of `{node.value}`")
        return INVALID
    return _refuse(node, problems, path, "true or false")


def _nothing(node: yaml.Node, problems: Problems, path: Path) -> Any:
    if node.tag is PLAIN and node.value in NULL:
        return None
    return _refuse(node, problems, path, "to be left empty")


def _anything(node: yaml.Node, problems: Problems, path: Path) -> Any:
    if isinstance(node, yaml.ScalarNode):
        if node.tag is not PLAIN:
            return INVALID if node.tag is BROKEN else _kept(node.value)
        try:
            return scalar_of(node.value)
        except ValueError as error:
            problems.at(path, str(error))
            return INVALID
    if node.tag is BROKEN:
        return INVALID
    if isinstance(node, yaml.SequenceNode):
        items = [_anything(item, problems, (*path, index)) for index, item in enumerate(node.value)]
        return INVALID if INVALID in items else items
    entries = {_kept(key.value): _anything(value, problems, (*path, key.value)) for key, value in node.value}
    return INVALID if INVALID in entries.values() else entries


def _text_decoder(info: inspect.StrType) -> Decoder:
    low, high, pattern = info.min_length or 0, info.max_length, info.pattern and re.compile(info.pattern)
    constrained = bool(low or high is not None or pattern)

    def text(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, "a text")
        value = node.value
        if node.tag is PLAIN and value in NULL:
            hint = f"quote it if `{value}` is the text" if value else "'' is the empty text"
            problems.at(path, f"needs a text; found nothing ({hint})")
            return INVALID
        if not constrained:
            return _kept(value)
        if len(value) < low:
            problems.at(path, "must not be empty" if low == 1 else f"needs at least {low} characters, has {len(value)}")
        elif high is not None and len(value) > high:
            problems.at(path, f"takes at most {high} characters, has {len(value)}")
        elif pattern and not pattern.search(value):
            problems.at(path, f"must match `{pattern.pattern}`; {_found(node)}")
        else:
            return _kept(value)
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
            quoted = bool(INTEGER.fullmatch(node.value) or (not whole and FLOAT.fullmatch(node.value)))
            return _refuse(node, problems, path, needed + ", without quotes" if quoted else needed)
        try:
            value = number_of(node.value, whole)
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


def _sequence_decoder(info: Any) -> Decoder:
    item_decoder = _compile(info.item_type)
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


def _tuple_decoder(info: inspect.TupleType) -> Decoder:
    decoders = [_compile(item) for item in info.item_types]

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


def _unquoted(key: yaml.Node) -> yaml.Node:
    """A key as if it stood there without quotes: JSON has no others, not for a number either."""
    return yaml.ScalarNode(PLAIN, key.value, key.start_mark, key.end_mark) if key.tag == TEXT else key


def _dict_decoder(info: inspect.DictType) -> Decoder:
    value_decoder = _compile(info.value_type)
    texts = type(info.key_type) in (inspect.StrType, inspect.AnyType) and info.key_type in (
        inspect.StrType(),
        inspect.AnyType(),
    )
    key_decoder = None if texts else _compile(info.key_type)
    low, high = info.min_length or 0, info.max_length

    def mapping(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.MappingNode) or node.tag is BROKEN:
            return _refuse(node, problems, path, "a mapping")
        entries: dict[Any, Any] = {}
        sound = True
        for key_node, value_node in node.value:
            here = (*path, key_node.value)
            key = key_decoder(_unquoted(key_node), problems, here) if key_decoder else _kept(key_node.value)
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


@functools.cache
def _struct_decoder(cls: type[Struct]) -> Decoder:
    """A Struct may say more than msgspec knows of it: `EXAMPLE`, how it is written; `BELONGS`, where fields belong that
    are often put here; `MAY_BE_EMPTY`, the only optional fields that may stand there with nothing after them.
    """
    declared = {field.encode_name: field for field in structs.fields(cls)}
    compiled: dict[str, tuple[str, Decoder, bool]] = {}  # its name in Python; whether it has to say something
    example = getattr(cls, "EXAMPLE", "")
    belongs: dict[str, str] = getattr(cls, "BELONGS", {})
    may_be_empty = getattr(cls, "MAY_BE_EMPTY", declared)
    required = [name for name, field in declared.items() if field.required]

    def field_of(name: str) -> tuple[str, Decoder, bool] | None:
        field = declared.get(name)
        if field is None:
            return None
        must_say = name not in may_be_empty and NoneType in get_args(field.type)
        found = compiled[name] = field.name, _decoder(field.type), must_say
        return found

    def struct(node: yaml.Node, problems: Problems, path: Path) -> Any:
        if not isinstance(node, yaml.MappingNode) or node.tag is BROKEN:
            needed = f"a mapping with {_fields_told(list(declared))}"
            return _refuse(node, problems, path, f"{needed}, e.g. {example}" if example else needed)
        values: dict[str, Any] = {}
        sound = True
        for key_node, value_node in node.value:
            name = key_node.value
            field = compiled.get(name) or field_of(name)
            if field is None:
                where = f"it belongs under `{belongs[name]}`" if name in belongs else ""
                text = (
                    f"no such field here; {where}" if where else _no_such_field(name, list(declared), node.flow_style)
                )
                problems.at((*path, name), text)
                sound = False
                continue
            attribute, decoder, must_say = field
            value = decoder(value_node, problems, (*path, name))
            if value is None and must_say and value_node.tag is PLAIN:
                problems.at((*path, name), "says nothing; give it a value, or leave the line out")
                sound = False
            if value is INVALID:
                sound = False
            values[attribute] = value
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

    return struct


def _fields_told(names: Sequence[str]) -> str:
    if not names:
        return "no fields"
    few = f"{', '.join(f'`{name}`' for name in names[:_FEW])}, ..." if len(names) > _FEW else _listed(names, "and")
    return f"the fields {few}" if len(names) > 1 else f"the field {few}"


def _no_such_field(name: str, names: Sequence[str], flow: bool | None) -> str:
    if meant := nearest(name, names):
        return f"no such field; did you mean {meant}?"
    if word := mixed_word(name):
        return f"no such field; `{short(word)}` mixes Latin and Cyrillic letters that look alike"
    hint = "; if a comma or colon split a text, quote the text" if flow and not name.isascii() else ""
    return (
        f"no such field; there {'are' if len(names) > 1 else 'is'} {_listed(names, 'and') if names else 'none'}{hint}"
    )


def _union_decoder(info: inspect.UnionType) -> Decoder:
    """The member is chosen by the kind of node; among scalar members, by what the scalar is."""
    members = [member.type if isinstance(member, inspect.Metadata) else member for member in info.types]
    if any(isinstance(member, inspect.AnyType) for member in members):
        return _anything
    decoders = {type(member): _compile(member) for member in members}
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
            if text in NULL:
                return None if may_be_null else _refuse(node, problems, path, needed)
            if by_bool and (text in TRUE or text in FALSE):
                return text in TRUE
            is_integer = INTEGER.fullmatch(text)
            if by_int and is_integer:
                return by_int(node, problems, path)
            if by_float and (is_integer or FLOAT.fullmatch(text)):
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
        if node.tag is PLAIN and node.value in NULL:
            return None
        return decoder(node, problems, path)

    return optional
