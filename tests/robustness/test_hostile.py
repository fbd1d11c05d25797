"""Clients that behave badly and requests made to hurt: each by hand, each with what must come of it."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from wire.client import MODEL, asking, drawing, eventually, path

from emulator import Emulator
from emulator.api import (
    METHODS,
    BatchCompletionMetadata,
    BatchCompletionRequest,
    BatchCompletionResponse,
    CompletionRequest,
    GetOperationRequest,
    ImageGenerationResponse,
)
from emulator.errors import FixtureError, UsageError

from .frames import RawClient
from .soundness import Sound

COMPLETION = path("TextGenerationService/Completion")
ASYNC = "TextGenerationAsyncService/Completion"
BATCH = "TextGenerationBatchService/Completion"
PICTURE = "ImageGenerationAsyncService/Generate"
LONG = {
    "rules": [
        {
            "when": {"question": "вечно"},
            "reply": {"text": "раз два три", "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}},
        },
        {"when": {"question": "медленно"}, "reply": {"text": "раз два " * 50, "stream": {"words": 1, "every": "50ms"}}},
        {"when": {"question": "много"}, "reply": {"text": {"generate": {"tokens": 20000}}, "stream": {"tokens": 10}}},
    ]
}


@pytest.fixture
def sound() -> Iterator[Sound]:
    with Sound(LONG) as serving:
        yield serving


def ended(sound: Sound) -> bool:
    """Whether no call but ours is under way: a call that never ends would hold its journal entry open."""
    return all(entry.code is not None for entry in sound.emulator.sessions.default.journal)


def batch(**more: Any) -> Any:
    return BatchCompletionRequest(model_uri=MODEL, source_dataset_id="fds", **more)


# -- clients


def test_a_client_that_cancels_at_once_leaves_nothing_running(sound: Sound) -> None:
    for question in ("вечно", "медленно", "hi"):
        for _ in range(20):
            sound.client.begin(COMPLETION, asking(question, stream=True)).cancel()
    eventually(lambda: ended(sound))
    sound.serves()


def test_a_client_that_cancels_in_mid_stream_leaves_nothing_running(sound: Sound) -> None:
    for question in ("вечно", "медленно", "много"):
        call = sound.client.begin(COMPLETION, asking(question, stream=True))
        next(call)
        call.cancel()
    eventually(lambda: ended(sound))
    sound.serves()


def test_a_deadline_of_a_millisecond_ends_the_work(sound: Sound) -> None:
    over = {"DEADLINE_EXCEEDED", "CANCELLED"}  # gRPC tells the client the one or the other, by whose clock is ahead
    before = {entry.id for entry in sound.emulator.sessions.default.journal}
    for _ in range(30):
        assert sound.client.call(COMPLETION, asking("медленно", stream=True), timeout=0.001).code in over
    eventually(lambda: ended(sound))
    assert {entry.code for entry in sound.emulator.sessions.default.journal if entry.id not in before} <= over
    sound.serves()


def test_a_client_that_never_reads_holds_nobody_up(sound: Sound) -> None:
    silent = RawClient(sound.emulator.target, window=10)
    silent.begin(COMPLETION, [asking("много", stream=True).SerializeToString()])
    eventually(lambda: len(sound.emulator.sessions.default.journal) > 0)
    assert sound.call(COMPLETION, asking("hi")).code == "OK"
    silent.close()
    eventually(lambda: ended(sound))


def test_a_client_that_vanishes_leaves_nothing_running(sound: Sound) -> None:
    for question in ("вечно", "медленно", "много"):
        gone = RawClient(sound.emulator.target)
        gone.begin(COMPLETION, [asking(question, stream=True).SerializeToString()])
        next(gone.frames())
        gone.close()
    eventually(lambda: ended(sound))
    sound.serves()


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        bytes(1000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
    ],
)
def test_a_connection_that_speaks_no_grpc_does_no_harm(sound: Sound, noise: bytes) -> None:
    host, _, port = sound.emulator.target.rpartition(":")
    import socket

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(noise)
    sound.serves()


# A call of a unary method without any message waits inside grpc.aio until its client leaves; we never see it.
@pytest.mark.parametrize(
    ("method", "count"), [(COMPLETION, 2), (path("OperationService/Get"), 2), ("/no/such", 2), ("/no/such", 0)]
)
def test_a_call_with_another_number_of_messages_than_one_ends(sound: Sound, method: str, count: int) -> None:
    client = RawClient(sound.emulator.target)
    client.begin(method, [b""] * count)
    assert b"defect" not in client.ending()
    client.close()
    sound.serves()


@pytest.mark.parametrize("value", ["привет".encode(), b"a\tb", b"\x01", b"x" * 6000], ids=lambda v: repr(v[:6]))
def test_a_header_that_no_library_would_send_ends_in_no_defect(sound: Sound, value: bytes) -> None:
    client = RawClient(sound.emulator.target)
    client.begin(COMPLETION, [asking("hi").SerializeToString()], [(b"x-client-request-id", value), (b"x-a", value)])
    with contextlib.suppress(AssertionError):  # the connection may be closed instead
        got = client.ending()
        assert b"defect" not in got
        assert b"Invalid metadata" not in got
        assert b"Unexpected" not in got
    client.close()
    sound.serves()


def test_a_long_client_request_id_does_not_fail_the_call(sound: Sound) -> None:
    assert sound.call(COMPLETION, asking("hi"), [("x-client-request-id", "a" * 20_000)]).code == "OK"


def test_three_hundred_streams_at_once_are_all_served(sound: Sound) -> None:
    calls = [sound.client.begin(COMPLETION, asking(f"hi {n}", stream=True)) for n in range(300)]
    with ThreadPoolExecutor(8) as pool:
        endings = list(pool.map(lambda call: list(call)[-1], calls))
    finals = [METHODS[COMPLETION].output.FromString(raw) for raw in endings]
    assert all(f'"hi {n}"' in final.alternatives[0].message.text for n, final in enumerate(finals))


# -- requests


def test_a_request_of_more_than_four_megabytes_is_refused(sound: Sound) -> None:
    assert sound.call(COMPLETION, asking("a" * (5 << 20))).code in ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    sound.serves()


def test_a_request_of_20000_messages_is_answered() -> None:
    with Sound(LONG, lenient=True, strict=True) as sound:
        request = CompletionRequest(model_uri=MODEL)
        for i in range(20_000):
            request.messages.add(role="user", text=f"вопрос {i}")
        assert sound.call(COMPLETION, request).code == "FAILED_PRECONDITION"
        request.messages[-1].text = "медленно"
        assert sound.call(COMPLETION, request).code == "OK"
        sound.serves()


@pytest.mark.parametrize("unit", ["a", "я", "👨‍👩‍👧", "e\u0301", "ё ", "a-", "\n", "🇷🇺"])
def test_a_text_of_100000_characters_is_answered(unit: str) -> None:
    rules = {
        "rules": [
            {"when": {"question": {"contains": "нет такого"}}, "reply": {"text": "a"}},
            {"when": {"question": {"word": "нет-такого*"}}, "reply": {"text": "a"}},
            {"when": {"question": {"glob": "*a*b*c*d*"}}, "reply": {"text": "a"}},
            {"when": {"question": {"matches": r"(.*)*нет$"}}, "reply": {"text": "a"}},
            {"when": {"question": {"equals": "нет"}}, "reply": {"text": "a"}},
        ]
    }
    question = (unit * 100_000)[:100_000]
    with Sound(rules, lenient=True, strict=True) as sound:
        assert sound.call(COMPLETION, asking(question)).code == "FAILED_PRECONDITION"
    with Sound({"fallback": {"text": "{{ question }}"}}, lenient=True) as sound:
        final = sound.call(COMPLETION, asking(question)).only
        assert final.alternatives[0].message.text == question
        assert sound.call(ASYNC, asking(question)).code == "OK"


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(\w+\s?)+$", r"(.*,){20}P", r"(?:a?){50}a{50}b"])
def test_a_pattern_that_backtracks_is_given_up(pattern: str) -> None:
    rules = {"rules": [{"when": {"question": {"matches": pattern}}, "reply": {"text": "a"}}]}
    with Sound(rules, strict=True) as sound:
        sound.call(COMPLETION, asking("a" * 5000 + "!"))
        sound.serves()


@pytest.mark.parametrize(
    "pattern",
    ["((x{1000}){1000}){1000}", "(((a{99}){99}){99}){99}", "x{1,60000}{1,60000}", "(?:(?:\\w{500}){500}){500}"],
)
def test_a_pattern_that_would_fill_the_memory_is_refused_at_load(tmp_path: Path, pattern: str) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(yaml.safe_dump({"rules": [{"when": {"question": {"matches": pattern}}, "reply": {"text": "a"}}]}))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "from emulator.cli import main; sys.argv = ['fm-emulator', 'check', sys.argv[1]]; main()"
    )
    found = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=30)
    assert found.returncode == 1, found
    assert found.stderr.startswith(f"{file}:"), found.stderr
    assert "Traceback" not in found.stderr
    assert "MemoryError" not in found.stderr, "it was compiled until the memory was full"


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ question * 10**9 }}",
        "{% set x = 'a' * 1000 %}{% for i in range(99) %}{% set x = x ~ x %}{% endfor %}{{ x }}",
        "{% set n = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ ''.join(['a'] * 10**9) }}",
        "{{ [[0] * 10**5] * 10**5 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'a'.ljust(10**10) }}",
        "{{ range(10**9) | list | length }}",
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ 'a' | center(10**9) }}",
        "{{ question | replace('', 'aaaaaaaaaaaaaaaa' * 60000) }}",
        "{{ [1, 2] | sum(start=10**9) }}{{ 'я' | urlencode * 10**8 }}",
        "{{ 'x' | indent(10**9) }}",
        "{{ 'a b' | wordwrap(1, wrapstring='x' * 900000) }}",
    ],
)
def test_a_template_that_loops_or_grows_fails_the_call_alone(template: str) -> None:
    try:
        sound = Sound({"rules": [{"reply": {"text": template}}]}, lenient=True)
    except FixtureError:
        return
    with sound:
        began = time.monotonic()
        assert sound.call(COMPLETION, asking("hi")).code in ("FAILED_PRECONDITION", "OK")
        assert time.monotonic() - began < 4
        sound.serves()


def test_filler_of_100000_tokens_is_answered_and_streamed() -> None:
    rules = {"rules": [{"reply": {"text": {"generate": {"tokens": 100_000}}, "stream": {"chunks": 40}}}]}
    with Sound(rules) as sound:
        assert sound.call(COMPLETION, asking("hi")).code == "OK"
        assert len(sound.call(COMPLETION, asking("hi", stream=True)).messages) == 40


def test_a_template_whose_header_could_not_travel_is_told_so() -> None:
    for where in ("headers", "trailers"):
        rules = {"rules": [{"reply": {"text": "a", where: {"x-a": "{{ question }}"}}}]}
        with Sound(rules) as sound:
            assert sound.call(COMPLETION, asking("hi")).code == "OK"
            for question in ("привет", "a\nb", "\0", "a" * 20_000):
                assert sound.call(COMPLETION, asking(question)).code == "FAILED_PRECONDITION"


PROMPTS = [
    "\0\x01\x1b[31m",
    "\u202eкот\u202c",
    "👨‍👩‍👧‍👦🏳️‍🌈",
    "\u200b\u200d",
    "\n\n\n",
    "a" * 500,
    "𝕏" * 250,
    "क्षि",
    "\ufeff",
    "e" + "\u0301" * 400,
    "مرحبا",
    "\u2028\u2029",
    " ",
]


@pytest.mark.parametrize("prompt", PROMPTS, ids=ascii)
def test_any_prompt_makes_a_picture(prompt: str) -> None:
    with Sound({"rules": [{"call": "generate_image", "operation": {"done_after": "0"}}]}) as sound:
        operation = sound.call(PICTURE, drawing(prompt)).only
        done = sound.call("OperationService/Get", GetOperationRequest(operation_id=operation.id)).only
        response = ImageGenerationResponse()
        assert done.response.Unpack(response)
        assert response.image.startswith(b"\xff\xd8")


@pytest.mark.parametrize("ratio", [(1, 2**63 - 1), (2**63 - 1, 1), (2**63 - 1, 2**63 - 1), (-1, -1), (-(2**63), 5)])
def test_any_ratio_makes_a_picture_or_is_refused(ratio: tuple[int, int]) -> None:
    with Sound({"rules": [{"call": "generate_image", "operation": {"done_after": "0"}}]}, lenient=True) as sound:
        request = drawing("кот", seed=-(2**63))
        request.generation_options.aspect_ratio.width_ratio, request.generation_options.aspect_ratio.height_ratio = (
            ratio
        )
        operation = sound.call(PICTURE, request).only
        assert sound.call("OperationService/Get", GetOperationRequest(operation_id=operation.id)).only.HasField(
            "response"
        )


def test_pictures_that_were_fetched_do_not_pile_up() -> None:
    with Sound({"rules": [{"call": "generate_image", "operation": {"done_after_polls": 1}}]}) as sound:
        operations = sound.emulator.sessions.default.operations
        for n in range(40):
            operation = sound.call(PICTURE, drawing(f"кот {n}")).only
            operations.get(operation.id).reply = lambda: ImageGenerationResponse(image=b"\xff\xd8")
            assert sound.call("OperationService/Get", GetOperationRequest(operation_id=operation.id)).only.done
        assert len(operations._pictures) <= 32


SCHEMAS: list[dict[str, Any]] = [
    {"$ref": "#"},
    {"$ref": "#/properties/a", "properties": {"a": {"$ref": "#/properties/a"}}},
    {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a", "b"]},
    {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"type": "nonsense"},
    {"type": []},
    {"type": 5},
    {"properties": 1},
    {"minLength": 1e300, "type": "string"},
    {"type": "array", "minItems": 1e9, "items": {"type": "array", "minItems": 1e9}},
    {"type": "number", "minimum": 5, "maximum": 1},
    {"type": "number", "multipleOf": 0},
    {"multipleOf": 1e-300, "type": "number"},
    {"type": "string", "pattern": "((x{999}){999}){999}"},
    {"type": "string", "pattern": "(a+)+$"},
    {"pattern": "(", "type": "string"},
    {"enum": []},
    {"const": math.nan},
    {"type": "integer", "minimum": math.inf},
    {"type": "integer", "minimum": math.nan},
    {"not": {}},
    {"$ref": "http://127.0.0.1:1/x"},
    {"$schema": "nonsense"},
    {"$dynamicRef": "#x"},
    {"items": {"$ref": "#"}, "type": "array"},
    {"patternProperties": {"(a+)+$": {"type": "string"}}, "type": "object", "minProperties": 3},
    {"type": "object", "required": ["a"] * 100, "additionalProperties": False},
    {"required": "a"},
    {"anyOf": []},
    {"oneOf": [{}] * 50},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda s: ascii(s)[:40])
def test_any_schema_and_any_tool_gets_an_answer(schema: dict[str, Any]) -> None:
    rules = {
        "rules": [
            {"when": {"question": "json"}, "reply": {"json": {"a": ["b", 1, None]}}},
            {"when": {"question": "tool"}, "reply": {"tool_calls": [{"f": {"a": 1}}]}},
        ]
    }
    with Sound(rules) as sound:
        for question in ("hi", "json", "tool"):
            request = asking(question)
            request.json_schema.schema.update(schema)
            assert sound.call(COMPLETION, request).code == "OK"
            request = asking(question)
            tool = request.tools.add()
            tool.function.name = "f"
            tool.function.parameters.update(schema)
            request.tool_choice.mode = 3  # REQUIRED
            assert sound.call(COMPLETION, request).code == "OK"


def test_a_struct_as_deep_as_the_wire_allows_gets_an_answer() -> None:
    with Sound(lenient=True) as sound:
        for levels in (10, 28, 30, 31, 32, 33, 40, 60):
            nested: dict[str, Any] = {}
            for _ in range(levels):
                nested = {"properties": {"a": nested}} if levels % 2 else {"a": nested}
            request = asking("hi")
            request.json_schema.schema.update(nested)
            with contextlib.suppress(ValueError, RecursionError):  # what can't be serialized can't be sent
                assert sound.call(COMPLETION, request).code in ("OK", "INVALID_ARGUMENT")
        sound.serves()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize(
    "when", [{}, {"request": {"json_schema.schema.x": "1"}}, {"request": {"tools.0.function": "1"}}], ids=str
)
@pytest.mark.parametrize("reply", [{}, {"tool_calls": [{"f": {"a": 1}}]}, {"json": {"a": 1}}], ids=str)
def test_numbers_that_json_lacks_in_schemas_and_tools_get_an_answer(number: float, when: Any, reply: Any) -> None:
    with Sound({"rules": [{"when": when, "reply": reply or {"delay": "0"}}]}) as sound:
        for mode in (0, 3):
            request = asking("hi")
            request.json_schema.schema.fields["x"].number_value = number
            tool = request.tools.add()
            tool.function.name = "f"
            tool.function.parameters.fields["x"].number_value = number
            request.tool_choice.mode = mode
            assert sound.call(COMPLETION, request).code == "OK"


def test_text_that_nests_brackets_without_end_is_answered_as_scripted() -> None:
    with Sound({"rules": [{"reply": {"text": "{{ question }}"}}]}, lenient=True) as sound:
        request = asking("[" * 99_000)
        request.json_schema.schema.update({"type": "object"})
        assert sound.call(COMPLETION, request).only.alternatives[0].message.text == "[" * 99_000


# -- rules


def test_what_an_operation_fails_with_may_be_a_template() -> None:
    error = {"code": "UNAVAILABLE", "message": "for {{ question }}"}
    lives: list[dict[str, Any]] = [
        {"at_poll": 1, "error": error},
        {"polls": {1: {"error": error}}},
        {"timeline": [{"at": "0", "error": error}]},
        {"done_after": "0", "error": error},
    ]
    for life in lives:
        with Sound({"rules": [{"call": "completion_async", "operation": life}]}) as sound:
            operation = sound.call(ASYNC, asking("hi")).only
            if operation.done:
                assert operation.error.message == "for hi"
                continue
            got = sound.call("OperationService/Get", GetOperationRequest(operation_id=operation.id))
            assert "for hi" in (got.text or got.only.error.message)


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "a b c", "usage": {"completion_tokens": 2**63 - 1, "input_text_tokens": 2**63 - 1}},
        {"text": "a b c", "usage": {"completion_tokens": 10**30}},
        {
            "usage": {"input_text_tokens": 2**63 - 1, "completion_tokens": 1, "total_tokens": 5},
            "stream": {"pieces": ["a", "b"]},
        },
        {"stream": {"pieces": [{"text": "a", "completion_tokens": 10**30}, "b"]}},
        {"tool_calls": [{"f": {"a": "{{ 10 ** 2000 }}"}}]},
        {"json": {"a": "{{ 10 ** 2000 }}"}},
        {"text": "a", "model_version": "x" * 100_000},
    ],
    ids=lambda r: ascii(r)[:50],
)
def test_numbers_beyond_all_bounds_are_refused_or_answered(reply: dict[str, Any]) -> None:
    try:
        sound = Sound({"rules": [{"reply": reply}]})
    except FixtureError:
        return
    with sound:
        for stream in (False, True):
            sound.call(COMPLETION, asking("hi", stream=stream))
        sound.serves()


def test_batches_beyond_all_bounds_are_refused_or_counted() -> None:
    timeline = [{"at": "0", "status": "IN_PROGRESS", "total_batches": 10**30}, {"at": "1ms", "status": "COMPLETED"}]
    try:
        sound = Sound({"rules": [{"call": "completion_batch", "operation": {"timeline": timeline}}]})
    except FixtureError:
        return
    with sound:
        operation = sound.call(BATCH, batch()).only
        sound.call("OperationService/Get", GetOperationRequest(operation_id=operation.id))


@pytest.mark.parametrize("levels", [20, 28, 30, 31, 40, 90])
def test_tool_arguments_nested_deep_can_be_read_by_a_client_or_are_refused(levels: int) -> None:
    nested: dict[str, Any] = {}
    for _ in range(levels):
        nested = {"a": nested}
    try:
        sound = Sound({"rules": [{"reply": {"tool_calls": [{"f": nested}]}}]})
    except FixtureError:
        return
    with sound:
        assert sound.call(COMPLETION, asking("hi")).code in ("OK", "FAILED_PRECONDITION")


def test_every_batch_has_ids_of_its_own_though_its_response_is_scripted() -> None:
    rule = {
        "call": "completion_batch",
        "reply": {"message": {"task_status": "COMPLETED"}},
        "operation": {"done_after": "0"},
    }
    with Sound({"rules": [rule]}) as sound:
        ids = set()
        for _ in range(3):
            done = sound.call(BATCH, batch()).only
            done = sound.call("OperationService/Get", GetOperationRequest(operation_id=done.id)).only
            response, metadata = BatchCompletionResponse(), BatchCompletionMetadata()
            assert done.response.Unpack(response)
            assert done.metadata.Unpack(metadata)
            assert response.task_id == metadata.task_id
            ids.add(response.task_id)
        assert len(ids) == 3


@pytest.mark.parametrize(
    "now", ["1970-01-01T00:00:00Z", "9000-01-01T00:00:00Z", "9899-01-01", "2026-01-31T12:00:00+14:00"]
)
@pytest.mark.parametrize("speed", [1e6, 1e-3])
def test_extreme_times_and_speeds_give_operations_that_clients_can_read(now: str, speed: float) -> None:
    timeline = [
        {"at": "0", "status": "PENDING"},
        {"at": "1ns", "status": "IN_PROGRESS", "total_batches": 10**9},
        {"at": "3650d", "status": "COMPLETED"},
    ]
    rules = {"rules": [{"call": "completion_batch", "operation": {"timeline": timeline}}]}
    with Sound(rules, now=now, speed=speed) as sound:
        operation = sound.call(BATCH, batch()).only
        for _ in range(3):
            got = sound.call("OperationService/Get", GetOperationRequest(operation_id=operation.id)).only
            assert got.created_at.ToDatetime() <= got.modified_at.ToDatetime()


@pytest.mark.parametrize(
    "options",
    [
        {"now": 10**40},
        {"now": -5},
        {"now": 1.5},
        {"now": "yesterday"},
        {"seed": "a"},
        {"port": "abc"},
        {"port": -1},
        {"speed": "fast"},
        {"speed": math.nan},
        {"speed": 0},
        {"advertise": 5},
        {"advertise": "a:b"},
        {"host": None},
        {"log_level": "loud"},
        {"nonsense": 1},
    ],
    ids=repr,
)
def test_an_option_of_no_sense_is_a_usage_error_before_anything_listens(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Emulator(**options)


def test_any_whole_number_is_a_seed() -> None:
    for seed in (-1, 0, 2**64, 10**70, -(10**200)):
        with Sound(seed=seed) as sound:
            assert sound.call(COMPLETION, asking("hi")).code == "OK"


@pytest.mark.parametrize("host", ["::1", "[::1]", "0.0.0.0", "127.0.0.1", "localhost", "::", "[::]"])
def test_the_target_of_any_host_can_be_reached(host: str) -> None:
    with Sound(host=host) as sound:
        sound.serves()


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "2001:db8::1", "a..b", "a" * 70 + ".b", "", "no such host", "127.0.0.1:80", "http://x"]
)
@pytest.mark.parametrize("port", [0, 50971])
def test_a_host_that_is_not_ours_is_a_usage_error(host: str, port: int) -> None:
    with pytest.raises(UsageError), Emulator(host=host, port=port):
        pass
