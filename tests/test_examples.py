"""The examples in fixtures/: each is served alone, over a real socket, and does what its comment promises."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import jsonschema
import pytest

from emulator import Emulator
from emulator.api import (
    METHODS,
    BatchCompletionMetadata,
    BatchCompletionRequest,
    BatchCompletionResponse,
    CompletionRequest,
    CompletionResponse,
    ErrorInfo,
    FewShotTextClassificationRequest,
    GetOperationRequest,
    ImageGenerationRequest,
    ImageGenerationResponse,
    QuotaFailure,
    RetryInfo,
    RpcStatus,
    TextClassificationRequest,
    TextEmbeddingRequest,
    from_dict,
    to_dict,
)
from emulator.engine.reach import unreachable

FIXTURES = Path(__file__).parent.parent / "fixtures"
FM = "/yandex.cloud.ai.foundation_models.v1."
COMPLETION = FM + "TextGenerationService/Completion"
COMPLETION_ASYNC = FM + "TextGenerationAsyncService/Completion"
COMPLETION_BATCH = FM + "TextGenerationBatchService/Completion"
GENERATE = FM + "image_generation.ImageGenerationAsyncService/Generate"
TOKENIZE_COMPLETION = FM + "TokenizerService/TokenizeCompletion"
EMBED = FM + "EmbeddingsService/TextEmbedding"
CLASSIFY = FM + "text_classification.TextClassificationService/Classify"
FEW_SHOT_CLASSIFY = FM + "text_classification.TextClassificationService/FewShotClassify"
GET = "/yandex.cloud.operation.OperationService/Get"

Said = Sequence[str | Mapping[str, Any]]
Metadata = Sequence[tuple[str, str]]


class Client:
    """Calls as a client of the API makes them; `emulator` is the one that serves it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.channel = grpc.insecure_channel(emulator.target)

    def start(self, path: str, request: Any, metadata: Metadata = (), timeout: float = 10) -> Any:
        method = METHODS[path]
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        ways = {"request_serializer": method.input.SerializeToString, "response_deserializer": method.output.FromString}
        return make(path, **ways)(request, metadata=tuple(metadata), timeout=timeout)

    def stream(self, *said: str | Mapping[str, Any], metadata: Metadata = (), timeout: float = 10, **more: Any) -> Any:
        return self.start(COMPLETION, _request(said, True, more), metadata, timeout)

    def ask(self, *said: str | Mapping[str, Any], metadata: Metadata = (), **more: Any) -> Any:
        """The one message that a call without `stream` gets."""
        (message,) = self.start(COMPLETION, _request(said, False, more), metadata)
        return message

    def answer(self, *said: str | Mapping[str, Any], metadata: Metadata = (), **more: Any) -> str:
        text: str = self.ask(*said, metadata=metadata, **more).alternatives[0].message.text
        return text

    def tool_calls(self, *said: str | Mapping[str, Any], **more: Any) -> list[tuple[str, dict[str, Any]]]:
        alternative = self.ask(*said, **more).alternatives[0]
        assert _status(alternative) == "TOOL_CALLS"
        calls = [call.function_call for call in alternative.message.tool_call_list.tool_calls]
        return [(call.name, to_dict(call.arguments)) for call in calls]

    def begin(self, question: str) -> Any:
        return self.start(COMPLETION_ASYNC, _request([question], False, {}))

    def batch(self, dataset: str, model: str = "gpt://b1gtest/qwen2.5-7b-instruct") -> Any:
        return self.start(COMPLETION_BATCH, BatchCompletionRequest(model_uri=model, source_dataset_id=dataset))

    def picture(self, prompt: str, seed: int = 0) -> Any:
        request = {
            "model_uri": "art://b1gtest/yandex-art/latest",
            "messages": [{"text": prompt, "weight": 1}],
            "generation_options": {"seed": seed, "mime_type": "image/jpeg"},
        }
        return self.start(GENERATE, from_dict(request, ImageGenerationRequest))

    def get(self, operation: Any) -> Any:
        return self.start(GET, GetOperationRequest(operation_id=operation.id))

    def watch(self, operation: Any) -> Iterator[Any]:
        """What the operation is, time after time, until it is done."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            operation = self.get(operation)
            yield operation
            if operation.done:
                return
            time.sleep(0.002)
        raise AssertionError("the operation is not done after 10 s")


def _request(said: Said, stream: bool, more: Mapping[str, Any]) -> Any:
    """The request of a conversation: texts are the user's, unless a mapping says otherwise."""
    messages = [{"role": "user", "text": one} if isinstance(one, str) else one for one in said]
    options = {"stream": stream, **more.get("options", {})}
    fields = {"model_uri": "gpt://b1gtest/yandexgpt/latest", **{k: v for k, v in more.items() if k != "options"}}
    return from_dict({**fields, "messages": messages, "completion_options": options}, CompletionRequest)


