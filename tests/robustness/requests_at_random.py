"""Hypothesis strategies for requests: messages of any descriptor, more or less plausible, and metadata.

Field names decide what is plausible: a `role` is mostly one of three, a `text` is now and then one that the random
fixtures ask for.
"""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from emulator.api import METHODS

WORDS = ["привет", "погода", "hi", "Москва", "кот", "+20", "no", "1", "yandexgpt", "b1gtest"]
NAMES = ["get_weather", "find_order", "f", "имя", ""]
ODD_TEXTS = [
    "",
    " ",
    "\0",
    "\n\r\t",
    "\u200b\u200d\u2060",
    "\u202eabc\u202c",
    "e\u0301\u0327\u0345",
    "👨‍👩‍👧‍👦🏳️‍🌈",
    "🇷🇺🇷",
    "\ud7ff\ue000\ufffe\uffff",
    "ǅ ﬀ ß İ ı ẞ",
    "ё ё Ё",
    "{{ question }}",
    "{% for %}",
    "${HOME}",
    "%s %n %(x)s",
    "a" * 5000,
    "я" * 3000,
    "[" * 3000,
    "क्षि" * 50,
    "A\u0300" * 300,
    "\U0010ffff",
    "\x1b[31m",
    "..",
    "\\",
    "'\"`",
    "-" * 70,
]

texts = st.one_of(st.sampled_from(WORDS), st.sampled_from(ODD_TEXTS), st.text(max_size=40))
numbers = st.one_of(
    st.integers(-5, 10),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 5e-324, -0.0, 2.0**53 + 2, 1e20]),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
_KEYWORDS = [
    "type",
    "properties",
    "required",
    "enum",
    "const",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "multipleOf",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "$ref",
    "$defs",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "additionalProperties",
    "patternProperties",
    "uniqueItems",
    "default",
    "examples",
    "if",
    "then",
    "$schema",
    "$dynamicRef",
    "$id",
    "propertyNames",
    "contains",
    "dependentRequired",
    "prefixItems",
    "nullable",
]
_SCHEMA_SCALARS = st.sampled_from(
    [
        "object",
        "array",
        "string",
        "number",
        "integer",
        "null",
        "#",
        "#/$defs/a",
        "#/properties/a",
        "(",
        "(a+)+$",
        "date",
        "((x{99}){99}){99}",
        "https://json-schema.org/draft/2020-12/schema",
        "http://127.0.0.1:1/x",
        0,
        1,
        -1,
        0.1,
        1e308,
        math.nan,
        math.inf,
        True,
        False,
        None,
    ]
)
schemas = st.dictionaries(
    st.sampled_from(_KEYWORDS),
    st.recursive(
        _SCHEMA_SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from([*_KEYWORDS, "a", "b"]), inner, max_size=4),
        ),
        max_leaves=12,
    ),
    max_size=5,
)

_MODELS = [f"gpt://b1gtest/{m}" for m in ("yandexgpt/latest", "yandexgpt/rc", "yandexgpt-lite", "llama/latest", "м")]
_PICTURE_MODELS = ["art://b1gtest/yandex-art/latest", "art://b1gtest/yandex-art"]
_MODELS_BY_METHOD = {
    "image": _PICTURE_MODELS,
    "Embedding": ["emb://b1gtest/text-search-doc/latest", "emb://b1gtest/text-search-query"],
    "Classif": ["cls://b1gtest/yandexgpt/latest", "cls://b1gtest/bt1"],
}
_BY_NAME: dict[str, Any] = {
    "role": st.one_of(st.sampled_from(["user", "user", "assistant", "system"]), texts),
    "name": st.sampled_from(NAMES),
    "function_name": st.sampled_from(NAMES),
    "mime_type": st.sampled_from(["", "image/jpeg", "image/png"]),
    "operation_id": st.one_of(texts, st.from_regex(r"(d7q|fbv|fbi)[0-9a-v]{17}", fullmatch=True)),
    "page_token": st.one_of(st.sampled_from(["", "3", "٣", "-1", "9" * 40]), texts),
    "api_endpoint_id": st.one_of(st.sampled_from(["operation", "ai-llm"]), texts),
    "call_id": st.one_of(st.sampled_from(["", "c1", "c2"]), texts),
}
_INTEGERS = {"INT64": 63, "UINT64": 64, "INT32": 31, "UINT32": 32, "SINT32": 31, "SINT64": 63, "ENUM": 31}
_TYPES = {
    n: name
    for name, n in (
        ("DOUBLE", 1),
        ("FLOAT", 2),
        ("INT64", 3),
        ("UINT64", 4),
        ("INT32", 5),
        ("BOOL", 8),
        ("STRING", 9),
        ("MESSAGE", 11),
        ("BYTES", 12),
        ("UINT32", 13),
        ("ENUM", 14),
        ("SINT32", 17),
        ("SINT64", 18),
    )
}


