"""The official SDK, unmodified, over a socket: its synchronous face against an emulator in a thread."""

from __future__ import annotations

import json
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from wire.client import eventually
from yandex_ai_studio_sdk.exceptions import AioRpcError, RunError

if TYPE_CHECKING:
    from conftest import Serve

    from .conftest import Studio

POLL = 0.02
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 10}},
    "required": ["city", "days"],
}
CLOCK: dict[str, Any] = {"type": "object", "properties": {"zone": {"enum": ["MSK", "UTC"]}}, "required": ["zone"]}
TALE = "Жил-был кот. Он спал на печке и смотрел, как за окном идёт снег. Потом пришла весна, и кот ушёл гулять."


def test_run_gets_what_the_rule_says(serve: Serve, studio: Studio) -> None:
    rules = [{"when": {"question": {"contains": "привет"}, "folder": "b1gtest"}, "reply": {"text": "Здравствуйте!"}}]
    result = studio(serve({"rules": rules})).models.completions("yandexgpt").run("Привет!")
    assert result.text == "Здравствуйте!"
    assert result.status.name == "FINAL"
    assert result.usage.total_tokens == result.usage.input_text_tokens + result.usage.completion_tokens


def test_run_with_no_fixtures_gets_a_reply_about_the_question(serve: Serve, studio: Studio) -> None:
    model = studio(serve()).models.completions("yandexgpt")
    assert "где живут барсуки" in model.run("где живут барсуки").text
    assert model.run("где живут барсуки").text == model.run("где живут барсуки").text


def test_a_chat_with_history_is_told_turn_by_turn(serve: Serve, studio: Studio) -> None:
    rules = [
        {"when": {"turn": 1, "system": {"contains": "кассир"}}, "reply": {"text": "Добрый день! Куда едем?"}},
        {"when": {"turn": 2, "any_message": {"contains": "Куда едем"}}, "reply": {"text": "До {{ question }} час."}},
    ]
    model = studio(serve({"rules": rules}, strict=True)).models.completions("yandexgpt")
    history: list[Any] = [{"role": "system", "text": "Ты кассир"}, {"role": "user", "text": "Здравствуйте"}]
    first = model.run(history)
    assert first.text == "Добрый день! Куда едем?"
    assert model.run([*history, first, {"role": "user", "text": "Твери"}]).text == "До Твери час."


def test_run_stream_gives_cumulative_texts(serve: Serve, studio: Studio) -> None:
    model = studio(serve({"rules": [{"reply": {"text": TALE, "stream": {"words": 3}}}]})).models.completions(
        "yandexgpt"
    )
    results = list(model.run_stream("сказку"))
    assert len(results) == 7
    assert [result.status.name for result in results] == ["PARTIAL"] * 6 + ["FINAL"]
    assert all(after.text.startswith(before.text) for before, after in pairwise(results))
    assert results[-1].text == TALE


def test_a_reader_that_stops_early_ends_the_call(serve: Serve, studio: Studio) -> None:
    stall = {"words": 3, "stall": {"after": 2, "for": "forever"}}
    emulator = serve({"rules": [{"reply": {"text": TALE, "stream": stall}}]})
    stream = studio(emulator).models.completions("yandexgpt").run_stream("сказку")
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    entry = next(entry for entry in emulator.sessions.default.journal if entry.kind == "completion")
    assert eventually(lambda: entry.code) == "CANCELLED"


def test_max_tokens_and_temperature_reach_the_rules(serve: Serve, studio: Studio) -> None:
    rules = [{"when": {"options": {"temperature": {"at_least": 0.7}}}, "reply": {"text": TALE}}]
    model = studio(serve({"rules": rules}, strict=True)).models.completions("yandexgpt")
    result = model.configure(temperature=0.8, max_tokens=5).run("сказку")
    assert result.status.name == "TRUNCATED_FINAL"
    assert result.usage.completion_tokens == 5
    with pytest.raises(AioRpcError) as refused:
        model.configure(temperature=0.2).run("сказку")
    assert refused.value.code().name == "FAILED_PRECONDITION"