def _status(alternative: Any) -> str:
    name: str = alternative.DESCRIPTOR.enum_types_by_name["AlternativeStatus"].values_by_number[alternative.status].name
    return name.removeprefix("ALTERNATIVE_STATUS_")


def _texts(messages: Sequence[Any]) -> list[str]:
    return [message.alternatives[0].message.text for message in messages]


def _statuses(messages: Sequence[Any]) -> list[str]:
    return [_status(message.alternatives[0]) for message in messages]


def _tools(*names: str) -> list[dict[str, Any]]:
    return [{"function": {"name": name, "parameters": {"type": "object"}}} for name in names]


def _called(*names: str) -> dict[str, Any]:
    calls = [{"function_call": {"name": name, "arguments": {}}} for name in names]
    return {"role": "assistant", "tool_call_list": {"tool_calls": calls}}


def _results(*results: tuple[str, str]) -> dict[str, Any]:
    told = [{"function_result": {"name": name, "content": content}} for name, content in results]
    return {"role": "user", "tool_result_list": {"tool_results": told}}


def _unpacked(packed: Any, cls: type[Any]) -> Any:
    message = cls()
    assert packed.Unpack(message), packed.type_url
    return message


def _details(failed: Any, cls: type[Any]) -> Any:
    raw = dict(failed.trailing_metadata())["grpc-status-details-bin"]
    (found,) = [d for d in RpcStatus.FromString(raw).details if d.Is(cls.DESCRIPTOR)]
    return _unpacked(found, cls)


@contextlib.contextmanager
def _refused(code: grpc.StatusCode) -> Iterator[Any]:
    with pytest.raises(grpc.RpcError) as caught:
        yield caught
    assert caught.value.code() is code, caught.value


COVERED: set[str] = set()


def example(name: str, *, environment: Mapping[str, str] | None = None, **options: Any) -> Callable[[Any], Any]:
    """The test's `client` talks to an emulator that serves this file alone and refuses what no rule matches."""
    COVERED.add(name)
    given = (name, environment or {}, {"strict": True, **options})
    return pytest.mark.parametrize("client", [given], indirect=True, ids=[name.removesuffix(".yaml")])


@pytest.fixture
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    name, environment, options = request.param
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with _serving(name, **options) as found:
        yield found


@contextlib.contextmanager
def _serving(name: str, **options: Any) -> Iterator[Client]:
    with Emulator(fixtures=FIXTURES / name, **options) as emulator:
        client = Client(emulator)
        with client.channel:
            yield client


@example("01-greeting.yaml")
def test_a_greeting_is_answered_whatever_its_case_and_by_every_way_of_asking(client: Client) -> None:
    hello = "Здравствуйте! Чем помочь?"
    assert client.answer("ПРИВЕТ, бот") == hello
    *_, last = client.stream("Ну привет")
    assert _texts([last]) == [hello]
    *_, done = client.watch(client.begin("привет"))
    assert _texts([_unpacked(done.response, CompletionResponse)]) == [hello]
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask("до свидания")


@example("02-chat-turns.yaml")
def test_a_conversation_is_answered_by_its_turn_and_its_history(client: Client) -> None:
    bot = {"role": "assistant", "text": "да"}
    assert client.answer("Меня зовут Аня") == "Приятно познакомиться! Вы сказали: «Меня зовут Аня»"
    assert client.answer("Меня зовут Аня", bot, "Как меня зовут?").startswith("Вас зовут Аня")
    assert client.answer("а", bot, "б", bot, "в", bot, "г", bot, "Ещё вопрос").startswith("Это уже 5-й вопрос")
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask("Меня зовут Пётр", bot, "Как меня зовут?")


