"""Requests: calls in a row, each of any method with any bytes and metadata, and what rules and options make of them.

An input is JSON, a `Story`, so that a request which once failed can be read.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

import msgspec
from msgspec import Struct
from robustness.requests_at_random import WORDS

from emulator.api import METHODS, GetOperationRequest, message_class
from emulator.calls import METHODS_BY_CALL
from emulator.errors import Status

from . import loader, mutations
from .served import LONG, Served, serving
from .target import Target

CONTROL = "/emulator.v1.ControlService/"
GET = "/yandex.cloud.operation.OperationService/Get"
MOST_CALLS = 8
REFLECTED = [f"/grpc.reflection.{v}.ServerReflection/ServerReflectionInfo" for v in ("v1", "v1alpha")]


class Asked(Struct, omit_defaults=True):
    """One call. Values of keys in `-bin` are bytes, a character each."""

    method: str
    request: bytes = b""
    metadata: list[tuple[str, str]] = []


class Story(Struct, omit_defaults=True):
    """Calls to an emulator that begins with `book`, one of BOOKS."""

    book: str
    calls: list[Asked]


_RULES: dict[str, Any] = {
    "rules": [
        {"when": {"tools": ["get_weather"]}, "reply": {"tool_calls": [{"get_weather": {"a": "{{ question }}"}}]}},
        {"when": {"request": {"json_schema.schema.type": "object"}}, "reply": {"json": {"a": 1}}},
        {"when": {"request": {"tools.*.function.parameters.type": "object"}}, "reply": {"text": "path"}},
        {"when": {"request": {"messages.-1": {"contains": "кот"}}}, "reply": {"text": "{{ request }}"}},
        {"when": {"any_message": {"matches": r"(\w+\s?)+$"}}, "reply": {"text": "{{ messages }}"}},
        {"when": {"options": {"max_tokens": {"at_least": 1}}}, "reply": {"text": "{{ question }} " * 5}},
        {
            "when": {"metadata": {"x-a": {"present": True}}},
            "reply": {
                "error": {"code": "UNAVAILABLE", "message": "{{ metadata['x-a'] }}"},
                "headers": {"x-b": "{{ turn }}"},
                "trailers": {"x-t": "1"},
            },
        },
        {"when": {"message": {"word": "погод*"}}, "reply": {"text": "{{ tool_results }}"}},
        {"call": "generate_image", "when": {"weights": {"at_least": 2}}, "reply": {"error": "INVALID_ARGUMENT"}},
        {"call": "completion_batch", "when": {"dataset": "1"}, "operation": {"done_after_polls": 2}},
        {"call": "completion_async", "reply": {"text": "{{ text }}"}, "operation": {"done_after_polls": 1}},
    ]
}
_QUOTAS = {"quotas": {"limits": [{"call": "completion", "per_minute": 2}, {"call": "operations", "per_hour": 3}]}}
_AUTH = {"auth": {"api_keys": [{"key": "AQVNkey", "folder": "b1gtest"}]}}
BOOKS: dict[str, dict[str, Any]] = {
    "none": {},
    "lenient": {"lenient": True},
    "rules": {"lenient": True, "fixtures": _RULES},
    "strict": {"fixtures": _RULES, "strict": True},
    "chaos": {"lenient": True, "chaos": 0.5},
    "auth": {"lenient": True, "require_auth": True, "api_key": ["AQVNkey"]},
    "quotas": {"lenient": True, "fixtures": _QUOTAS, "quotas": "real"},
    "frozen": {"lenient": True, "fixtures": _RULES, "frozen": True},
    "datasets": {"lenient": True, "fixtures": str(loader.FIXTURES / "34-datasets.yaml")},
}
_KEYS = [
    *("x-retry-attempt", "x-folder-id", "x-client-request-id", "idempotency-key", "authorization", "x-a", "cookie"),
    *("x-emulator-session", "x-emulator-token", "x-data-logging-enabled", "x-a-bin", "grpc-trace-bin", "x-request-id"),
    *("traceparent", "x-client-trace-id", "user-agent"),
]
_VALUES = [
    *(
        "",
        "0",
        "1",
        "-1",
        "999999999999",
        "1e5",
        "a" * 300,
        "a" * 3000,
        "~!@#$%^&*()",
        "Bearer x",
        "Bearer t1.x",
        "{{ x }}",
    ),
    *("Api-Key AQVNkey", "AQVNkey", "Api-Key", "\xff\xfe", "\0", "\n", "default", "b1gtest", "٣", "a b", "'", '"', "%"),
]


def _served(book: str) -> Served:
    return serving(book, **BOOKS[book])


def _pairs(metadata: Sequence[tuple[str, str]]) -> list[tuple[str, str | bytes]]:
    """As an engine hands them on: values are bytes, or of Latin letters."""
    pairs: list[tuple[str, str | bytes]] = []
    for key, value in metadata:
        raw = value.encode("latin-1", "replace")
        pairs.append((key.lower(), raw if key.lower().endswith("-bin") else raw.decode("latin-1")))
    return pairs


def check(data: bytes) -> None:
    """Tell a story; afterwards the emulator serves, and can tell of it. What is no story says nothing."""
    try:
        story = msgspec.json.decode(data, type=Story)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if story.book not in BOOKS:
        return
    served = _served(story.book)
    served.begin()
    scripted = False
    for asked in story.calls[:MOST_CALLS]:
        if asked.method.startswith(CONTROL):  # by it rules, failures and chaos of any kind may be asked for
            scripted = True
        told = served.ask(asked.method, asked.request, _pairs(asked.metadata), scripted)
        made = not isinstance(told, Status) and asked.method in METHODS and METHODS[asked.method].output_name
        if made and made.endswith(".Operation") and told and asked.method != GET:
            served.ask(GET, GetOperationRequest(operation_id=told[0].id).SerializeToString(), (), scripted)
    for name in ("Explain", "ListCalls", "ListOperations", "ListSessions", "ListRules", "Verify", "Info"):
        served.ask(f"{CONTROL}{name}", b"\x18\x01" if name == "ListCalls" else b"")
    if scripted:
        _snapshot(served)


def _snapshot(served: Served) -> None:
    """A session whatever happened in it can be taken down, and made again of that."""
    told = served.ask(f"{CONTROL}Snapshot", b"", patience=LONG)
    if isinstance(told, Status):
        return  # too large
    restore = METHODS[f"{CONTROL}Restore"].input(snapshot=told[0].snapshot).SerializeToString()
    restored = served.ask(f"{CONTROL}Restore", restore, patience=LONG)
    assert not isinstance(restored, Status), f"its own snapshot is refused: {restored}"
    again = served.ask(f"{CONTROL}Snapshot", b"", patience=LONG)
    assert not isinstance(again, Status), f"no snapshot of what was restored: {again}"
    before, after = (json.loads(one[0].snapshot) for one in (told, again))
    if before["clock"]["frozen"]:
        assert after == before, _difference(before, after)


def _difference(before: Any, after: Any, where: str = "") -> str:
    """Where two snapshots differ first."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return next(_difference(before[k], after[k], f"{where}.{k}") for k in before if before[k] != after[k])
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        at = next(i for i in range(len(before)) if before[i] != after[i])
        return _difference(before[at], after[at], f"{where}[{at}]")
    return f"restored it is another at {where}: {str(before)[:300]} became {str(after)[:300]}"


