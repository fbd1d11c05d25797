"""The fixture loader: a file is refused with its mistakes, or loads, can answer, and be dumped and loaded again."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import yaml
from robustness.fixtures_at_random import (
    _BY_NAME,
    CODES,
    DETAILS,
    DURATIONS,
    MESSAGES,
    PATHS,
    PATTERNS,
    TEMPLATES,
)

from emulator.api import METHODS, CompletionRequest, ExplainRequest, GetOperationRequest, message_class
from emulator.calls import METHODS_BY_CALL
from emulator.engine.book import load
from emulator.engine.layers import dumped, revived
from emulator.engine.reach import unreachable
from emulator.errors import FixtureError, Status
from emulator.rules import model

from . import mutations
from .served import serving
from .target import Target

FIXTURES = Path(__file__).parents[2] / "fixtures"
LONGEST_MISTAKE = 2000
NAME = "fuzzed.yaml"


def words() -> list[str]:
    """The fixture language's own: names of fields and of calls, codes, durations, templates, patterns."""
    structs = [one for one in vars(model).values() if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    fields = {field.encode_name for one in structs for field in msgspec.structs.fields(one)}
    said = [each for values in _BY_NAME.values() for each in values if isinstance(each, str)]
    return sorted({*fields, *METHODS_BY_CALL, "batch_row", *CODES, *DURATIONS, *TEMPLATES, *PATTERNS, *PATHS, *said})


@cache
def _folder() -> Path:
    """Where the file is written: other files that fixtures refer to lie beside it."""
    folder = Path(tempfile.mkdtemp(prefix="fm-emulator-fuzz-"))
    for each in FIXTURES.iterdir():
        if each.suffix not in (".yaml", ".md") or each.name == "letter.md":
            shutil.copy(each, folder)
    return folder


@cache
def _asked() -> list[tuple[str, bytes]]:
    """A request of each kind of call."""
    out = []
    for call, path in METHODS_BY_CALL.items():
        request = METHODS[path].input()
        fields = request.DESCRIPTOR.fields_by_name
        if "model_uri" in fields:
            kind = {
                "generate_image": "art://b1gtest/yandex-art/latest",
                "text_embedding": "emb://b1gtest/text-search-doc",
            }
            request.model_uri = kind.get(call, "gpt://b1gtest/yandexgpt/latest")
        if "text" in fields:
            request.text = "привет, погода"
        if "messages" in fields:
            message = request.messages.add()
            message.text = "привет, погода"
            if "role" in message.DESCRIPTOR.fields_by_name:
                message.role = "user"
        out.append((path, request.SerializeToString()))
    stream = CompletionRequest(model_uri="gpt://b1gtest/yandexgpt/rc")
    stream.completion_options.stream = True
    stream.messages.add(role="user", text="привет")
    out.append((METHODS_BY_CALL["completion"], stream.SerializeToString()))
    return out


def check(data: bytes) -> None:
    """Load a file of these bytes."""
    path = _folder() / NAME
    path.write_bytes(data)
    try:
        book = load((path,))
    except FixtureError as refused:
        assert refused.mistakes
        for mistake in refused.mistakes:
            assert mistake.text.strip(), mistake
            assert str(mistake).startswith(str(path)), mistake
            assert "Traceback" not in mistake.text, mistake
            assert "object at 0x" not in mistake.text, mistake
            assert len(mistake.text) < LONGEST_MISTAKE, f"a mistake of {len(mistake.text)} characters"
        return
    list(unreachable(book))
    dump = json.dumps(dumped(book))
    again = revived(json.loads(dump))
    assert [(rule.identity, rule.label) for rule in again.rules] == [(rule.identity, rule.label) for rule in book.rules]
    assert json.dumps(dumped(again)) == dump, "loaded again it is another"
    _answers(book)


def _answers(book: Any) -> None:
    served = serving("loader", lenient=True)
    served.begin(book)
    operation = message_class("yandex.cloud.operation.Operation").DESCRIPTOR.full_name
    for method, request in _asked():
        metadata = [("x-a", "b"), ("authorization", "Bearer x"), ("idempotency-key", "1")]
        for _ in range(2):
            told = served.ask(method, request, metadata, scripted=True)
        if METHODS[method].output_name == operation and not isinstance(told, Status) and told:
            get = GetOperationRequest(operation_id=told[0].id).SerializeToString()
            served.ask("/yandex.cloud.operation.OperationService/Get", get, metadata, scripted=True)
    for number in (1, 5):
        explain = ExplainRequest(call_id=f"c{number}").SerializeToString()
        served.ask("/emulator.v1.ControlService/Explain", explain)
    served.ask("/emulator.v1.ControlService/Verify", b"")


def seeds() -> Mapping[str, bytes]:
    """The examples, and each of their documents' rules alone."""
    out = {path.name: path.read_bytes() for path in sorted(FIXTURES.glob("*.yaml"))}
    for name, raw in list(out.items()):
        said = yaml.safe_load(raw)
        for i, rule in enumerate(said.get("rules", [])):
            one = {**{key: value for key, value in said.items() if key != "rules"}, "rules": [rule]}
            out[f"{name}-{i}"] = yaml.safe_dump(one, allow_unicode=True, sort_keys=False).encode()
    return out


_WORDS = words()


@cache
def _pool() -> list[Any]:
    """What may stand somewhere in a file: everything that does in the examples, and what is odd."""
    found: list[Any] = [*_WORDS, *MESSAGES, *DETAILS, *mutations.NUMBERS, *mutations.TEXTS]
    for raw in seeds().values():
        found.extend(holder[key] for holder, key in mutations._places([yaml.safe_load(raw)]))
    return found


def mutate(data: bytes, r: Random) -> bytes:
    """Another file: its lines changed, or its values, or some of its characters."""
    given = data.decode("utf-8", "replace")
    if r.random() < 0.55:
        try:
            said = yaml.safe_load(given)
            changed = mutations.tree(said, r, _WORDS, _pool())
            return yaml.safe_dump(changed, allow_unicode=True, sort_keys=False).encode("utf-8", "replace")
        except (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError, OverflowError, LookupError):
            pass
    if r.random() < 0.9:
        return mutations.lines(given, r, _WORDS).encode("utf-8", "replace")
    return mutations.damaged(data, r)


TARGET = Target(check, seeds, mutate, _WORDS, longest=8192)