@example("03-tools-parallel.yaml")
def test_two_tools_are_called_at_once_and_the_answer_comes_from_their_results(client: Client) -> None:
    question, tools = "Какая погода в Москве и в Казани?", _tools("get_weather")
    calls = client.tool_calls(question, tools=tools)
    assert calls == [("get_weather", {"city": "Москва"}), ("get_weather", {"city": "Казани"})]
    asked = (question, _called("get_weather", "get_weather"))
    warm = client.answer(*asked, _results(("get_weather", "Москва: +20"), ("get_weather", "Казань: +15")), tools=tools)
    assert warm == "Одевайтесь легко, вот что известно:\nМосква: +20\nКазань: +15"
    cold = client.answer(*asked, _results(("get_weather", "-5"), ("get_weather", "-7")), tools=tools)
    assert cold == "Тепла не обещают, возьмите куртку."
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask(question)


@example("04-tools-in-sequence.yaml")
def test_one_tool_follows_another_until_the_report(client: Client) -> None:
    tools = _tools("find_order", "cancel_order")
    said: list[Any] = ["Отмените заказ на пиццу"]
    assert client.tool_calls(*said, tools=tools) == [("find_order", {"text": said[0], "limit": 1})]
    said += [_called("find_order"), _results(("find_order", '{"id": 17}'))]
    assert client.tool_calls(*said, tools=tools) == [("cancel_order", {"reason": "по просьбе клиента"})]
    said += [_called("cancel_order"), _results(("cancel_order", "ok"))]
    assert client.answer(*said, tools=tools).startswith("Заказ отменён")


@example("05-tenants.yaml")
def test_each_tenant_has_its_own_answer(client: Client) -> None:
    question = "Какие у вас часы работы?"
    folders = ("b1gshop", "b1gbank", "b1gbanktest")
    answers = [client.answer(question, model_uri=f"gpt://{folder}/yandexgpt") for folder in folders]
    assert [answer.split()[0] for answer in answers] == ["Магазин", "Отделение", "Отделение"]
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask(question, model_uri="gpt://b1gother/yandexgpt")


@example("06-models.yaml")
def test_model_and_branch_decide_who_answers(client: Client) -> None:
    def who(model: str) -> Any:
        return client.ask("Кто ты?", model_uri=f"gpt://b1gtest/{model}")

    rc = who("yandexgpt/rc")
    assert (_texts([rc]), rc.model_version) == (["Я — будущая версия, ещё не для всех."], "01.04.2025")
    assert _texts([who("yandexgpt"), who("yandexgpt/latest")]) == ["Я — YandexGPT."] * 2
    assert _texts([who("llama-lite"), who("llama")]) == ["Я — лама, имя моё llama-lite.", "Я — лама, имя моё llama."]
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        who("yandexgpt-lite")


@example("07-metadata.yaml")
def test_metadata_is_looked_at_and_sent_back(client: Client) -> None:
    request = _request(["Что нового?"], False, {})
    call = client.start(COMPLETION, request, [("x-experiment", "beta-7")])
    assert _texts(list(call)) == ["Вам открыта группа beta-7."]
    assert dict(call.initial_metadata())["x-variant"] == "beta-7"
    assert dict(call.trailing_metadata())["x-billing"] == "free"
    assert client.answer("Что нового?", metadata=[("x-retry-attempt", "2")]) == "Это попытка номер 3."
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask("Что нового?", metadata=[("x-experiment", "alpha")])


PERSON = {"schema": {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}}


@example("08-json-schema.yaml")
def test_json_keeps_the_types_of_its_templates(client: Client) -> None:
    number, text = {"type": "number"}, {"type": "string"}
    schema = {"type": "object", "properties": {"city": text, "turns": number}, "required": ["city", "items", "turns"]}
    answer = client.answer("Извлеки заказ: две пиццы в Казань", json_schema={"schema": schema})
    data = json.loads(answer)
    jsonschema.validate(data, schema)
    assert data == {"city": "Казань", "items": [{"title": "пицца", "count": 2}], "turns": 1, "paid": False}
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask("Извлеки заказ: две пиццы в Казань")


