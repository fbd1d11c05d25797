"""No request, however odd, makes the emulator fail by a defect, hang or stop. See `soundness` for longer runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import METHODS, ExplainRequest, message_class
from emulator.calls import CALLS_BY_METHOD

from .requests_at_random import metadata, requests, texts
from .soundness import Sound, looking

SERVED = [
    path
    for path in METHODS
    if path.split("/")[1].startswith(
        ("yandex.cloud.ai.foundation_models", "yandex.cloud.operation", "yandex.cloud.end")
    )
] + ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", "/emulator.v1.ControlService/Explain"]
ASKED = [path for path in SERVED if path in CALLS_BY_METHOD]
OTHERS = [path for path in SERVED if path not in CALLS_BY_METHOD]
REFLECTION = [f"/grpc.reflection.{v}.ServerReflection/ServerReflectionInfo" for v in ("v1", "v1alpha")]

RULES = {
    "rules": [
        {
            "name": "tool",
            "when": {"tools": ["get_weather"]},
            "reply": {"tool_calls": [{"get_weather": {"a": "{{ question }}"}}]},
        },
        {"name": "schema", "when": {"request": {"json_schema.schema.type": "object"}}, "reply": {"json": {"a": 1}}},
        {
            "name": "path",
            "when": {"request": {"tools.*.function.parameters.type": "object"}},
            "reply": {"text": "path"},
        },
        {"name": "leaf", "when": {"request": {"messages.-1": {"contains": "кот"}}}, "reply": {"text": "{{ request }}"}},
        {"name": "regex", "when": {"any_message": {"matches": r"(\w+\s?)+$"}}, "reply": {"text": "{{ messages }}"}},
        {
            "name": "options",
            "when": {"options": {"max_tokens": {"at_least": 1}}},
            "reply": {"text": "{{ question }} " * 5},
        },
        {
            "name": "header",
            "when": {"metadata": {"x-a": {"present": True}}},
            "reply": {"text": "a", "headers": {"x-b": "{{ turn }}"}},
        },
        {"name": "word", "when": {"message": {"word": "погод*"}}, "reply": {"text": "{{ tool_results }}"}},
        {
            "call": "generate_image",
            "when": {"weights": {"at_least": 2}, "ratio": "1:2"},
            "reply": {"error": "INVALID_ARGUMENT"},
        },
        {"call": "completion_batch", "when": {"dataset": "1"}, "operation": {"done_after_polls": 2}},
    ]
}


@pytest.fixture(scope="module", params=["real", "lenient", "rules", "strict"])
def sound(request: Any) -> Iterator[Sound]:
    """An emulator that refuses what the real service would; that takes anything; that has rules; that wants them to."""
    options: dict[str, dict[str, Any]] = {
        "real": {},
        "lenient": {"lenient": True},
        "rules": {"lenient": True, "fixtures": RULES},
        "strict": {"lenient": True, "fixtures": RULES, "strict": True},
    }
    with Sound(speed=1e6, **options[request.param]) as serving:
        yield serving


@pytest.mark.parametrize("method", ASKED, ids=CALLS_BY_METHOD.get)
def test_random_requests_are_answered_or_refused(sound: Sound, method: str) -> None:
    @looking(3 if method.endswith("Generate") else 20)  # pictures take a while to draw
    @given(requests(method), metadata())
    def holds(request: Any, pairs: Any) -> None:
        reply = sound.call(method, request, pairs)
        sound.call("ControlService/Explain", ExplainRequest())
        if reply.code == "OK" and METHODS[method].output_name.endswith("Operation"):
            operation = METHODS["/yandex.cloud.operation.OperationService/Get"].input(operation_id=reply.only.id)
            sound.call("OperationService/Get", operation)
            sound.call("OperationService/Cancel", operation)

    holds()
    sound.serves()


@pytest.mark.parametrize("method", OTHERS)
def test_random_requests_about_operations_and_addresses_are_answered_or_refused(method: str) -> None:
    with Sound() as sound:

        @looking(25)
        @given(requests(method), metadata())
        def holds(request: Any, pairs: Any) -> None:
            sound.call(method, request, pairs)

        holds()
        sound.serves()


def test_random_bytes_are_no_request_for_any_method() -> None:
    with Sound(lenient=True, speed=1e6) as sound:

        @looking(100)
        @given(st.sampled_from([*SERVED, *REFLECTION]), st.binary(max_size=80), metadata())
        def holds(method: str, raw: bytes, pairs: Any) -> None:
            sound.call(method, raw, pairs)

        holds()
        sound.serves()


def test_damaged_requests_are_answered_or_refused() -> None:
    with Sound(lenient=True, speed=1e6) as sound:

        @looking(60)
        @given(st.data(), st.sampled_from(ASKED))
        def holds(data: Any, method: str) -> None:
            raw = bytearray(data.draw(requests(method)).SerializeToString())
            for _ in range(data.draw(st.integers(1, 3))):
                if raw:
                    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
            sound.call(method, bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw))

        holds()
        sound.serves()


def test_any_method_path_is_answered_with_unimplemented() -> None:
    with Sound() as sound:

        @looking(40)
        @given(st.from_regex(r"/[a-zA-Z0-9_.]{0,60}(/([a-zA-Z0-9_.-]|%[0-9A-F]{2}){0,30}){0,2}", fullmatch=True))
        def holds(path: str) -> None:
            assert sound.call(path, b"x").code == "UNIMPLEMENTED"

        holds()
        sound.serves()


@pytest.mark.parametrize("path", ["/a/%", "/a/b%z1", "/%"])
def test_a_path_that_is_no_uri_is_answered_with_unimplemented(path: str) -> None:
    with Sound() as sound:
        assert sound.call(path, b"x").code == "UNIMPLEMENTED"
        sound.serves()


def test_random_reflection_requests_are_answered_or_refused() -> None:
    asking_reflection = message_class("grpc.reflection.v1alpha.ServerReflectionRequest")
    kinds = ["file_by_filename", "file_containing_symbol", "all_extension_numbers_of_type", "list_services"]
    known = st.sampled_from(["google.protobuf.Any", "yandex.cloud.operation.OperationService", "a.proto", ".", ""])
    with Sound() as sound:

        @looking(60)
        @given(st.sampled_from(REFLECTION), st.sampled_from(kinds), st.one_of(known, texts), st.integers(-1, 2**31 - 1))
        def holds(method: str, kind: str, name: str, number: int) -> None:
            request = asking_reflection(**{kind: name})
            if kind == "all_extension_numbers_of_type" and number % 2:
                request.file_containing_extension.containing_type = name
                request.file_containing_extension.extension_number = number
            sound.call(method, request)

        holds()
        sound.serves()
