"""Requests that the real service would refuse are refused in its words; a lenient emulator takes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from emulator.api import BatchCompletionRequest, CompletionRequest

from .client import FOLDER, MODEL, Client, Reply, asking, choosing, classifying, drawing, embedding, tokenizing

if TYPE_CHECKING:
    from conftest import Connect, Serve

TEXT_CALLS = (
    "TextGenerationService/Completion",
    "TextGenerationAsyncService/Completion",
    "TokenizerService/TokenizeCompletion",
)
PICTURE = "ImageGenerationAsyncService/Generate"
BATCH = "TextGenerationBatchService/Completion"
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
CLIENT_ID = "6f1d2b1e-0000-4000-8000-000000000001"


def saying(role: str, text: str) -> Any:
    request = CompletionRequest(model_uri=f"gpt://{FOLDER}/yandexgpt/latest")
    request.messages.add(role=role, text=text)
    return request


def heated(temperature: float) -> Any:
    request = asking("Привет")
    request.completion_options.temperature.value = temperature
    return request


def in_session(said: str) -> str:
    prefix = f"Error in session internal_id={UUID}&request_id={UUID}&client_request_id={CLIENT_ID}&folder_id={FOLDER}: "
    return prefix + re.escape(said)


SEEN: dict[str, tuple[Any, str]] = {
    "unknown-scheme": (asking("Привет", model="http://b1g/yandexgpt"), "invalid model_uri"),
    "no-uri": (asking("Привет", model=""), "invalid model_uri"),
    "no-model": (asking("Привет", model="gpt://b1g"), "invalid model_uri"),
    "no-folder": (asking("Привет", model="gpt:///yandexgpt"), "invalid model_uri"),
    "picture-model": (asking("Привет", model="art://b1g/yandex-art"), "invalid model_uri"),
    "role": (saying("robot", "Привет"), in_session("invalid message role 'robot'")),
    "no-role": (saying("", "Привет"), in_session("invalid message role ''")),
    "empty-text": (asking(""), in_session("empty message text")),
    "long-text": (
        asking("ж" * 100_001),
        in_session("text length is 100001, which is outside the range (0, 100000]"),
    ),
}
CHOSEN: dict[str, tuple[Any, str]] = {
    "hot": (heated(1.01), r"Validation error:\ntemperature: Value must be in the range of 0 to 1"),
    "cold": (heated(-0.1), r"Validation error:\ntemperature: Value must be in the range of 0 to 1"),
    "not-a-number": (heated(float("nan")), r"Validation error:\ntemperature: Value must be in the range of 0 to 1"),
    "max-tokens-0": (asking("Привет", max_tokens=0), r"Validation error:\nmax_tokens: .+"),
    "max-tokens-negative": (asking("Привет", max_tokens=-5), r"Validation error:\nmax_tokens: .+"),
    "no-messages": (asking(), r"Validation error:\nmessages: Field is required"),
}
PICTURES: dict[str, tuple[Any, str]] = {
    "text-model": (drawing(model="gpt://b1g/yandexgpt"), "invalid model_uri"),
    "long-prompt": (drawing("ж" * 501), re.escape("Prompt positive size 501 exceeds limit (500)")),
    "mime-type": (drawing(mime_type="image/png"), r"Validation error:\nmime_type: .+"),
    "seed": (drawing(seed=-1), r"Validation error:\nseed: Value must be in the range of 0 to 9223372036854775807"),
    "no-prompt": (drawing(""), r"Validation error:\nmessages: Field is required"),
    "ratio": (drawing(aspect_ratio={"width_ratio": -1, "height_ratio": 2}), r"Validation error:\naspect_ratio: .+"),
}
BATCHES: dict[str, tuple[Any, str]] = {
    "picture-model": (
        BatchCompletionRequest(model_uri="art://b1g/yandex-art", source_dataset_id="fds1"),
        "invalid model_uri",
    ),
    "no-dataset": (
        BatchCompletionRequest(model_uri="gpt://b1g/gemma-3-12b-it"),
        r"Validation error:\nsource_dataset_id: Field is required",
    ),
}
TOKENIZER, VECTOR = "TokenizerService/Tokenize", "EmbeddingsService/TextEmbedding"
CLASSES, FEW_SHOT = "TextClassificationService/Classify", "TextClassificationService/FewShotClassify"
LONG = in_session("text length is 100001, which is outside the range (0, 100000]")
EMPTY = in_session("text length is 0, which is outside the range (0, 100000]")
LABELS = r"Validation error:\nlabels: Number of elements must be in the range of 2 to 20"
MEASURES: dict[str, tuple[str, Any, str]] = {
    "tokenize-picture-model": (TOKENIZER, tokenizing(model="art://b1g/yandex-art"), "invalid model_uri"),
    "tokenize-nothing": (TOKENIZER, tokenizing(""), EMPTY),
    "tokenize-long": (TOKENIZER, tokenizing("ж" * 100_001), LONG),
    "embed-text-model": (VECTOR, embedding(model=MODEL), "invalid model_uri"),
    "embed-nothing": (VECTOR, embedding(""), EMPTY),
    "embed-long": (VECTOR, embedding("ж" * 100_001), LONG),
    "embed-dim-0": (VECTOR, embedding(dim=0), r"Validation error:\ndim: Value must be in the range of 1 to 4096"),
    "embed-dim-big": (VECTOR, embedding(dim=2**62), r"Validation error:\ndim: Value must be in the range of 1 to 4096"),
    "classify-text-model": (CLASSES, classifying(model=MODEL), "invalid model_uri"),
    "classify-nothing": (CLASSES, classifying(""), EMPTY),
    "choose-one-label": (FEW_SHOT, choosing("Привет", "a"), LABELS),
    "choose-many-labels": (FEW_SHOT, choosing("Привет", *map(str, range(21))), LABELS),
    "choose-empty-label": (FEW_SHOT, choosing("Привет", "a", ""), r"Validation error:\nlabels: Field is required"),
    "choose-no-task": (
        FEW_SHOT,
        choosing("Привет", "a", "b", task=""),
        r"Validation error:\ntask_description: Field is required",
    ),
    "choose-empty-sample": (
        FEW_SHOT,
        choosing("Привет", "a", "b", a=""),
        r"Validation error:\nsamples: Field is required",
    ),
    "choose-nothing": (FEW_SHOT, choosing("", "a", "b"), EMPTY),
}
TEXTS = {**SEEN, **CHOSEN}


def ask(client: Client, method: str, request: Any) -> Reply:
    return client.call(method, request, metadata=[("x-client-request-id", CLIENT_ID)])


def refused(reply: Reply, wording: str) -> None:
    assert reply.code == "INVALID_ARGUMENT"
    assert re.fullmatch(wording, reply.text), reply.text
    assert reply.messages == []


@pytest.mark.parametrize("method", TEXT_CALLS)
@pytest.mark.parametrize("what", TEXTS)
def test_a_completion_that_the_service_would_not_take_is_refused(
    serve: Serve, connect: Connect, method: str, what: str
) -> None:
    request, wording = TEXTS[what]
    refused(ask(connect(serve()), method, request), wording)


@pytest.mark.parametrize("what", PICTURES)
def test_a_picture_that_the_service_would_not_draw_is_refused(serve: Serve, connect: Connect, what: str) -> None:
    request, wording = PICTURES[what]
    refused(ask(connect(serve()), PICTURE, request), wording)


@pytest.mark.parametrize("what", BATCHES)
def test_a_batch_that_the_service_would_not_run_is_refused(serve: Serve, connect: Connect, what: str) -> None:
    request, wording = BATCHES[what]
    refused(ask(connect(serve()), BATCH, request), wording)


@pytest.mark.parametrize("what", MEASURES)
def test_a_text_that_the_service_would_not_measure_is_refused(serve: Serve, connect: Connect, what: str) -> None:
    method, request, wording = MEASURES[what]
    refused(ask(connect(serve()), method, request), wording)


def test_a_prompt_that_is_too_long_to_be_answered_can_be_measured(serve: Serve, connect: Connect) -> None:
    reply = connect(serve()).call("TokenizerService/TokenizeCompletion", asking("кот " * 20_000, "да", "кот " * 20_000))
    assert len(reply.only.tokens) > 32_768


def test_more_tokens_than_the_model_takes_are_refused(serve: Serve, connect: Connect) -> None:
    request = asking("кот " * 20_000, "да", "кот " * 20_000)
    reply = ask(connect(serve()), TEXT_CALLS[0], request)
    refused(reply, in_session("number of input tokens must be no more than 32768, got ") + r"\d+")
    assert int(reply.text.rpartition(" ")[2]) > 32_768


def test_a_session_error_names_the_request_id_that_the_headers_carry(serve: Serve, connect: Connect) -> None:
    reply = ask(connect(serve()), TEXT_CALLS[0], asking(""))
    assert f"&request_id={reply.headers['x-request-id']}&" in reply.text


def test_a_lenient_emulator_takes_what_the_service_would_refuse(serve: Serve, connect: Connect) -> None:
    client = connect(serve(lenient=True))
    asked = [(method, *case) for method in TEXT_CALLS for case in TEXTS.values()]
    asked += [(PICTURE, *case) for case in PICTURES.values()] + [(BATCH, *case) for case in BATCHES.values()]
    asked += MEASURES.values()
    for method, request, wording in asked:
        assert ask(client, method, request).code == "OK", wording


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
def test_both_ends_of_the_temperature_are_taken(serve: Serve, connect: Connect, temperature: float) -> None:
    assert connect(serve()).complete(heated(temperature)).code == "OK"


@pytest.mark.parametrize(
    "uri",
    ["gpt://b1g/yandexgpt", "gpt://b1g/yandexgpt/rc", "gpt://b1g/yandexgpt-lite/latest@tuned1", "ds://b1g/bt1abc"],
)
def test_every_form_of_a_text_models_uri_is_taken(serve: Serve, connect: Connect, uri: str) -> None:
    assert connect(serve()).complete(asking("Привет", model=uri)).code == "OK"


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (TOKENIZER, tokenizing(model="ds://b1g/bt1abc")),
        (VECTOR, embedding(model="emb://b1g/text-search-query")),
        (VECTOR, embedding(model="emb://b1g/text-embeddings/latest@tuned1", dim=4096)),
        (CLASSES, classifying(model="cls://b1g/bt14f74au2ap3q0f9ou4")),
        (CLASSES, classifying(model="cls://b1g/yandexgpt-lite/latest@tuned1")),
        (FEW_SHOT, choosing("Привет", *map(str, range(20)))),
    ],
)
def test_every_form_of_another_models_uri_is_taken(serve: Serve, connect: Connect, method: str, request_: Any) -> None:
    assert connect(serve()).call(method, request_).code == "OK"


def test_the_longest_text_and_prompt_are_taken(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    assert client.complete(asking("ж" * 100_000, model="gpt://b1g/gemma-3-12b-it")).code == "OK"
    assert client.call(PICTURE, drawing("ж" * 500)).code == "OK"


def test_a_refused_request_moves_no_rule(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"replies": [{"text": "первый"}, {"text": "второй"}]}]})
    client = connect(emulator)
    assert client.complete(asking("")).code == "INVALID_ARGUMENT"
    assert client.complete(asking("Привет")).only.alternatives[0].message.text == "первый"