@example("09-json-broken.yaml")
def test_json_that_breaks_its_schema_is_sent_as_written_and_noted(client: Client) -> None:
    wrong = json.loads(client.answer("Пришли неверный возраст", json_schema=PERSON))
    assert wrong == {"name": "Аня", "age": "двадцать пять"}
    broken = client.answer("Пришли оборванный ответ", json_schema=PERSON)
    assert broken == '{"name": "Аня", "age": 2'
    notes = [note for entry in client.emulator.sessions.default.journal for note in entry.notes]
    assert ["age" in notes[0], "not JSON" in notes[1], len(notes)] == [True, True, 2]


@example("10-stream-tokens.yaml", speed=20)
def test_a_stream_grows_by_five_tokens_at_the_scripted_pace(client: Client) -> None:
    question = "Расскажи про Байкал"
    began = time.monotonic()
    messages = list(client.stream(question))
    took = (time.monotonic() - began) * 20
    texts = _texts(messages)
    assert len(texts) > 5
    assert all(longer.startswith(text) and longer != text for text, longer in itertools.pairwise(texts))
    assert _statuses(messages) == ["PARTIAL"] * (len(texts) - 1) + ["FINAL"]
    assert [m.usage.completion_tokens for m in messages[:3]] == [5, 10, 15]
    assert took >= 0.300 + 0.040 * (len(texts) - 1)
    assert client.answer(question) == texts[-1]


@example("11-stream-as-recorded.yaml", speed=20)
def test_a_recorded_stream_is_played_back_piece_by_piece(client: Client) -> None:
    began = time.monotonic()
    messages = list(client.stream("Сосчитай до трёх"))
    assert (time.monotonic() - began) * 20 >= 0.41
    assert _texts(messages) == ["Один", "Один, два", "Один, два, три."]
    assert _statuses(messages) == ["PARTIAL", "PARTIAL", "FINAL"]
    assert [(m.usage.input_text_tokens, m.usage.completion_tokens) for m in messages] == [(20, 1), (20, 4), (20, 9)]
    assert client.answer("Сосчитай до трёх") == "Один, два, три."


@example("12-stream-stalls.yaml", speed=300)
def test_a_stream_falls_silent_for_a_while_or_for_ever(client: Client) -> None:
    began = time.monotonic()
    words = list(client.stream("Задумайся ненадолго"))
    assert (time.monotonic() - began) * 300 >= 30
    assert [len(text.split()) for text in _texts(words)] == [1, 2, 3, 4]
    arriving, got = client.stream("Задумайся навсегда", timeout=0.5), []
    with _refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        got += [next(arriving), next(arriving)]
        next(arriving)
    assert _statuses(got) == ["PARTIAL", "PARTIAL"]


@example("13-stream-breaks-off.yaml")
def test_a_stream_breaks_off_and_is_whole_the_second_time(client: Client) -> None:
    arriving, got = client.stream("Расскажи: длинная история"), []
    with _refused(grpc.StatusCode.UNAVAILABLE):
        got += [next(arriving), next(arriving)]
        next(arriving)
    assert _statuses(got) == ["PARTIAL", "PARTIAL"]
    again = list(client.stream("Расскажи: длинная история"))
    assert _statuses(again) == ["PARTIAL", "PARTIAL", "PARTIAL", "FINAL"]
    assert _texts(again)[:2] == _texts(got)


@example("14-quota-then-fine.yaml")
def test_the_quota_is_exceeded_twice_for_each_idempotency_key(client: Client) -> None:
    for _ in range(2):
        for key in ("first", "second"):
            with _refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as caught:
                client.ask("Подведи итоги", metadata=[("idempotency-key", key)])
            assert _details(caught.value, RetryInfo).retry_delay.seconds == 2
            assert "quota limit exceed" in caught.value.details()
    for key in ("second", "first", "first"):
        assert client.answer("Подведи итоги", metadata=[("idempotency-key", key)]) == "Итоги хорошие."