def test_a_content_filter_is_a_result_and_not_an_error(serve: Serve, studio: Studio) -> None:
    rules = [{"when": {"question": {"word": "взрывчатк*"}}, "reply": {"status": "CONTENT_FILTER"}}]
    result = studio(serve({"rules": rules})).models.completions("yandexgpt").run("Как купить взрывчатку?")
    assert result.status.name == "CONTENT_FILTER"
    assert result.text


def test_hidden_reasoning_is_counted(serve: Serve, studio: Studio) -> None:
    model = studio(serve()).models.completions("yandexgpt", model_version="rc")
    assert model.configure(reasoning_mode="enabled_hidden").run("подумай").usage.reasoning_tokens > 0
    assert model.run("не думай").usage.reasoning_tokens == 0


# -- operations


def test_run_deferred_is_waited_for(serve: Serve, studio: Studio) -> None:
    rules = [{"reply": {"text": "готово"}, "operation": {"done_after_polls": 3}}]
    operation = studio(serve({"rules": rules})).models.completions("yandexgpt").run_deferred("долго")
    assert operation.get_status().is_running
    assert operation.wait(poll_interval=POLL).text == "готово"
    assert operation.get_status().is_succeeded
    assert operation.get_result().text == "готово"


def test_an_operation_is_attached_to_by_its_id(serve: Serve, studio: Studio) -> None:
    emulator = serve({"rules": [{"reply": {"text": "готово"}, "operation": {"done_after_polls": 2}}]})
    begun = studio(emulator).models.completions("yandexgpt").run_deferred("долго")
    attached = studio(emulator).models.completions("yandexgpt").attach_deferred(begun.id)
    assert attached.wait(poll_interval=POLL).text == "готово"


def test_a_deferred_call_that_fails_at_its_second_poll_raises_run_error(serve: Serve, studio: Studio) -> None:
    failing = {"at_poll": 2, "error": {"code": "RESOURCE_EXHAUSTED", "message": "Квота исчерпана"}}
    operation = studio(serve({"rules": [{"operation": failing}]})).models.completions("yandexgpt").run_deferred("долго")
    with pytest.raises(RunError) as failed:
        operation.wait(poll_interval=POLL)
    assert (failed.value.code, failed.value.message, failed.value.operation_id) == (8, "Квота исчерпана", operation.id)


def test_a_cancelled_operation_has_failed(serve: Serve, studio: Studio) -> None:
    rules = [{"operation": {"done_after": "10h"}}]
    operation = studio(serve({"rules": rules})).models.completions("yandexgpt").run_deferred("долго")
    operation.cancel()
    assert operation.get_status().is_failed
    with pytest.raises(RunError) as failed:
        operation.wait(poll_interval=POLL)
    assert failed.value.code == 1


def test_a_get_that_fails_once_is_retried_and_the_operation_lives_on(serve: Serve, studio: Studio) -> None:
    scripted = {"done_after_polls": 3, "polls": {2: {"error": "UNAVAILABLE"}}}
    rules = [{"reply": {"text": "готово"}, "operation": scripted}]
    operation = studio(serve({"rules": rules})).models.completions("yandexgpt").run_deferred("долго")
    assert operation.wait(poll_interval=POLL).text == "готово"


# -- tools


