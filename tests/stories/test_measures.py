"""Tokens, embeddings and classes through the official SDK, unmodified, over a socket: synchronous and asynchronous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from yandex_ai_studio_sdk import AsyncAIStudio
from yandex_ai_studio_sdk.exceptions import AioRpcError

from emulator import Emulator

from .conftest import FOLDER, QUICK

if TYPE_CHECKING:
    from conftest import Serve

    from .conftest import Studio

TOPICS: dict[str, Any] = {
    "task_description": "О чём эта новость?",
    "labels": ["культура", "технологии", "спорт"],
    "samples": [
        {"text": "В музее открылась выставка", "label": "культура"},
        {"text": "Матч закончился вничью", "label": "спорт"},
    ],
}
TUNED = f"cls://{FOLDER}/bt14f74au2ap3q0f9ou4"


def cosine(one: Any, other: Any) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# -- with no rules at all


def test_ping_is_tokenized_as_it_was_recorded(serve: Serve, studio: Studio) -> None:
    tokens = studio(serve()).models.completions("yandexgpt").tokenize("ping")
    assert len(tokens) == 15
    assert [(token.id, token.text) for token in tokens if token.special] == [
        (1, "<s>"),
        (3, "[NL]"),
        (3, "[NL]"),
        (4, "[SEP]"),
    ]
    assert tokens[3].text == "▁ping"


@pytest.mark.parametrize(
    "messages",
    [
        "hello",
        "Сколько будет два плюс два? Ответь\nодним словом.",
        [
            {"role": "system", "text": "Ты кассир"},
            {"role": "assistant", "text": "Да?"},
            {"role": "user", "text": "+20"},
        ],
    ],
)
def test_there_are_as_many_tokens_as_the_completion_counts(serve: Serve, studio: Studio, messages: Any) -> None:
    model = studio(serve()).models.completions("yandexgpt")
    assert len(model.tokenize(messages)) == model.run(messages).usage.input_text_tokens


def test_tools_are_counted_alike(serve: Serve, studio: Studio) -> None:
    sdk = studio(serve())
    weather = sdk.tools.function(
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        name="get_weather",
        description="Tells the weather",
    )
    model = sdk.models.completions("yandexgpt").configure(tools=weather)
    assert len(model.tokenize("погода?")) == model.run("погода?").usage.input_text_tokens


def test_a_query_is_nearest_to_the_document_with_its_words(serve: Serve, studio: Studio) -> None:
    sdk = studio(serve())
    documents = ["Как вернуть товар в магазин", "Доставка курьером по Москве", "Способы оплаты заказа"]
    vectors = [sdk.models.text_embeddings("doc").run(text) for text in documents]
    assert {len(vector) for vector in vectors} == {256}
    assert cosine(vectors[0], vectors[0]) == pytest.approx(1)
    asked = sdk.models.text_embeddings("query").run("когда доставят? нужна доставка курьера")
    assert max(range(3), key=lambda n: cosine(asked, vectors[n])) == 1
    assert asked.num_tokens > 5
    assert asked.model_version


def test_documents_and_queries_share_one_space(serve: Serve, studio: Studio) -> None:
    models = studio(serve()).models
    assert models.text_embeddings("doc").run("кот").embedding == models.text_embeddings("query").run("кот").embedding


def test_a_vector_has_the_dimensions_that_were_asked_for(serve: Serve, studio: Studio) -> None:
    model = studio(serve()).models.text_embeddings("doc")
    assert len(model.configure(dimensions=64).run("кот")) == 64
    assert len(model.run("кот", dimensions=1024)) == 1024
    with pytest.raises(AioRpcError, match="dim: Value must be in the range of 1 to 4096"):
        model.run("кот", dimensions=0)


def test_a_few_samples_decide_the_class(serve: Serve, studio: Studio) -> None:
    model = studio(serve()).models.text_classifiers("yandexgpt").configure(**TOPICS)
    result = model.run("Матч перенесли из-за дождя")
    assert [each.label for each in result] == TOPICS["labels"]
    assert sum(each.confidence for each in result) == pytest.approx(1)
    assert max(result, key=lambda each: each.confidence).label == "спорт"
    assert result.input_tokens > 10
    zero_shot = model.configure(samples=None).run("Спорт нужен всем")
    assert max(zero_shot, key=lambda each: each.confidence).label == "спорт"


def test_a_tuned_classifier_has_labels_of_its_own(serve: Serve, studio: Studio) -> None:
    result = studio(serve()).models.text_classifiers(TUNED).run("Отлично, спасибо!")
    assert {each.label for each in result} == {"positive", "neutral", "negative"}
    assert max(result, key=lambda each: each.confidence).label == "positive"


def test_what_the_service_would_refuse_is_refused_and_not_retried(serve: Serve, studio: Studio) -> None:
    emulator = serve()
    models = studio(emulator).models
    with pytest.raises(AioRpcError, match="text length is 0, which is outside the range"):
        models.text_embeddings("doc").run("")
    with pytest.raises(AioRpcError, match="labels: Number of elements must be in the range of 2 to 20"):
        models.text_classifiers("yandexgpt").configure(task_description="?", labels=["один"]).run("текст")
    with pytest.raises(AioRpcError, match="invalid model_uri"):
        models.text_embeddings("gpt://b1g/yandexgpt").run("текст")
    assert len(emulator.calls(code="INVALID_ARGUMENT")) == 3


# -- by rules


def test_everything_is_what_the_rules_say(serve: Serve, studio: Studio) -> None:
    rules = [
        {"when": {"question": "ping"}, "reply": {"tokens": ["<s>", {"text": "▁ping", "id": 7}]}},
        {
            "when": {"text": {"contains": "кот"}, "model": "text-search-query"},
            "reply": {"embedding": [0.6, 0.8], "usage": {"input_text_tokens": 3}, "model_version": "1"},
        },
        {"call": "classify", "when": {"model": "bt14*"}, "reply": {"predictions": {"похвала": 0.9, "жалоба": 0.8}}},
        {"when": {"labels": ["спорт"], "task": {"contains": "новость"}}, "reply": {"predictions": {"спорт": 1}}},
    ]
    models = studio(serve({"rules": rules}, strict=True)).models
    assert [(t.id, t.text) for t in models.completions("yandexgpt").tokenize("ping")] == [(1, "<s>"), (7, "▁ping")]
    vector = models.text_embeddings("query").run("Кот")
    assert (vector.embedding, vector.num_tokens, vector.model_version) == ((0.6, 0.8), 3, "1")
    assert {p.label: p.confidence for p in models.text_classifiers(TUNED).run("!")} == {"похвала": 0.9, "жалоба": 0.8}
    assert [p.label for p in models.text_classifiers("yandexgpt").configure(**TOPICS).run("?")] == ["спорт"]
    with pytest.raises(AioRpcError, match="no rule matches this text_embedding; the nearest is"):
        models.text_embeddings("doc").run("Кот")


def test_a_call_that_fails_twice_is_retried_until_it_succeeds(serve: Serve, studio: Studio) -> None:
    calls = ["tokenize_completion", "text_embedding", "classify", "few_shot_classify"]
    failing = [{"error": "UNAVAILABLE"}, {"error": "RESOURCE_EXHAUSTED"}, {"model_version": "наконец"}]
    emulator = serve({"rules": [{"call": call, "replies": failing} for call in calls]})
    models = studio(emulator).models
    assert len(models.completions("yandexgpt").tokenize("ping")) == 15
    assert models.text_embeddings("doc").run("кот").model_version == "наконец"
    assert models.text_classifiers(TUNED).run("кот").model_version == "наконец"
    assert models.text_classifiers("yandexgpt").configure(**TOPICS).run("кот").model_version == "наконец"
    for call in calls:
        codes = [each.code for each in emulator.calls(kind=call)]
        assert codes == ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "OK"]
        assert emulator.calls(kind=call, when={"attempt": 3})


def test_an_error_that_is_not_retried_raises(serve: Serve, studio: Studio) -> None:
    error = {"code": "PERMISSION_DENIED", "message": "{{ text }}: нельзя"}
    emulator = serve({"rules": [{"when": {"text": {"present": True}}, "reply": {"error": error}}]})
    with pytest.raises(AioRpcError, match="кот: нельзя"):
        studio(emulator).models.text_embeddings("doc").run("кот")
    assert len(emulator.calls(kind="text_embedding")) == 1


async def test_the_asynchronous_sdk_gets_the_same() -> None:
    rules = [{"when": {"text": {"word": "кот*"}}, "replies": [{"error": "UNAVAILABLE"}, {"embedding": [1.0]}]}]
    rules[0]["call"] = "text_embedding"
    async with Emulator({"rules": rules}) as emulator:
        sdk = AsyncAIStudio(endpoint=emulator.target, verify=False, auth="key", folder_id=FOLDER, retry_policy=QUICK)
        assert len(await sdk.models.completions("yandexgpt").tokenize("ping")) == 15
        assert (await sdk.models.text_embeddings("doc").run("Где коты?")).embedding == (1.0,)
        assert len(await sdk.models.text_embeddings("query").run("пёс", dimensions=8)) == 8
        few = await sdk.models.text_classifiers("yandexgpt").configure(**TOPICS).run("В музее выставка")
        assert max(few, key=lambda each: each.confidence).label == "культура"
        assert len(await sdk.models.text_classifiers(TUNED).run("да")) == 3
        kinds = [call.kind for call in emulator.calls() if call.kind]
        assert kinds == ["tokenize_completion", *["text_embedding"] * 3, "few_shot_classify", "classify"]