@example("15-error-details.yaml")
def test_an_error_carries_its_details(client: Client) -> None:
    with _refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as caught:
        client.ask("Это сверх квоты?")
    assert caught.value.details() == "Квота каталога b1gtest исчерпана"
    (violation,) = _details(caught.value, QuotaFailure).violations
    assert violation.subject == "ai.textGenerationCompletionRequestsPerHour.rate"
    assert violation.description == "5000 запросов в час"
    assert to_dict(_details(caught.value, ErrorInfo))["metadata"] == {"limit": "5000"}


@example("16-content-filter.yaml")
def test_the_filter_knows_every_form_of_a_word(client: Client) -> None:
    for question in ("Где взять ОРУЖИЕ?", "Поговорим об оружии", "С оружием нельзя"):
        reply = client.ask(question)
        assert _statuses([reply]) == ["CONTENT_FILTER"]
        assert _texts([reply])[0].startswith("Я не могу обсуждать эту тему.")
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask("Мы безоружны")


@example("17-truncated.yaml")
def test_a_text_is_cut_at_max_tokens(client: Client) -> None:
    whole = client.ask("Сказка про репку")
    cut = client.ask("Сказка про репку", options={"max_tokens": 5})
    assert _statuses([whole, cut]) == ["FINAL", "TRUNCATED_FINAL"]
    assert whole.alternatives[0].message.text.startswith(cut.alternatives[0].message.text)
    assert cut.usage.completion_tokens == 5
    scripted = client.ask("Сказка про теремок")
    assert (_statuses([scripted]), _texts([scripted])[0][-2:]) == (["TRUNCATED_FINAL"], "не")


@example("18-operation-fails.yaml")
def test_an_operation_fails_at_its_second_poll(client: Client) -> None:
    operation = client.begin("Сделай тяжёлый отчёт")
    assert not operation.done
    assert not client.get(operation).done
    failed = client.get(operation)
    assert failed.done
    assert failed.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert failed.error.message.startswith("Quota ")


@example("19-get-fails-once.yaml")
def test_a_get_fails_and_the_operation_lives_on(client: Client) -> None:
    operation = client.begin("Сделай лёгкий отчёт")
    assert not client.get(operation).done
    with _refused(grpc.StatusCode.UNAVAILABLE):
        client.get(operation)
    done = client.get(operation)
    assert _texts([_unpacked(done.response, CompletionResponse)]) == ["Отчёт готов, отклонений нет."]


_TASK_STATUS = BatchCompletionMetadata.DESCRIPTOR.fields_by_name["task_status"].enum_type.values_by_number


def _progress(seen: Sequence[Any]) -> tuple[list[str], list[int]]:
    """The statuses a batch went through, in order, and its completed batches, without repeats."""
    told = [_unpacked(operation.metadata, BatchCompletionMetadata) for operation in seen]
    statuses = [_TASK_STATUS[m.task_status].name for m in told]
    return list(dict.fromkeys(statuses)), list(dict.fromkeys(m.completed_batches for m in told))


@example("20-batch-fails-halfway.yaml", speed=20)
def test_a_batch_fails_when_half_is_done(client: Client) -> None:
    seen = list(client.watch(client.batch("fdsbroken")))
    statuses, completed = _progress(seen)
    assert statuses[-3:] == ["PENDING", "IN_PROGRESS", "FAILED"]
    assert completed == [0, 1, 2, 3, 4, 5]
    assert (seen[-1].error.code, seen[-1].error.message) == (13, "node lost")
    assert _unpacked(seen[-1].metadata, BatchCompletionMetadata).total_batches == 10


@example("21-batch-completes.yaml", speed=20)
def test_a_batch_completes_with_progress_and_is_done_a_little_later(client: Client) -> None:
    seen = list(client.watch(client.batch("fdsnightly")))
    statuses, completed = _progress(seen)
    assert statuses[-3:] == ["PENDING", "IN_PROGRESS", "COMPLETED"]
    assert completed == [0, 1, 2, 3, 4]
    assert _progress([o for o in seen if not o.done])[0][-1] == "COMPLETED"
    response = _unpacked(seen[-1].response, BatchCompletionResponse)
    assert response.result_dataset_id.startswith("fds")
    assert response.task_id == _unpacked(seen[-1].metadata, BatchCompletionMetadata).task_id