def test_a_tool_loop_with_two_parallel_calls_goes_round(serve: Serve, studio: Studio) -> None:
    rules = [
        {
            "when": {"tools": ["weather", "clock"], "question": {"word": "погод*"}},
            "reply": {"tool_calls": [{"weather": {"city": "Москва", "days": 2}}, {"clock": {"zone": "MSK"}}]},
        },
        {
            "when": {"tool_results": {"weather": {"contains": "+20"}, "clock": "12:30"}},
            "reply": {"text": "В Москве тепло, сейчас {{ tool_results.clock }}."},
        },
    ]
    sdk = studio(serve({"rules": rules}, strict=True))
    tools = [sdk.tools.function(WEATHER, name="weather"), sdk.tools.function(CLOCK, name="clock")]
    model = sdk.models.completions("yandexgpt").configure(tools=tools, parallel_tool_calls=True)
    messages: list[Any] = ["Какая погода в Москве?"]
    asked = model.run(messages)
    assert asked.status.name == "TOOL_CALLS"
    assert asked.tool_calls is not None
    calls = [(call.function.name, call.function.arguments) for call in asked.tool_calls if call.function]
    assert calls == [("weather", {"city": "Москва", "days": 2}), ("clock", {"zone": "MSK"})]
    results: list[Any] = [{"name": "weather", "content": "+20, ясно"}, {"name": "clock", "content": "12:30"}]
    answered = model.run([*messages, asked, {"tool_results": results}])
    assert answered.text == "В Москве тепло, сейчас 12:30."
    assert not answered.tool_calls


def test_required_calls_a_tool_with_arguments_that_follow_its_parameters(serve: Serve, studio: Studio) -> None:
    sdk = studio(serve())
    tools = [sdk.tools.function(WEATHER, name="weather"), sdk.tools.function(CLOCK, name="clock")]
    model = sdk.models.completions("yandexgpt").configure(tools=tools, tool_choice="required")
    result = model.run("погода")
    assert result.tool_calls
    (call,) = result.tool_calls
    assert call.function
    assert call.function.name == "weather"
    arguments = call.function.arguments
    assert isinstance(arguments["city"], str)
    assert 1 <= arguments["days"] <= 10
    done = model.run(["погода", result, {"tool_results": [{"name": "weather", "content": "дождь"}]}])
    assert not done.tool_calls
    assert "дождь" in done.text


def test_a_named_function_is_the_one_that_is_called(serve: Serve, studio: Studio) -> None:
    sdk = studio(serve())
    tools = [sdk.tools.function(WEATHER, name="weather"), sdk.tools.function(CLOCK, name="clock")]
    model = sdk.models.completions("yandexgpt").configure(tools=tools)
    for choice in (tools[1], {"type": "function", "function": {"name": "clock"}}):
        result = model.configure(tool_choice=choice).run("который час")  # type: ignore[arg-type]
        assert result.tool_calls
        (call,) = result.tool_calls
        assert call.function
        assert call.function.name == "clock"
        assert call.function.arguments["zone"] in ("MSK", "UTC")


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_no_tool_is_called_where_the_choice_does_not_ask_for_one(serve: Serve, studio: Studio, choice: str) -> None:
    sdk = studio(serve())
    model = sdk.models.completions("yandexgpt").configure(tools=sdk.tools.function(CLOCK, name="clock"))
    result = model.configure(tool_choice=choice).run("который час")  # type: ignore[arg-type]
    assert not result.tool_calls
    assert result.text


# -- structured output


def test_json_is_asked_for_and_comes(serve: Serve, studio: Studio) -> None:
    rules = [{"when": {"response_format": "json_object"}, "reply": {"json": {"города": ["Тверь", "Псков"]}}}]
    model = studio(serve({"rules": rules})).models.completions("yandexgpt").configure(response_format="json")
    assert json.loads(model.run("города").text) == {"города": ["Тверь", "Псков"]}


def test_json_follows_the_schema_with_no_rule_at_all(serve: Serve, studio: Studio) -> None:
    import jsonschema

    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3},
            "age": {"type": "integer", "minimum": 18, "maximum": 21},
            "pets": {"type": "array", "items": {"enum": ["cat", "dog"]}, "minItems": 2},
        },
        "required": ["name", "age", "pets"],
        "additionalProperties": False,
    }
    model = studio(serve()).models.completions("yandexgpt")
    result = model.configure(response_format={"name": "person", "json_schema": schema}).run("кто ты")
    jsonschema.validate(json.loads(result.text), schema)
    assert result.status.name == "FINAL"