def _served_methods() -> list[str]:
    return [*sorted(METHODS), *REFLECTED, "/no.such.Service/Method", "/yandex.cloud.operation.OperationService/Nothing"]


def _written(story: Story) -> bytes:
    return msgspec.json.encode(story)


def seeds() -> Mapping[str, bytes]:
    """A plausible request of each kind of call to each book, and an empty one of every method."""
    out = {}
    for book in BOOKS:
        for i, (method, request) in enumerate(loader._asked()):
            calls = [Asked(method, request, [("authorization", "Api-Key AQVNkey")])] * 2
            out[f"{book}-{i}"] = _written(Story(book, calls))
    for i, method in enumerate(m for m in _served_methods() if not m.startswith(CONTROL)):
        out[f"empty-{i}"] = _written(Story("lenient", [Asked(method)]))
    return out


@cache
def _ids() -> tuple[str, ...]:
    """Of operations that stories begin: the same calls give the same ids. And of calls and datasets."""
    out = ["c1", "c2", "a1", "r1", "default"]
    served = _served("lenient")
    for method, request in loader._asked():
        if METHODS[method].output_name.endswith(".Operation"):
            served.begin()
            told = served.ask(method, request)
            if not isinstance(told, Status) and told:
                out.append(told[0].id)
    out.extend(_served("datasets").book.datasets)
    return tuple(out)


def _mutated(story: Story, r: Random, methods: Sequence[str]) -> None:
    calls = story.calls
    what = r.random()
    if not calls or (what < 0.1 and len(calls) < MOST_CALLS):
        calls.insert(r.randint(0, len(calls)), Asked(r.choice(methods)))
    elif what < 0.2 and len(calls) < MOST_CALLS:
        one = r.choice(calls)
        calls.insert(r.randint(0, len(calls)), Asked(one.method, one.request, list(one.metadata)))
    elif what < 0.3 and len(calls) > 1:
        del calls[r.randrange(len(calls))]
    elif what < 0.35:
        story.book = r.choice(list(BOOKS))
    asked = r.choice(calls)
    if r.random() < 0.25:
        _mutated_metadata(asked.metadata, r)
        return
    asked.request = _request(asked, r)


def _mutated_metadata(pairs: list[tuple[str, str]], r: Random) -> None:
    if pairs and r.random() < 0.3:
        del pairs[r.randrange(len(pairs))]
    elif pairs and r.random() < 0.3:
        i = r.randrange(len(pairs))
        pairs[i] = (pairs[i][0], mutations.text(pairs[i][1], r, _VALUES))
    else:
        pairs.append((r.choice(_KEYS), r.choice(_VALUES)))