@example("22-picture.yaml", speed=50, strict=False)
def test_a_picture_is_sent_byte_for_byte_for_its_seed(client: Client) -> None:
    began = time.monotonic()
    operation = client.picture("Маяки на закате", seed=42)
    *_, done = client.watch(operation)
    assert (time.monotonic() - began) * 50 >= 8
    assert _unpacked(done.response, ImageGenerationResponse).image == (FIXTURES / "lighthouse.jpg").read_bytes()
    *_, other = client.watch(client.picture("Маяки на закате", seed=43))
    drawn = _unpacked(other.response, ImageGenerationResponse).image
    assert drawn.startswith(b"\xff\xd8")
    assert drawn != (FIXTURES / "lighthouse.jpg").read_bytes()


@example("23-picture-refused.yaml")
def test_a_picture_is_refused_at_the_call_itself(client: Client) -> None:
    with _refused(grpc.StatusCode.INVALID_ARGUMENT) as caught:
        client.picture("Драки на улице")
    assert "terms of use" in caught.value.details()


@example("24-scenario.yaml")
def test_a_scenario_moves_from_state_to_state(client: Client) -> None:
    where = "Где мой заказ?"
    assert client.answer(where) == "Состояние заказа: его нет."
    with _refused(grpc.StatusCode.FAILED_PRECONDITION):
        client.ask("Оплати заказ")
    assert client.answer("Оформи заказ").startswith("Заказ создан")
    assert client.answer(where) == "Состояние заказа: created."
    assert client.answer("Оплати заказ") == "Оплата прошла."
    assert client.answer(where) == "Заказ передан в доставку."
    assert client.answer(where) == "Состояние заказа: shipped."


@example("25-times-and-expect.yaml")
def test_a_rule_retires_and_says_how_often_it_is_expected(client: Client) -> None:
    answers = [client.answer("Дайте купон") for _ in range(3)]
    assert answers == ["Ваш купон — ЛЕТО-2025.", "Купон вы уже получили.", "Купон вы уже получили."]
    chosen = client.emulator.sessions.default.state.chosen
    expected = {rule.name: rule.expect for rule in client.emulator.book.rules}
    assert (chosen["coupon-once"], expected["coupon-once"].exactly) == (1, 1)  # type: ignore[union-attr]
    assert (chosen["coupon-is-gone"], expected["coupon-is-gone"].at_least) == (2, 1)  # type: ignore[union-attr]


@example("26-vars-and-snippets.yaml")
def test_variables_have_defaults_and_snippets_bring_their_fields(client: Client) -> None:
    request = _request(["Куда я попал?"], True, {"model_uri": "gpt://b1gromashka/yandexgpt"})
    call = client.start(COMPLETION, request)
    messages = list(call)
    assert _texts(messages)[0] == "Вы написали"
    assert _texts(messages)[-1] == "Вы написали в магазин «Ромашка», мы рады вам."
    assert messages[-1].model_version == "07.03.2024"
    assert dict(call.initial_metadata())["x-tone"] == "polite"
    with _refused(grpc.StatusCode.UNAVAILABLE) as caught:
        client.ask("Когда распродажа?")
    assert _details(caught.value, RetryInfo).retry_delay.seconds == 5


@example("26-vars-and-snippets.yaml", environment={"SHOP_NAME": "Лютик", "SHOP_FOLDER": "b1glyutik"})
def test_variables_come_from_the_environment(client: Client) -> None:
    answer = client.answer("Куда я попал?", model_uri="gpt://b1glyutik/yandexgpt")
    assert answer == "Вы написали в магазин «Лютик», мы рады вам."


@example("27-fallback.yaml", strict=False)
def test_the_fallback_answers_what_no_rule_matches(client: Client) -> None:
    assert client.answer("Сколько будет дважды два?") == "Четыре."
    assert client.answer("Который час?").startswith("Не понял вопроса «Который час?».")


@example("27-fallback.yaml")
def test_strictness_names_the_nearest_rule_instead_of_falling_back(client: Client) -> None:
    with _refused(grpc.StatusCode.FAILED_PRECONDITION) as caught:
        client.ask("сколько будет дважды два")
    assert "fallback-knows-one-thing" in caught.value.details()