def test_json_follows_a_schema_of_references_as_pydantic_writes_them(serve: Serve, studio: Studio) -> None:
    import jsonschema

    pet = {
        "type": "object",
        "title": "Pet",
        "properties": {"name": {"title": "Name", "type": "string"}, "legs": {"type": "integer", "minimum": 2}},
        "required": ["name", "legs"],
    }
    owner: dict[str, Any] = {
        "$defs": {"Pet": pet},
        "type": "object",
        "title": "Owner",
        "properties": {
            "city": {"type": "string"},
            "pets": {"type": "array", "items": {"$ref": "#/$defs/Pet"}, "minItems": 1},
            "married": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        },
        "required": ["city", "pets", "married"],
    }
    model = studio(serve()).models.completions("yandexgpt")
    result = model.configure(response_format={"name": "Owner", "json_schema": owner}).run("кто ты")
    jsonschema.validate(json.loads(result.text), owner)


def test_json_that_breaks_its_schema_comes_as_scripted_and_is_noted(serve: Serve, studio: Studio) -> None:
    emulator = serve({"rules": [{"reply": {"json": {"age": "старый"}}}]})
    schema: dict[str, Any] = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    model = studio(emulator).models.completions("yandexgpt")
    result = model.configure(response_format={"name": "person", "json_schema": schema}).run("кто ты")
    assert json.loads(result.text) == {"age": "старый"}
    (entry,) = (entry for entry in emulator.sessions.default.journal if entry.kind == "completion")
    assert "$.age" in entry.notes[0]


# -- pictures

PICTURES = {"rules": [{"call": "generate_image", "operation": {"done_after_polls": 2}}]}


def test_a_picture_is_drawn_for_a_prompt_a_seed_and_a_ratio(serve: Serve, studio: Studio) -> None:
    model = studio(serve(PICTURES)).models.image_generation("yandex-art")
    wide = model.configure(seed=42, width_ratio=2, height_ratio=1)
    first = wide.run_deferred("кот на крыше").wait(poll_interval=POLL)
    picture = Image.open(BytesIO(first.image_bytes))
    assert picture.format == "JPEG"
    assert picture.width / picture.height == pytest.approx(2, rel=0.1)
    assert first._repr_jpeg_() == first.image_bytes
    assert first.model_version == ""
    assert wide.run_deferred("кот на крыше").wait(poll_interval=POLL).image_bytes == first.image_bytes
    other = wide.configure(seed=43).run_deferred("кот на крыше").wait(poll_interval=POLL)
    assert other.image_bytes != first.image_bytes


def test_a_scripted_picture_comes_byte_for_byte(serve: Serve, studio: Studio, tmp_path: Any) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "cat.jpg")
    rule = (
        "rules:\n  - call: generate_image\n    when: {prompt: {contains: кот}, seed: 7}\n    reply: {image: cat.jpg}\n"
    )
    (tmp_path / "pictures.yaml").write_text(rule + "    operation: {done_after_polls: 2}\n", encoding="utf-8")
    model = studio(serve(tmp_path, strict=True)).models.image_generation("yandex-art").configure(seed=7)
    begun = model.run_deferred(["рыжий", "кот"])
    assert begun.get_status().is_running
    assert begun.wait(poll_interval=POLL).image_bytes == (tmp_path / "cat.jpg").read_bytes()


def test_a_picture_that_breaks_the_terms_is_refused_at_the_call(serve: Serve, studio: Studio) -> None:
    rules = [{"call": "generate_image", "when": {"prompt": {"word": "кров*"}}, "reply": {"error": "INVALID_ARGUMENT"}}]
    model = studio(serve({"rules": rules})).models.image_generation("yandex-art")
    with pytest.raises(AioRpcError) as refused:
        model.run_deferred("много крови")
    assert refused.value.code().name == "INVALID_ARGUMENT"
    assert "terms of use" in (refused.value.details() or "")


