"""TokenizerService, EmbeddingsService and TextClassificationService as they are on the wire, and in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from emulator.api import CompletionRequest

from .client import asking, choosing, classifying, embedding, tokenizing

if TYPE_CHECKING:
    from conftest import Connect, Serve

CALLS: dict[str, tuple[str, Any]] = {
    "tokenize": ("TokenizerService/Tokenize", tokenizing("Ну, привет")),
    "tokenize_completion": ("TokenizerService/TokenizeCompletion", asking("Ну, привет")),
    "text_embedding": ("EmbeddingsService/TextEmbedding", embedding("Ну, привет")),
    "classify": ("TextClassificationService/Classify", classifying("Ну, привет")),
    "few_shot_classify": ("TextClassificationService/FewShotClassify", choosing("Ну, привет", "да", "нет")),
}


@pytest.mark.parametrize("kind", CALLS)
def test_with_no_rule_each_is_answered_the_same_each_time(serve: Serve, connect: Connect, kind: str) -> None:
    method, request = CALLS[kind]
    first, second = (connect(serve(seed=seed)).call(method, request) for seed in (0, 7))
    assert first.only.SerializeToString(deterministic=True) == second.only.SerializeToString(deterministic=True)
    assert first.only.model_version == "09.02.2025"
    assert first.headers["x-request-id"]


@pytest.mark.parametrize("kind", CALLS)
def test_the_journal_tells_what_was_asked_and_explain_how_to_script_it(
    serve: Serve, connect: Connect, kind: str
) -> None:
    method, request = CALLS[kind]
    emulator = serve()
    sent = connect(emulator).call(method, request).only
    (call,) = emulator.calls(kind=kind)
    assert (call.method.endswith(method), call.about, call.rule, call.unmatched) == (
        True,
        "Ну, привет",
        "default",
        True,
    )
    assert [reply.SerializeToString() for reply in call.replies] == [sent.SerializeToString()]
    told = emulator.explain(call.id)
    assert f"there is no rule for {kind}" in told
    pasted = yaml.safe_load(told[told.index("rules:") :])
    emulator.add(pasted)
    connect(emulator).call(method, request)
    assert not emulator.calls(kind=kind)[-1].unmatched
    key = "question" if kind == "tokenize_completion" else "text"
    emulator.assert_called(2, kind=kind, when={key: {"contains": "ПРИВЕТ"}})


def test_a_text_costs_a_token_more_than_in_a_prompt_of_its_own(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    for text in ("hello", "Ну, привет", "раз\nдва"):
        told = client.call("TokenizerService/Tokenize", tokenizing(text)).only.tokens
        prompt = client.call("TokenizerService/TokenizeCompletion", asking(text)).only.tokens
        assert len(prompt) == len(told) - 1 + 14
        assert [token.text for token in told[1:]] == [token.text for token in prompt[3 : 3 + len(told) - 1]]
        assert client.call("EmbeddingsService/TextEmbedding", embedding(text)).only.num_tokens == len(told)
        assert client.call("TextClassificationService/Classify", classifying(text)).only.input_tokens == len(told)


def test_the_version_is_that_of_the_models_completion(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    for branch in ("latest", "rc", "deprecated"):
        request = asking("Привет", model=f"gpt://b1gtest/yandexgpt/{branch}")
        told = client.call("TokenizerService/TokenizeCompletion", request).only.model_version
        assert told == client.complete(request).only.model_version


def test_delays_headers_sequences_and_states_work_as_elsewhere(serve: Serve, connect: Connect) -> None:
    rules = [
        {
            "call": "text_embedding",
            "when": {"state": {"warm": {"present": False}}},
            "reply": {"error": {"code": "UNAVAILABLE", "retry_after": "2s"}, "trailers": {"x-t": "1"}},
            "then": {"state": {"warm": "yes"}},
        },
        {
            "call": "text_embedding",
            "reply": {"embedding": [1], "delay": "2s", "headers": {"x-h": "{{ text | upper | length }}"}},
            "times": 1,
        },
    ]
    emulator = serve({"rules": rules}, speed=1000)
    client = connect(emulator)
    failed, given, default = (client.call("EmbeddingsService/TextEmbedding", embedding("abc")) for _ in range(3))
    assert (failed.code, failed.trailers["x-t"]) == ("UNAVAILABLE", "1")
    assert (list(given.only.embedding), given.headers["x-h"]) == ([1], "3")
    assert len(default.only.embedding) == 256
    call = emulator.calls(code="OK")[0]
    assert (call.sent_at[0] - call.began_at).total_seconds() >= 2


def test_a_note_is_in_the_journal(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"call": "few_shot_classify", "reply": {"predictions": {"да": 0.2}}}]})
    connect(emulator).call(*CALLS["few_shot_classify"])
    (call,) = emulator.calls()
    assert call.notes == ("sent confidences that add up to 0.2, and not to 1",)


def test_a_retried_count_does_no_harm_and_a_retried_embedding_may_cost_twice(serve: Serve, connect: Connect) -> None:
    error = {"reply": {"error": "UNAVAILABLE"}}
    emulator = serve({"rules": [{"call": list(CALLS), **error}]})
    client = connect(emulator)
    for kind in ("tokenize", "text_embedding"):
        for _ in range(2):
            client.call(*CALLS[kind])
    remarks = [call.behaviour for call in emulator.calls()]
    assert remarks[1] == ("a retry of c1",)
    assert remarks[3] == ("a retry of c3 without an idempotency-key: the work may be done twice",)


def test_a_lenient_emulator_makes_the_best_of_anything(serve: Serve, connect: Connect) -> None:
    client = connect(serve(lenient=True))
    assert len(client.call("EmbeddingsService/TextEmbedding", embedding("", dim=2**60)).only.embedding) == 4096
    assert len(client.call("EmbeddingsService/TextEmbedding", embedding("", dim=-1)).only.embedding) == 1
    assert not client.call("TextClassificationService/FewShotClassify", choosing("")).only.predictions
    assert [token.text for token in client.call("TokenizerService/Tokenize", tokenizing("")).only.tokens] == ["<s>"]
    nothing = client.call("TokenizerService/TokenizeCompletion", CompletionRequest()).only
    assert len(nothing.tokens) == 10
    many = choosing("раз", *map(str, range(3000)))
    assert len(client.call("TextClassificationService/FewShotClassify", many).only.predictions) == 3000


def test_a_prompt_without_end_is_refused_and_the_server_serves_on(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    request = asking(*["." * 50_000] * 5)
    reply = client.call("TokenizerService/TokenizeCompletion", request)
    assert reply.code == "FAILED_PRECONDITION"
    assert "which is more than the 200000 that one reply holds" in reply.text
    assert client.call(*CALLS["tokenize"]).code == "OK"