@example("28-text-from-file.yaml")
def test_a_text_from_a_file_is_filled_in(client: Client) -> None:
    answer = client.answer("Составь письмо для Анны")
    assert "«Составь письмо для Анны»" in answer
    assert "по имени Анны." in answer
    assert answer.rstrip().endswith("каталог b1gtest")


@example("29-filler.yaml")
def test_filler_has_exactly_the_asked_length(client: Client) -> None:
    messages = list(client.stream("Дай много текста"))
    assert len(messages) == 8
    assert messages[-1].usage.completion_tokens == 2001  # the end mark is one


def _delays(client: Client) -> list[float]:
    took = []
    for _ in range(5):
        began = time.monotonic()
        assert client.answer("Не спеши") == "Поспешишь — людей насмешишь."
        took.append((time.monotonic() - began) * client.emulator.config.speed)
    return took


def _lives(client: Client) -> list[int]:
    """How many seconds each of five operations takes, as it tells itself."""
    out = []
    for _ in range(5):
        *_, done = client.watch(client.begin("Не спеши"))
        assert _texts([_unpacked(done.response, CompletionResponse)]) == ["Тише едешь — дальше будешь."]
        out.append(done.modified_at.seconds - done.created_at.seconds)
    return out


@example("30-seeded-delays.yaml", speed=500)
def test_delays_differ_and_are_the_same_for_the_same_seed(client: Client) -> None:
    lives = _lives(client)
    assert len(set(lives)) > 1
    assert all(2 <= life <= 300 for life in lives)
    with _serving("30-seeded-delays.yaml", speed=500) as again:
        same = _lives(again)
    with _serving("30-seeded-delays.yaml", speed=500, seed=1) as other:
        different = _lives(other)
    assert all(abs(a - b) <= 1 for a, b in zip(lives, same, strict=True))  # instants are told in whole seconds
    assert any(abs(a - b) > 1 for a, b in zip(lives, different, strict=True))


@example("30-seeded-delays.yaml", speed=20)
def test_every_reply_waits_for_a_while_of_its_own(client: Client) -> None:
    took = _delays(client)
    assert max(took) > 2
    assert min(took) < 1


@example("31-tokens-embeddings-classes.yaml")
def test_a_text_is_measured_as_the_file_says(client: Client) -> None:
    tokens = client.start(TOKENIZE_COMPLETION, _request(["ping"], False, {}))
    assert [token.id for token in tokens.tokens[:5]] == [1, 16861, 125851, 45533, 3]
    assert (len(tokens.tokens), tokens.model_version) == (15, "07.03.2024")
    lighthouse = from_dict({"model_uri": "emb://b1g/text-search-doc", "text": "Старый маяк"}, TextEmbeddingRequest)
    with _refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as failed:
        client.start(EMBED, lighthouse)
    assert _details(failed.value, RetryInfo).retry_delay.ToMilliseconds() == 100
    vector = client.start(EMBED, lighthouse)
    assert (list(vector.embedding), vector.num_tokens) == ([0.6, 0.8, 0.0], 7)
    praise = from_dict({"model_uri": "cls://b1g/bt1", "text": "Всё отлично!"}, TextClassificationRequest)
    assert _sure(client.start(CLASSIFY, praise)) == {"похвала": 0.97, "жалоба": 0.03}
    asked = {"model_uri": "cls://b1g/yandexgpt", "task_description": "О чём?", "labels": ["спорт", "культура"]}
    match = from_dict({**asked, "text": "Матч окончен"}, FewShotTextClassificationRequest)
    assert _sure(client.start(FEW_SHOT_CLASSIFY, match)) == {"спорт": 0.9, "культура": 0.1}


def _sure(reply: Any) -> dict[str, float]:
    return {each.label: each.confidence for each in reply.predictions}


@example("33-quotas.yaml", frozen=True, strict=False)
def test_a_fourth_deferred_completion_a_minute_is_too_many_for_a_folder(client: Client) -> None:
    for _ in range(3):
        client.begin("Подумай")
    with _refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        client.begin("Подумай")
    client.emulator.clock.advance("1m")
    assert client.begin("Подумай").id


