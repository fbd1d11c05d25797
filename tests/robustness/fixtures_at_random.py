"""A hypothesis strategy for rules, read off the fixture language's own types in `emulator.rules.model`.

Every field that the model has is met, new ones included. A field's name decides which values are plausible; a rule is
either made of those alone or has implausible ones among them: other types, unknown fields, absurd sizes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec.inspect as inspect
from hypothesis import strategies as st

from emulator.calls import ALL_CALLS, CHATS
from emulator.replies.completion import STATUSES
from emulator.replies.layers import CONTENT
from emulator.replies.measures import ANSWERED
from emulator.rules import model
from emulator.rules.conditions import FIELDS

from .requests_at_random import NAMES, ODD_TEXTS, WORDS, json_values

TEMPLATES = [
    "{{ question }}",
    "{{ turn }}",
    "{{ messages }}",
    "{{ request }}",
    "{{ metadata['x-a'] }}",
    "{{ question | last_word }}",
    "{{ text }} {{ labels }} {{ task }} {{ dim }}",
    "{{ 10 ** 900 }}",
    "{{ vars.a }}",
    "{% for i in range(9) %}{{ i }}{% endfor %}",
    "{{ tool_results }}",
    "{{ 1 / 0 }}",
    "{{",
    "{{ nobody }}",
    "{% include 'x' %}",
    "{{ question * 3 }}",
    "{{ call }} {{ state }} {{ seed }}",
    "{{ {1: 2} }}",
]
PATTERNS = [
    r"\w+",
    r"(a+)+$",
    r"(\w+\s?)+$",
    "(",
    "[",
    r"(?P<a>.)(?P=a)",
    "^$",
    r"(?i)ПРИВЕТ",
    "*",
]
DURATIONS = ["0", "1ms", "20ms", "1s", "1h30m", "3650d", "1", "-1s", "9999999d", "forever", "", "1e3s", "0.0001ns"]
CODES = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "canceled", "OK", "14", "NO_SUCH", "CANCELLED", "INVALID_ARGUMENT"]
PATHS = [
    "messages.*.text",
    "messages.-1",
    "json_schema.schema.type",
    "tools.*.function.parameters",
    "model_uri",
    "tools.0",
    "completion_options.max_tokens",
    "max_tokens",
    "temperature",
    "stream",
    "no.such",
    "labels.*",
    "dim",
    "messages.x",
    "",
    "seed",
    "...",
]
DETAILS = [
    {"RetryInfo": {"retry_delay": "2s"}},
    {"ErrorInfo": {"reason": "A", "metadata": {"a": "b"}}},
    {"Nobody": {}},
    {"google.protobuf.Struct": {"a": 1}},
    {"google.protobuf.Any": {"@type": "x"}},
    {"QuotaFailure": {"violations": 1}},
    {"google.rpc.Status": {"details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "A"}]}},
    {"RetryInfo": {"retry_delay": "forever"}},
    {"BadRequest": None},
    {"DebugInfo": {"detail": "я" * 4000}},
]
MESSAGES = [
    {"alternatives": [{"message": {"role": "assistant", "text": "a"}, "status": "ALTERNATIVE_STATUS_FINAL"}]},
    {"alternatives": []},
    {},
    {"image": "AAAA"},
    {"task_id": "fbi"},
    {"alternatives": [{}, {}], "model_version": "1"},
    {"alternatives": [{"message": {"tool_call_list": {"tool_calls": [{}]}}}]},
    {"no": 1},
    {"usage": {"total_tokens": "x"}},
    {"predictions": [{"label": "a", "confidence": 2}]},
    {"tokens": [{"id": "-1", "text": "{{ text }}"}]},
    {"embedding": [0.5, "NaN"]},
    {"alternatives": [{"message": {"text": "{{ question }}"}, "status": 99}]},
    {"usage": {"total_tokens": "{{ 2 ** 70 }}"}},
]
_BY_NAME: dict[str, list[Any]] = {
    "name": ["one", "two", "три", " ", "fixtures[1]:0"],
    "matches": PATTERNS,
    "word": ["погод*", "привет", "*", "a b", "!"],
    "glob": ["*", "при*", "[", "b1g*/?"],
    "model": ["yandexgpt", "yandexgpt/rc", "llama*", "gpt://b1gtest/yandexgpt", "a/b/c", "", "**"],
    "text": [*WORDS, *TEMPLATES, "раз два три четыре пять", "one. two. three."],
    "file": ["story.md", "none.md", "../x", "", "/etc/hostname", "."],
    "image": ["picture.jpg", "story.md", "none.jpg", ".."],
    "error": CODES,
    "code": CODES,
    "status": [*STATUSES, *(s.lower() for s in STATUSES), "COMPLETED", "FAILED", "CANCELED", "PENDING", "NO"],
    "use": ["busy", "calm", "nobody"],
    "tool_choice": ["NONE", "AUTO", "REQUIRED", "get_weather"],
    "response_format": ["json_object", "json_schema"],
    "model_version": ["09.02.2025", "", "{{ turn }}"],
    "ratio": ["1:2", "16:9"],
    "dataset": ["1", "no"],
    "message": [*WORDS],
}
_KEYS: dict[str, list[str]] = {
    "options": PATHS,
    "request": PATHS,
    "metadata": ["x-a", "x-retry-attempt", "X-A", "authorization", "x-a-bin"],
    "headers": ["x-b", "x-request-id", "grpc-status", "X-B", "x-b-bin", "пр", "", "content-type"],
    "trailers": ["x-t", "grpc-message", "x-t-bin", "retry-after"],
    "tool_results": ["*", *NAMES],
    "state": ["order", "a.b", ""],
    "tool_calls": NAMES,
    "predictions": [*WORDS, ""],
}
_LEAF = {"tool_calls", "details", "json", "message"}


def rules(plausible: bool = True) -> st.SearchStrategy[Any]:
    """One rule as a file would say it."""
    return _struct(model.Rule, plausible)


def files(plausible: bool = True) -> st.SearchStrategy[Any]:
    """A whole file."""
    return _struct(model.File, plausible)


def without_long_waits(rule: Any) -> Any:
    """The rule with nothing that would rightly keep a client waiting longer than a test can."""
    if isinstance(rule, dict):
        return {key: without_long_waits(value) for key, value in rule.items() if key not in ("stall",)}
    return [without_long_waits(value) for value in rule] if isinstance(rule, list) else rule


_IMPLAUSIBLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**40),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from(ODD_TEXTS),
    st.just([]),
    st.just({}),
    st.just([[]]),
    st.just({"a": {"b": []}}),
    st.sampled_from(TEMPLATES),
    json_values,
)


_NESTING = ("all", "any", "not")
_DEEPEST = 2


@cache
def _struct(cls: Any, plausible: bool, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    fields = inspect.type_info(cls).fields  # type: ignore[attr-defined]
    if depth >= _DEEPEST:
        fields = tuple(f for f in fields if f.encode_name not in _NESTING)
    values = {f.encode_name: st.deferred(lambda f=f: _value(f.type, f.encode_name, plausible, depth)) for f in fields}  # type: ignore[misc]

    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        must = [f for f in fields if f.required]
        may = [f for f in fields if not f.required]
        if cls is model.Rule:
            must = [
                f for f in fields if f.encode_name in ("when", draw(st.sampled_from(["reply", "reply", "replies"])))
            ]
            other = ("reply", "replies") if plausible else ()
            may = [f for f in may if f not in must and f.encode_name not in other]
        most = 2 if plausible else 4
        some = st.lists(st.sampled_from(may), max_size=most, unique_by=lambda f: f.name) if may else st.just([])
        chosen = must + draw(some)
        if cls in (model.Reply, model.Turn) and plausible:
            chosen = _one_thing(chosen)
        out = {f.encode_name: draw(values[f.encode_name]) for f in chosen}
        if cls is model.Rule and plausible:
            _go_together(out)
        if not plausible and draw(st.integers(0, 5)) == 0:
            out[draw(st.sampled_from(["strem", "", "not", "текст", "1", "all"]))] = draw(_IMPLAUSIBLE)
        return out

    return build()


def _one_thing(chosen: list[Any]) -> list[Any]:
    things = [f for f in chosen if f.encode_name in CONTENT]
    return [f for f in chosen if f not in things[1:]]


_ANSWERED = {
    **dict.fromkeys(("text", "json", "tool_calls", "status", "stream", "usage"), CHATS),
    "image": frozenset({"generate_image"}),
    **ANSWERED,
}


def _go_together(rule: dict[str, Any]) -> None:
    """Leave out of a plausible rule what its replies and its other conditions rule out; most would load no more."""
    said = rule["replies"] if "replies" in rule else [rule.get("reply", {})]
    fits = ALL_CALLS.intersection(*(calls for reply in said for name, calls in _ANSWERED.items() if name in reply))
    when = rule.get("when", {})
    for name in [name for name in when if name in FIELDS]:
        both = fits & FIELDS[name][1]
        fits = both or fits
        if not both:
            del when[name]
    named = rule.get("call", [])
    if not when:
        rule.pop("when", None)
    if not fits.issuperset([named] if isinstance(named, str) else named):
        del rule["call"]


def _value(info: Any, name: str, plausible: bool, depth: int) -> st.SearchStrategy[Any]:
    right = _right(info, name, plausible, depth + (name in _NESTING))
    if plausible:
        return right
    return st.integers(0, 7).flatmap(lambda n: _IMPLAUSIBLE if n == 0 else right)


def _right(info: Any, name: str, plausible: bool, depth: int) -> st.SearchStrategy[Any]:
    if isinstance(info, inspect.Metadata):
        return _right(info.type, name, plausible, depth)
    if name == "details":
        return st.one_of(st.sampled_from(DETAILS), st.lists(st.sampled_from(DETAILS), max_size=2))
    if name == "message" and not isinstance(info, inspect.UnionType):
        return st.sampled_from(MESSAGES)
    if isinstance(info, inspect.UnionType):
        among = [t for t in info.types if not isinstance(t, inspect.NoneType)]
        if name == "message" and any(isinstance(t, inspect.DictType) for t in among):
            return st.sampled_from(MESSAGES)
        return st.one_of([_right(t, name, plausible, depth) for t in among])
    if isinstance(info, inspect.StructType):
        return _struct(info.cls, plausible, depth)
    if isinstance(info, (inspect.ListType, inspect.CollectionType)):
        return st.lists(_value(info.item_type, name, plausible, depth), min_size=1 if plausible else 0, max_size=3)
    if isinstance(info, inspect.DictType):
        keys = st.integers(1, 3) if isinstance(info.key_type, (inspect.IntType, inspect.Metadata)) else None
        named = st.sampled_from(_KEYS.get(name, ["busy", "calm", "a"]))
        inner = json_values if name in _LEAF else _value(info.value_type, "", plausible, depth)
        return st.dictionaries(
            named if keys is None else keys, inner, min_size=1, max_size=1 if name == "tool_calls" else 2
        )
    if isinstance(info, inspect.LiteralType):
        return st.sampled_from(info.values)
    if isinstance(info, inspect.BoolType):
        return st.booleans()
    if isinstance(info, inspect.IntType):
        odd = st.one_of(st.integers(-1, 5), st.sampled_from([2**31, 2**63, 10**30]))
        sizes = st.integers(1, 4) if plausible else odd
        return st.just(9) if name == "tokens" and not plausible else sizes
    if isinstance(info, inspect.FloatType):
        return st.one_of(st.integers(-1, 3), st.floats(allow_nan=not plausible))
    if isinstance(info, inspect.AnyType):
        return st.one_of(json_values, st.sampled_from(TEMPLATES))
    if isinstance(info, inspect.CustomType):
        few = DURATIONS[:4] if plausible else DURATIONS
        return st.one_of(st.sampled_from(few), st.just({"p50": "1ms", "p95": "3ms"}))
    pool = st.sampled_from(_BY_NAME.get(name, [*WORDS, *TEMPLATES]))
    return pool if plausible else st.one_of(pool, st.sampled_from(ODD_TEXTS))
