"""How inputs that have a form are changed without losing it: trees of values, lines of a text, messages, raw bytes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from robustness.requests_at_random import NAMES, ODD_TEXTS, WORDS

NUMBERS: list[Any] = [0, 1, -1, 2, 5, 1000, 2**31, 2**63, 10**30, 0.5, 1e308, float("nan"), float("inf")]
CHARACTERS = " :-{}[]\"'#&*!|>%@`,?\n\t\0я\u2028\ufeff\x85~=<\\."


def damaged(raw: bytes, r: Random) -> bytes:
    """`raw` with a few bytes changed, added or gone."""
    out = bytearray(raw)
    for _ in range(r.randint(1, 3)):
        at = r.randint(0, len(out))
        match r.randrange(5):
            case 0:
                del out[at : at + r.choice((1, 1, 2, 8))]
            case 1:
                out[at:at] = bytes(r.randrange(256) for _ in range(r.choice((1, 1, 2, 8))))
            case 2 if at < len(out):
                out[at] ^= 1 << r.randrange(8)
            case 3:
                out[at:at] = out[at : at + r.randint(1, 40)]
            case _:
                out[at : at + 1] = bytes([r.choice((0, 1, 0x7F, 0x80, 0xFF))])
    return bytes(out)


def text(given: str, r: Random, words: Sequence[str]) -> str:
    """`given` with some of its characters, or a word, changed."""
    at = r.randint(0, len(given))
    end = min(len(given), at + r.choice((0, 1, 1, 3, 20)))
    return given[:at] + r.choice((r.choice(CHARACTERS), r.choice(words), "", given[:20])) + given[end:]


def lines(given: str, r: Random, words: Sequence[str]) -> str:
    """`given` with its lines deleted, doubled, swapped, moved or indented, or changed within."""
    out = given.split("\n")
    for _ in range(r.randint(1, 3)):
        i, j = r.randrange(len(out)), r.randrange(len(out))
        match r.randrange(6):
            case 0 if len(out) > 1:
                del out[i]
            case 1:
                out.insert(j, out[i])
            case 2:
                out[i], out[j] = out[j], out[i]
            case 3:
                out[i] = " " * r.randint(1, 4) + out[i]
            case 4:
                out[i] = out[i][r.randint(0, 2) :]
            case _:
                out[i] = text(out[i], r, words)
    return "\n".join(out)


def tree(given: Any, r: Random, words: Sequence[str], pool: Sequence[Any] = ()) -> Any:
    """`given`, lists and mappings of plain values, with a few of its nodes replaced, gone, doubled, moved or renamed.
    What comes in is of `pool`, or a text of `words`.
    """
    root = [copy.deepcopy(given)]
    for _ in range(r.randint(1, 3)):
        places = list(_places(root))
        holder, key = r.choice(places)
        match r.randrange(8):
            case 0 if holder is not root:
                del holder[key]
            case 1:
                other, there = r.choice(places)
                holder[key] = copy.deepcopy(other[there])
            case 2 if isinstance(holder[key], list):
                holder[key].append(copy.deepcopy(r.choice(pool or words)))
            case 2 | 3 if isinstance(holder[key], dict):
                holder[key][r.choice(words)] = copy.deepcopy(r.choice(pool or words))
            case 4 if isinstance(holder, dict):
                holder[r.choice(words)] = holder.pop(key)
            case 5:
                holder[key] = r.choice(([holder[key]], {r.choice(words): holder[key]}))
            case 6 if isinstance(holder[key], str):
                holder[key] = text(holder[key], r, words)
            case _:
                holder[key] = r.choice((r.choice(words), r.choice(NUMBERS), r.choice((None, True, False, [], {}))))
                if pool and r.random() < 0.5:
                    holder[key] = copy.deepcopy(r.choice(pool))
    return root[0]


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key in range(len(node)) if isinstance(node, list) else list(node):
        yield node, key
        if isinstance(node[key], (list, dict)):
            yield from _places(node[key])


TEXTS = [*WORDS, *NAMES, *ODD_TEXTS]
URIS = [
    *(f"gpt://b1gtest/{name}" for name in ("yandexgpt/latest", "yandexgpt-lite", "llama/latest", "")),
    *("art://b1gtest/yandex-art/latest", "emb://b1gtest/text-search-doc/latest", "cls://b1gtest/bt1", "ds://b1g", "x"),
]


def message(raw: bytes, cls: Any, r: Random, ids: Sequence[str] = ()) -> bytes:
    """A serialized message of `cls` with some of its fields filled, emptied or changed; now and then damaged."""
    try:
        found = cls.FromString(raw)
    except Exception:
        found = cls()
    for _ in range(r.randint(1, 3)):
        _change(found, r, ids)
    out: bytes = found.SerializeToString()
    return damaged(out, r) if r.random() < 0.05 else out


def _change(found: Any, r: Random, ids: Sequence[str], depth: int = 0) -> None:
    fields = list(found.DESCRIPTOR.fields)
    if not fields or depth > 8:
        return
    if found.DESCRIPTOR.full_name == "google.protobuf.Struct":
        nested: Any = {r.choice(("type", "properties", "required", "enum", *TEXTS)): r.choice(_JSON)}
        found.update(nested)
        return
    present = [field for field, _ in found.ListFields()]
    field = r.choice(present) if present and r.random() < 0.6 else r.choice(fields)
    if r.random() < 0.1:
        found.ClearField(field.name)
        return
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    kind = field.message_type
    if repeated and kind is not None and kind.GetOptions().map_entry:
        _change_map(getattr(found, field.name), kind, r, ids, depth)
    elif repeated:
        several = getattr(found, field.name)
        if kind is None:
            several.append(_scalar(field, r, ids))
        elif several and r.random() < 0.7:
            _change(r.choice(several), r, ids, depth + 1)
        elif several and r.random() < 0.5:
            several.add().CopyFrom(r.choice(several))
        else:
            _change(several.add(), r, ids, depth + 1)
        if len(several) > 1 and r.random() < 0.2:
            del several[r.randrange(len(several))]
    elif kind is not None:
        inner = getattr(found, field.name)
        inner.SetInParent()
        _change(inner, r, ids, depth + 1)
    else:
        setattr(found, field.name, _scalar(field, r, ids))


def _change_map(entries: Any, kind: Any, r: Random, ids: Sequence[str], depth: int) -> None:
    keys, values = kind.fields_by_name["key"], kind.fields_by_name["value"]
    key = r.choice(list(entries)) if len(entries) and r.random() < 0.7 else _scalar(keys, r, ids)
    if values.message_type is not None:
        _change(entries[key], r, ids, depth + 1)
    else:
        entries[key] = _scalar(values, r, ids)


_JSON: list[Any] = [
    None,
    True,
    0,
    -1.5,
    1e308,
    float("nan"),
    "object",
    "(a+)+$",
    ["a", 1],
    {"type": "array"},
    {"$ref": "#"},
]
_BITS = {1: 0, 2: 0, 3: 63, 4: 64, 5: 31, 13: 32, 14: 31, 15: 31, 16: 63, 17: 31, 18: 63, 6: 64, 7: 32}
_BOOL, _STRING, _BYTES, _UNSIGNED = 8, 9, 12, (4, 6, 7, 13)


def _scalar(field: Any, r: Random, ids: Sequence[str]) -> Any:
    if field.type == _STRING:
        if field.name.endswith("_uri"):
            return r.choice(URIS)
        if ids and field.name.endswith("id") and r.random() < 0.7:
            return r.choice(ids)
        return r.choice(TEXTS)
    if field.type == _BYTES:
        return r.choice(TEXTS).encode("utf-8", "replace")
    if field.type == _BOOL:
        return r.random() < 0.5
    bits = _BITS[field.type]
    if not bits:
        return r.choice((0.0, 0.3, 1.0, -1.0, 1e30, float("nan"), float("inf")))
    low = 0 if field.type in _UNSIGNED else -(2**bits)
    return r.choice((0, 1, 2, 3, 10, 1000, 2**bits - 1, low, r.randint(low, 2**bits - 1)))