@example("33-quotas.yaml", strict=False)
def test_a_third_generation_at_once_is_told_when_to_come_again(client: Client) -> None:
    with contextlib.ExitStack() as stack:
        stall = {"text": "Сейчас...", "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}}
        client.emulator.rule(when={"question": "Стой"}, reply=stall)  # type: ignore[arg-type]
        for _ in range(2):
            stream = client.stream("Стой")
            stack.callback(stream.cancel)
            next(stream)
        with _refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as caught:
            client.ask("Привет")
    assert _details(caught.value, RetryInfo).retry_delay.seconds == 1
    (violation,) = _details(caught.value, QuotaFailure).violations
    assert violation.description.endswith("allowed 2 requests")


@example("34-datasets.yaml")
def test_datasets_are_there_from_the_start(client: Client) -> None:
    service = "/yandex.cloud.ai.dataset.v1.DatasetService/List"
    listed = client.start(service, METHODS[service].input(folder_id="b1gtest")).datasets
    told = [(d.name, d.status, d.rows, d.task_type) for d in listed]
    assert told == [
        ("questions", 3, 2, "TextToTextGenerationRequest"),
        ("demo", 3, 1, "TextToTextGeneration"),
    ]
    assert listed[1].dataset_id == "fds0000000000000demo"
    elsewhere = client.start(service, METHODS[service].input(folder_id="b1gother")).datasets
    assert [d.name for d in elsewhere] == ["questions"]


@example("35-chaos.yaml", strict=False)
def test_three_calls_in_ten_of_a_stormy_folder_fail_and_all_are_slow(client: Client) -> None:
    failed = Counter[grpc.StatusCode]()
    for _ in range(40):
        try:
            client.ask("Привет", model_uri="gpt://b1gstorm/yandexgpt")
        except grpc.RpcError as refused:
            failed[refused.code()] += 1
    assert 6 <= failed.total() <= 18
    assert failed[grpc.StatusCode.RESOURCE_EXHAUSTED] > failed[grpc.StatusCode.UNAVAILABLE] > 0
    calls = client.emulator.calls()
    assert all(call.faults[0].startswith(("slow", "storm")) for call in calls)
    assert client.answer("Привет")


@example("35-chaos.yaml", frozen=True, strict=False)
def test_an_outage_lasts_for_the_second_minute(client: Client) -> None:
    uri = {"model_uri": "gpt://b1goutage/yandexgpt"}
    assert client.ask("Привет", **uri)
    client.emulator.clock.advance("1m")
    with _refused(grpc.StatusCode.UNAVAILABLE):
        client.ask("Привет", **uri)
    client.emulator.clock.advance("1m")
    assert client.ask("Привет", **uri)


@example("35-chaos.yaml")
def test_a_shaky_stream_breaks_off_twice(client: Client) -> None:
    for n in (3, 3):
        got = []
        with _refused(grpc.StatusCode.UNAVAILABLE):
            for message in client.stream("Какая погода?"):
                got.append(message)  # noqa: PERF402 - what came before the error is looked at
        assert len(got) == n
    *_, last = client.stream("Какая погода?")
    assert last.alternatives[0].message.text == "Завтра без осадков, днём до плюс двадцати."


def test_every_example_is_run_here_and_told_in_the_readme() -> None:
    names = {path.name for path in FIXTURES.glob("*.yaml")}
    assert names == COVERED
    readme = (FIXTURES / "README.md").read_text("utf-8")
    assert [name for name in sorted(names) if f"[{name}]({name})" not in readme] == []


def test_every_example_begins_by_telling_what_it_shows() -> None:
    for path in FIXTURES.glob("*.yaml"):
        lines = path.read_text("utf-8").splitlines()
        comment = next(n for n, line in enumerate(lines) if not line.startswith("#"))
        assert 1 <= comment <= 3, path.name


def test_the_whole_folder_loads_without_a_warning_and_every_rule_can_be_reached() -> None:
    emulator = Emulator(fixtures=FIXTURES)
    assert emulator.book.files == len(COVERED)
    assert emulator.book.warnings == ()
    assert list(unreachable(emulator.book)) == []