def metadata() -> st.SearchStrategy[list[tuple[str, Any]]]:
    """Metadata that a client library lets pass: odd, doubled, binary, and long."""
    values = st.one_of(
        st.sampled_from(
            ["", "0", "1", "-1", "999999999999", "1e5", "abc", "a" * 3000, "~!@#$%^&*()", "Bearer x", "{{ x }}"]
        ),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30),
    )
    keys = st.sampled_from(
        ["x-retry-attempt", "x-folder-id", "x-client-request-id", "idempotency-key", "authorization", "x-a", "cookie"]
    )
    binary = st.tuples(st.sampled_from(["x-a-bin", "x-trace-bin"]), st.binary(max_size=200))
    return st.lists(st.one_of(st.tuples(keys, values), binary), max_size=6)


def requests(method: str) -> st.SearchStrategy[Any]:
    """Requests of the method at `method`, from nearly right to any at all."""
    input_ = METHODS[method].input
    models = next((uris for word, uris in _MODELS_BY_METHOD.items() if word in method), _MODELS)
    return st.booleans().flatmap(lambda plausible: _messages(input_, plausible, models))


@st.composite
def _messages(draw: st.DrawFn, cls: Any, plausible: bool, models: list[str], depth: int = 0) -> Any:
    message = cls()
    oneofs = {f.name: o for o in cls.DESCRIPTOR.oneofs if len(o.fields) > 1 for f in o.fields}
    chosen = {o.name: draw(st.sampled_from([f.name for f in o.fields])) for o in cls.DESCRIPTOR.oneofs}
    for field in cls.DESCRIPTOR.fields:
        if field.name in oneofs and chosen[oneofs[field.name].name] != field.name:
            continue
        wanted = plausible and field.name in (
            "model_uri",
            "messages",
            "text",
            "role",
            "source_dataset_id",
            "function",
            "labels",
        )
        if wanted or draw(st.booleans()):
            _fill(draw, message, field, plausible, models, depth)
    return message


def _fill(draw: Any, message: Any, field: Any, plausible: bool, models: list[str], depth: int) -> None:
    kind = field.message_type
    if kind is not None and kind.full_name == "google.protobuf.Struct":
        struct = getattr(message, field.name)
        struct.SetInParent()
        nested: Any = draw(schemas if field.name in ("schema", "parameters") else st.dictionaries(texts, json_values))
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 20]))):
            nested = {"properties": {"a": nested}} if draw(st.booleans()) else {"a": [nested]}
        struct.update(nested)
        if draw(st.integers(0, 9)) == 0:
            struct.fields["no kind"].SetInParent()
        return
    if kind is not None and depth > 5:
        return
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    if not repeated:
        _put(draw, message, field, plausible, models, depth)
        return
    for _ in range(draw(st.integers(1 if plausible else 0, 3))):
        if kind is None:
            getattr(message, field.name).append(draw(_scalars(field, plausible, models)))
            continue
        element = getattr(message, field.name).add()
        element.CopyFrom(draw(_messages(type(element), plausible, models, depth + 1)))


def _put(draw: Any, message: Any, field: Any, plausible: bool, models: list[str], depth: int) -> None:
    if field.message_type is None:
        setattr(message, field.name, draw(_scalars(field, plausible, models)))
        return
    inner = getattr(message, field.name)
    inner.SetInParent()
    inner.CopyFrom(draw(_messages(type(inner), plausible, models, depth + 1)))


def _scalars(field: Any, plausible: bool, models: list[str]) -> st.SearchStrategy[Any]:
    kind = _TYPES[field.type]
    if field.name == "model_uri":
        right = st.sampled_from(models)
        return right if plausible else st.one_of(right, texts)
    if field.name == "text" and plausible:
        return st.one_of(st.sampled_from(WORDS), texts.filter(bool))
    if kind == "STRING":
        return _BY_NAME.get(field.name, texts)
    if kind == "BYTES":
        return st.binary(max_size=50)
    if kind == "BOOL":
        return st.booleans()
    if kind in ("DOUBLE", "FLOAT"):
        return st.one_of(st.floats(0, 1), st.floats(width=32), st.just(math.nan))
    bits = _INTEGERS[kind]
    low = 0 if kind.startswith("U") else -(2**bits)
    extremes = st.sampled_from([0, 1, 2**bits - 1, low])
    return st.one_of(st.integers(0, 20), extremes, st.integers(low, 2**bits - 1))