def _request(asked: Asked, r: Random) -> bytes:
    if asked.method in REFLECTED:
        cls = message_class("grpc.reflection.v1.ServerReflectionRequest") if _reflects() else None
    else:
        cls = METHODS[asked.method].input if asked.method in METHODS else None
    if cls is None:
        return mutations.damaged(asked.request, r)
    if asked.method.startswith(CONTROL) and r.random() < 0.7:
        with contextlib.suppress(Exception):
            found = cls.FromString(asked.request)
            if _mutated_within(found, r):
                return bytes(found.SerializeToString())
    return mutations.message(asked.request, cls, r, _ids())


@cache
def _reflects() -> bool:
    with contextlib.suppress(KeyError):
        return bool(message_class("grpc.reflection.v1.ServerReflectionRequest"))
    return False


def _mutated_within(found: Any, r: Random) -> bool:
    """Change the files or the snapshot that a message of the control API carries, if it does."""
    names = found.DESCRIPTOR.fields_by_name
    if "fixtures" in names:
        files = found.fixtures.files
        if not files:
            files[loader.NAME] = r.choice(list(_examples()))
        name = r.choice(sorted(files))
        files[name] = loader.mutate(files[name], r)
        return True
    if "snapshot" in names and found.snapshot:
        changed = mutations.tree(json.loads(found.snapshot), r, _snapshot_words(), mutations.NUMBERS)
        found.snapshot = json.dumps(changed, ensure_ascii=False).encode("utf-8", "replace")
        return True
    return False


@cache
def _examples() -> tuple[bytes, ...]:
    return tuple(loader.seeds().values())


@cache
def _snapshot_words() -> tuple[str, ...]:
    """Keys and texts of snapshots."""
    found: set[str] = set(WORDS)
    for raw in _snapshots():
        for holder, key in mutations._places([json.loads(raw)]):
            found.update(each for each in (key, holder[key]) if isinstance(each, str) and len(each) < 100)
    return tuple(sorted(found))


@cache
def _snapshots() -> tuple[bytes, ...]:
    """Of emulators in which something has happened."""
    out = []
    for book in ("rules", "quotas", "datasets", "frozen"):
        served = _served(book)
        served.begin()
        for method, request in loader._asked():
            served.ask(method, request, [("idempotency-key", method)])
        _ = served.ask(f"{CONTROL}AddRules", _added(b"rules: [{reply: {text: a}}]"))
        token = METHODS["/yandex.cloud.iam.v1.IamTokenService/Create"].input(yandex_passport_oauth_token="y0_x")
        served.ask("/yandex.cloud.iam.v1.IamTokenService/Create", token.SerializeToString())
        told = served.ask(f"{CONTROL}Snapshot", b"", patience=LONG)
        assert not isinstance(told, Status), told
        out.append(told[0].snapshot)
    return tuple(out)


def _added(raw: bytes) -> bytes:
    request = METHODS[f"{CONTROL}AddRules"].input()
    request.fixtures.files["a.yaml"] = raw
    return bytes(request.SerializeToString())


def control_seeds() -> Mapping[str, bytes]:
    """Every method of the control API after calls that give it something to tell, every example laid, and snapshots."""
    begin = [Asked(method, request) for method, request in loader._asked() if "Async" in method][:1]
    begin += [Asked(METHODS_BY_CALL["completion"], loader._asked()[0][1])]
    out = {}
    for i, method in enumerate(sorted(METHODS)):
        if method.startswith(CONTROL):
            request = METHODS[method].input()
            if "operation_id" in request.DESCRIPTOR.fields_by_name:
                request.operation_id = next((id_ for id_ in _ids() if len(id_) == 20), "")
            out[f"method-{i}"] = _written(Story("frozen", [*begin, Asked(method, request.SerializeToString())]))
    for i, raw in enumerate(_examples()):
        if raw.count(b"!") < 100:
            out[f"added-{i}"] = _written(
                Story(("none", "frozen")[i % 2], [Asked(f"{CONTROL}AddRules", _added(raw)), *begin])
            )
    for i, raw in enumerate(_snapshots()):
        restore = METHODS[f"{CONTROL}Restore"].input(snapshot=raw).SerializeToString()
        out[f"restored-{i}"] = _written(Story("frozen", [Asked(f"{CONTROL}Restore", restore), *begin]))
    return out


def _mutate(data: bytes, r: Random, methods: Sequence[str]) -> bytes:
    try:
        story = msgspec.json.decode(data, type=Story)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        story = Story("lenient", [])
    _mutated(story, r, methods)
    return _written(story)


def mutate(data: bytes, r: Random) -> bytes:
    """Another story, of the emulated API."""
    return _mutate(data, r, [method for method in _served_methods() if not method.startswith("/emulator.")])


def mutate_control(data: bytes, r: Random) -> bytes:
    """Another story, in which the control API is met more than anything else."""
    control = [method for method in METHODS if method.startswith(CONTROL)]
    return _mutate(data, r, [*control, *METHODS_BY_CALL.values(), GET])


REQUESTS = Target(check, seeds, mutate, longest=16384)
CONTROLS = Target(check, control_seeds, mutate_control, longest=65536)