# -- failures


@pytest.mark.parametrize("per", ["session", "idempotency-key"])
def test_two_quota_errors_and_then_a_reply_are_one_run(serve: Serve, studio: Studio, per: str) -> None:
    replies = [{"error": {"code": "RESOURCE_EXHAUSTED"}, "repeat": 2}, {"text": "теперь можно"}]
    emulator = serve({"rules": [{"per": per, "replies": replies}]})
    assert studio(emulator).models.completions("yandexgpt").run("можно?").text == "теперь можно"
    codes = [entry.code for entry in emulator.sessions.default.journal if entry.kind == "completion"]
    assert codes == ["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "OK"]


def test_the_attempt_is_what_a_rule_can_look_at(serve: Serve, studio: Studio) -> None:
    rules = [{"when": {"attempt": {"at_most": 2}}, "reply": {"error": "UNAVAILABLE"}}, {"reply": {"text": "с третьей"}}]
    assert studio(serve({"rules": rules})).models.completions("yandexgpt").run("ну?").text == "с третьей"


def test_quota_errors_without_end_are_raised_with_the_services_wording(serve: Serve, studio: Studio) -> None:
    emulator = serve({"rules": [{"reply": {"error": "RESOURCE_EXHAUSTED"}}]})
    with pytest.raises(AioRpcError) as failed:
        studio(emulator).models.completions("yandexgpt").run("можно?")
    assert failed.value.code().name == "RESOURCE_EXHAUSTED"
    assert "quota limit exceed" in (failed.value.details() or "")
    assert len([entry for entry in emulator.sessions.default.journal if entry.kind == "completion"]) == 5


def test_an_error_names_the_clients_request_id(serve: Serve, studio: Studio) -> None:
    with pytest.raises(AioRpcError) as failed:
        studio(serve({"rules": [{"reply": {"error": "PERMISSION_DENIED"}}]})).models.completions(
            "yandexgpt"
        ).run_deferred("!")
    assert failed.value.code().name == "PERMISSION_DENIED"
    assert "x-client-request-id" in str(failed.value)


def test_an_invalid_request_is_refused_and_not_retried(serve: Serve, studio: Studio) -> None:
    emulator = serve()
    with pytest.raises(AioRpcError, match="empty message text"):
        studio(emulator).models.completions("yandexgpt").run("")
    assert len([entry for entry in emulator.sessions.default.journal if entry.kind == "completion"]) == 1


def test_a_stream_that_breaks_off_raises_after_what_it_gave(serve: Serve, studio: Studio) -> None:
    broken = {"words": 3, "stop": {"after": 2, "error": {"code": "INTERNAL", "message": "обрыв"}}}
    model = studio(serve({"rules": [{"reply": {"text": TALE, "stream": broken}}]})).models.completions("yandexgpt")
    stream = model.run_stream("сказку")
    got = [next(stream).text, next(stream).text]
    with pytest.raises(AioRpcError, match="обрыв"):
        next(stream)
    assert TALE.startswith(got[1])
    assert got[1].startswith(got[0])


def test_a_stream_that_was_unavailable_midway_is_begun_again_by_the_sdk(serve: Serve, studio: Studio) -> None:
    replies = [{"text": TALE, "stream": {"chunks": 5, "stop": {"after": 2}}}, {"text": TALE, "stream": {"chunks": 2}}]
    model = studio(serve({"rules": [{"replies": replies}]})).models.completions("yandexgpt")
    texts = [result.text for result in model.run_stream("сказку")]
    assert len(texts) == 4
    assert texts[2] != texts[1]
    assert texts[-1] == TALE
