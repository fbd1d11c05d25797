"""Rules in layers: laid over those of the files by sessions and tests, sent as bundles, kept in snapshots."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..calls import ALL_CALLS
from .book import Book, Rule, Snippets, lending, load

if TYPE_CHECKING:
    from ..rules.files import Bundle, Inline


class Layer(Struct):
    """The rules of one book, at one height of a stack; `id` tells it from the other layers."""

    id: str
    book: Book


def stacked(layers: Sequence[Layer]) -> Book:
    """One book of all these layers, the first tried first; a single layer's book is returned as it is.

    Within a layer the order is the book's. A rule is left out where a layer above has one of its name. An unnamed rule
    whose like stands in a layer below gets `@` and its layer's id after its identity, so laying rules over others never
    changes what those are known and counted by. The fallback, the auth section, the quotas, the chaos and each
    snippet are those of the first layer that has them.
    """
    if len(layers) == 1:
        return layers[0].book
    changes = _changes(layers)
    rules: list[Rule] = []
    ids: list[str] = []
    by_call: dict[str, list[Rule]] = {call: [] for call in ALL_CALLS}
    for layer, changed in zip(layers, changes, strict=True):
        ours = _changed(layer.book.rules, changed)
        rules.extend(ours)
        ids.extend([layer.id] * len(ours))
        for call, answering in by_call.items():
            answering.extend(_changed(layer.book.by_call.get(call, ()), changed))
    books = [layer.book for layer in layers]
    return Book(
        tuple(rules),
        next((book.fallback for book in books if book.fallback is not None), None),
        tuple(sorted({warning for book in books for warning in book.warnings})),
        sum(book.files for book in books),
        {call: tuple(answering) for call, answering in by_call.items()},
        _first_of_each(books),
        layers=tuple(ids),
        auth=next((book.auth for book in books if book.auth is not None), None),
        quotas=next((book.quotas for book in books if book.quotas is not None), None),
        chaos=next((book.chaos for book in books if book.chaos is not None), None),
        datasets={id_: fixture for book in reversed(books) for id_, fixture in book.datasets.items()},
    )


def _first_of_each(books: Sequence[Book]) -> Snippets:
    found: dict[str, Any] = {}
    for book in books:
        for name, snippet in book.snippets.items():
            found.setdefault(name, snippet)
    return found


def placed(book: Book, alone: str) -> Iterator[tuple[Rule, str]]:
    """Each rule with the id of its layer; `alone` is the id for a book that is not stacked."""
    return zip(book.rules, book.layers or (alone,) * len(book.rules), strict=True)


_Changes = dict[str, "Rule | None"]
"""By identity in its own book: what stands for a rule in the stack, None where it is left out."""


def _changes(layers: Sequence[Layer]) -> list[_Changes]:
    out: list[_Changes] = [{} for _ in layers]
    names: set[str] = set()
    for layer, changed in zip(layers, out, strict=True):
        mine = {rule.name for rule in layer.book.rules if rule.name != rule.where}
        if not mine.isdisjoint(names):
            changed.update({rule.identity: None for rule in layer.book.rules if _is_named(rule) and rule.name in names})
        names |= mine
    below: set[str] = set()
    for layer, changed in zip(reversed(layers), reversed(out), strict=True):
        mine = {rule.identity for rule in layer.book.rules}
        if not mine.isdisjoint(below):
            for rule in layer.book.rules:
                if rule.identity in below and not _is_named(rule):
                    changed[rule.identity] = replace(rule, identity=f"{rule.identity}@{layer.id}")
        below |= mine
    return out


def _is_named(rule: Rule) -> bool:
    return rule.name != rule.where


def _changed(rules: tuple[Rule, ...], changes: _Changes) -> Sequence[Rule]:
    if not changes:
        return rules
    return [now for rule in rules if (now := changes.get(rule.identity, rule)) is not None]


def bundle_of(path: str | os.PathLike[str]) -> Bundle:
    """What has to be sent for a folder or file of fixtures to be loaded elsewhere: its YAML files, of the others only
    those that its rules refer to, and of the environment only what its `vars` refer to. Raises FixtureError as `load`
    does.
    """
    from ..rules.files import Bundle

    found = load([path]).given
    return next((given for given in found if isinstance(given, Bundle)), Bundle({}))


class _Files(Struct, tag="files", omit_defaults=True):
    """A bundle in JSON: texts as they are, everything else in base64."""

    name: str = ""
    root: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    binaries: dict[str, bytes] = field(default_factory=dict)


class _Mapping(Struct, tag="mapping", omit_defaults=True):
    """A mapping in JSON; `content` is JSON in a text, which holds numbers of any size, and those that are none."""

    name: str
    content: str
    environment: dict[str, str] = field(default_factory=dict)


class _Dump(Struct, omit_defaults=True):
    given: list[_Files | _Mapping] = field(default_factory=list)
    lent: list[_Files | _Mapping] = field(default_factory=list)


def dumped(book: Book) -> Any:
    """A book as plain values that JSON can hold. Raises ValueError for one that was not loaded, as a stack of several.

    All that its rules refer to is in there: files, the environment as far as `vars` see it, snippets of other layers.
    """
    if (book.rules or book.datasets or book.chaos) and not book.given:
        raise ValueError("these rules were not loaded from anything; dump the book of each layer by itself")
    return msgspec.to_builtins(_Dump([_written(one) for one in book.given], [_written(one) for one in book.lent]))


def revived(data: Any) -> Book:
    """The book that `dumped` made this of, with the same rules under the same names, identities and places.

    Reads neither files nor the environment. Raises ValueError for what is no dump, and FixtureError for fixtures that
    this emulator can't load.
    """
    dump = msgspec.convert(data, _Dump)
    given = [_read(one) for one in dump.given]
    return load(given, lending([_read(one) for one in dump.lent]) if dump.lent else None)


def _written(given: Bundle | Inline) -> _Files | _Mapping:
    import json

    from ..rules.files import Inline

    if isinstance(given, Inline):
        return _Mapping(given.name, json.dumps(given.content, ensure_ascii=False), dict(given.environment))
    out = _Files(given.name, given.root, dict(given.environment))
    for path, raw in given.files.items():
        try:
            out.texts[path] = raw.decode()
        except UnicodeDecodeError:
            out.binaries[path] = raw
    return out


def _read(one: _Files | _Mapping) -> Bundle | Inline:
    import json

    from ..rules.files import Bundle, Inline

    if isinstance(one, _Mapping):
        return Inline(json.loads(one.content), one.name, one.environment)
    texts = {path: text.encode() for path, text in one.texts.items()}
    return Bundle({**texts, **one.binaries}, one.environment, one.name, one.root)
