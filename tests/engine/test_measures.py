"""Rules for tokens, vectors and classes: which calls they answer, what they see, and what is no rule."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from wire.client import asking, choosing, classifying, embedding, tokenizing

from emulator.calls import ALL_CALLS, COMPLETIONS, MEASURES, TEXTS
from emulator.engine.book import load
from emulator.engine.choose import State, choose
from emulator.engine.explain import paste, short, story
from emulator.errors import FixtureError
from emulator.rules.conditions import FIELDS
from emulator.rules.model import When
from emulator.rules.subject import CONTEXT_NAMES, Context, Subject
from emulator.seed import Seed

from .asked import Session, asked, drawn, of, rules

SUBJECTS: dict[str, Subject] = {
    "tokenize": of("tokenize", tokenizing("Ну, привет")),
    "tokenize_completion": of("tokenize_completion", asking("Ну, привет")),
    "text_embedding": of("text_embedding", embedding("Ну, привет", dim=3)),
    "classify": of("classify", classifying("Ну, привет")),
    "few_shot_classify": of("few_shot_classify", choosing("Ну, привет", "да", "нет", да="ага")),
}


def calls_of(**rule: Any) -> frozenset[str]:
    (made,) = rules(rule).rules
    return made.calls


def mistake(**rule: Any) -> str:
    with pytest.raises(FixtureError) as refused:
        rules(rule)
    return "\n".join(map(str, refused.value.mistakes))


# -- which calls


def test_every_call_about_a_text_is_here() -> None:
    assert SUBJECTS.keys() == MEASURES


@pytest.mark.parametrize(
    "rule",
    [
        {"reply": {"error": "ABORTED"}},
        {"reply": {"model_version": "1"}},
        {"then": {"state": {"a": "b"}}},
        {"when": {"question": "a"}, "reply": {"error": "ABORTED"}},
        {"when": {"folder": "a", "model": "b", "metadata": {"x": "y"}}, "reply": {"delay": "1s"}},
        {"when": {"request": {"model_uri": "a"}}, "reply": {"error": "ABORTED"}},
        {"reply": {"message": {"model_version": "{{ model }}"}}},
        {"reply": {"message": {}}},
        {"reply": {"usage": {"input_text_tokens": 3}}},
    ],
)
def test_a_rule_that_fits_completions_is_for_those_alone(rule: Any) -> None:
    assert calls_of(**rule) <= COMPLETIONS


@pytest.mark.parametrize(
    ("rule", "calls"),
    [
        ({"reply": {"tokens": ["a"]}}, {"tokenize", "tokenize_completion"}),
        ({"when": {"question": "a"}, "reply": {"tokens": ["a"]}}, {"tokenize_completion"}),
        ({"when": {"text": "a"}, "reply": {"tokens": ["a"]}}, {"tokenize"}),
        ({"reply": {"embedding": [1]}}, {"text_embedding"}),
        ({"when": {"dim": 3}, "reply": {"error": "ABORTED"}}, {"text_embedding"}),
        ({"reply": {"predictions": {"a": 1}}}, {"classify", "few_shot_classify"}),
        ({"when": {"labels": ["a"]}, "reply": {"predictions": {"a": 1}}}, {"few_shot_classify"}),
        ({"when": {"text": "a"}, "reply": {"error": "ABORTED"}}, TEXTS),
        ({"when": {"request": {"text": "a"}}, "reply": {"error": "ABORTED"}}, TEXTS),
        ({"reply": {"message": {"predictions": [{"label": "a"}]}}}, {"classify", "few_shot_classify"}),
        ({"reply": {"message": {"embedding": [1, 2]}}}, {"text_embedding"}),
        (
            {"call": ["text_embedding", "classify"], "reply": {"usage": {"input_text_tokens": 3}}},
            {"text_embedding", "classify"},
        ),
    ],
)
def test_a_rule_that_fits_no_completion_is_for_what_it_fits(rule: Any, calls: Any) -> None:
    assert calls_of(**rule) == calls


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            {"call": "text_embedding", "reply": {"text": "a"}},
            "with text; that fits batch_row, completion, completion_async, and text_embedding takes embedding",
        ),
        ({"call": "classify", "reply": {"json": {"a": 1}}}, "classify takes predictions"),
        (
            {"call": "tokenize", "reply": {"embedding": [1]}},
            "with embedding; that fits text_embedding, and tokenize takes tokens",
        ),
        ({"when": {"text": "a"}, "reply": {"text": "a"}}, "what is said in a completion is question"),
        ({"when": {"labels": ["a"]}, "reply": {"embedding": [1]}}, "few_shot_classify against text_embedding"),
        ({"call": "tokenize", "when": {"question": "a"}, "reply": {"tokens": []}}, "tokenize has no question"),
        (
            {"call": "classify", "when": {"labels": ["a"]}, "reply": {"predictions": {}}},
            "classify has no labels; that is there in few_shot_classify",
        ),
        ({"reply": {"tokens": ["a"], "text": "a"}}, "a reply is one thing: leave out either text or tokens"),
        ({"reply": {"embedding": []}}, "reply.embedding: a vector without numbers compares with nothing"),
        ({"reply": {"embedding": [1, float("inf")]}}, "reply.embedding[1]: needs a number"),
        ({"reply": {"embedding": ["a"]}}, "needs a number"),
        ({"reply": {"predictions": {"a": float("nan")}}}, "reply.predictions.a"),
        ({"reply": {"tokens": ["a"], "usage": {"input_text_tokens": 1}}}, "the tokens themselves are the count"),
        (
            {"reply": {"embedding": [1], "usage": {"completion_tokens": 1}}},
            "tells input_text_tokens and no other count",
        ),
        ({"reply": {"predictions": {"a": 1}, "stream": {"tokens": 1}}}, "a reply of predictions is not streamed"),
        ({"reply": {"embedding": [1], "status": "FINAL"}}, "embedding has no alternative to give a status to"),
        (
            {"call": "text_embedding", "reply": {"embedding": [1]}, "operation": {"done_after": "1s"}},
            "answers at once and has no operation",
        ),
        ({"reply": {"tokens": [{"id": 1}]}}, "text"),
        ({"text": "a", "reply": {"tokens": []}}, "belongs under `reply`"),
    ],
)
def test_what_does_not_go_together_is_told_with_a_remedy(rule: Any, told: str) -> None:
    assert told in mistake(**rule)


def test_every_condition_is_for_some_call_and_reads_from_each_that_has_it() -> None:
    assert FIELDS.keys() <= set(When.__struct_fields__)
    for name, (_, fits) in FIELDS.items():
        assert fits <= ALL_CALLS
        for call in fits & SUBJECTS.keys():
            getattr(SUBJECTS[call], name)


# -- what is seen and said


@pytest.mark.parametrize(
    ("call", "when"),
    [
        *(
            (call, {"text": {"word": "привет"}, "model": "*", "folder": "b1gtest", "attempt": 1})
            for call in sorted(TEXTS - {"classify"})
        ),
        ("classify", {"text": {"contains": "ПРИВЕТ"}, "model": "bt1*"}),
        ("text_embedding", {"dim": {"at_most": 3}, "request": {"dim": 3}}),
        ("few_shot_classify", {"labels": ["да"], "task": {"contains": "текст"}, "request": {"samples.0.label": "да"}}),
        ("few_shot_classify", {"labels": {"at_least": 2, "contains": "ДА"}}),
        (
            "tokenize_completion",
            {"question": "Ну, привет", "turn": 1, "options": {"stream": False}, "tools": {"at_most": 0}},
        ),
        ("tokenize_completion", {"any_message": {"contains": "привет"}, "stream": False}),
    ],
)
def test_conditions_see_what_the_call_has(call: str, when: Any) -> None:
    play, _ = choose(rules({"name": "it", "call": call, "when": when, "reply": {}}), State(), SUBJECTS[call], Seed(0))
    assert play.rule == "it"


def test_absent_is_absent() -> None:
    assert of("text_embedding", embedding()).dim is None
    assert of("few_shot_classify", choosing("a", task="")).task is None
    assert asked("a").text is None


@pytest.mark.parametrize("call", SUBJECTS)
def test_templates_may_name_everything_for_every_call(call: str) -> None:
    context = Context(SUBJECTS[call], {}, 1)
    seen = {name: context[name] for name in CONTEXT_NAMES}
    assert seen["text"] == ("" if call == "tokenize_completion" else "Ну, привет")
    assert seen["question"] == ("Ну, привет" if call == "tokenize_completion" else "")
    assert seen["labels"] == (["да", "нет"] if call == "few_shot_classify" else [])
    assert seen["task"] == ("О чём текст?" if call == "few_shot_classify" else "")
    assert seen["dim"] == (3 if call == "text_embedding" else "")


def test_templates_in_a_raw_message_are_filled_in() -> None:
    book = rules(
        {"call": "classify", "reply": {"message": {"predictions": [{"label": "{{ text }}", "confidence": 1}]}}}
    )
    play, _ = choose(book, State(), SUBJECTS["classify"], Seed(0))
    assert play.final().predictions[0].label == "Ну, привет"


def test_tokens_are_sent_as_written() -> None:
    book = rules({"reply": {"tokens": ["<s>", "{{ a }}", {"text": "b", "id": 0, "special": True}]}})
    play, _ = choose(book, State(), SUBJECTS["tokenize"], Seed(0))
    first, second, third = play.final().tokens
    assert (first.id, first.special) == (1, True)
    assert (second.text, second.special) == ("{{ a }}", False)
    assert (third.id, third.text, third.special) == (0, "b", True)


@pytest.mark.parametrize(
    ("call", "reply", "note"),
    [
        ("text_embedding", {"embedding": [1, 0]}, "sent 2 numbers although dim is 3"),
        ("text_embedding", {"embedding": [1, 0, 0]}, ""),
        (
            "few_shot_classify",
            {"predictions": {"да": 0.5, "нет": 0.1}},
            "sent confidences that add up to 0.6, and not to 1",
        ),
        ("few_shot_classify", {"predictions": {"да": 0.51, "нет": 0.5}}, ""),
        (
            "few_shot_classify",
            {"predictions": {"да": 0.5, "может": 0.5}},
            "predicted может, which is none of the labels",
        ),
        ("classify", {"predictions": {"a": 0.9, "b": 0.9}}, ""),
        (
            "classify",
            {"predictions": {"a": 1.5}},
            "sent a confidence of 1.5 for a, which is outside the range of 0 to 1",
        ),
    ],
)
def test_a_note_tells_what_the_request_did_not_ask_for(call: str, reply: Any, note: str) -> None:
    play, _ = choose(rules({"call": call, "reply": reply}), State(), SUBJECTS[call], Seed(0))
    assert play.notes == ([note] if note else [])


def test_a_default_reply_takes_the_version_and_the_count_it_is_given() -> None:
    book = rules({"call": sorted(MEASURES), "reply": {"model_version": "1"}})
    assert {choose(book, State(), subject, Seed(0))[0].final().model_version for subject in SUBJECTS.values()} == {"1"}
    book = rules({"call": "classify", "reply": {"usage": {"input_text_tokens": 77}}})
    assert choose(book, State(), SUBJECTS["classify"], Seed(0))[0].final().input_tokens == 77


def test_defaults_of_a_file_and_snippets_hold_here_too() -> None:
    book = rules(
        {"call": "text_embedding", "reply": {"use": "vector"}},
        snippets={"vector": {"embedding": [0.6, 0.8]}},
        defaults={"model_version": "7", "stream": {"tokens": 3}, "usage": {"input_text_tokens": 9}},
    )
    final = choose(book, State(), SUBJECTS["text_embedding"], Seed(0))[0].final()
    assert (list(final.embedding), final.num_tokens, final.model_version) == ([0.6, 0.8], 9, "7")


def test_a_default_does_not_depend_on_the_seed() -> None:
    for subject in SUBJECTS.values():
        plays = [choose(load([]), State(), subject, Seed(n))[0] for n in (0, 1)]
        assert plays[0].final() == plays[1].final()


def test_a_sequence_counts_by_question_or_by_request() -> None:
    twice = {"per": "question", "replies": [{"error": "ABORTED"}, {"model_version": "1"}]}
    session = Session(rules({"call": "text_embedding", **twice}))
    plays = [session.play(of("text_embedding", embedding(text))) for text in ("a", "b", "a")]
    assert [play.failure is None for play in plays] == [False, False, True]
    session = Session(rules({"call": "tokenize_completion", **twice}))
    plays = [session.play(of("tokenize_completion", asking(*texts))) for texts in (["a"], ["b", "c", "a"])]
    assert [play.failure is None for play in plays] == [False, True]


def test_a_fallback_of_text_is_for_completions_and_one_of_error_for_all() -> None:
    book = load([{"fallback": {"text": "a"}}])
    assert {choose(book, State(), subject, Seed(0))[0].rule for subject in SUBJECTS.values()} == {"default"}
    book = load([{"fallback": {"error": "ABORTED"}}])
    assert {choose(book, State(), subject, Seed(0))[0].rule for subject in SUBJECTS.values()} == {"fallback"}


def test_a_prompt_of_more_tokens_than_a_reply_holds_fails_and_says_so() -> None:
    play, _ = choose(load([]), State(), of("tokenize_completion", asking("." * 200_000)), Seed(0))
    assert play.failure is not None
    assert "more than the 200000 that one reply holds" in play.failure.message


# -- explained


@pytest.mark.parametrize("call", SUBJECTS)
def test_the_rule_to_paste_matches_the_request_and_can_answer_it(call: str) -> None:
    subject = SUBJECTS[call]
    book = load([yaml.safe_load(paste(subject))])
    play, _ = choose(book, State(), subject, Seed(0))
    assert not play.unmatched
    assert play.final() is not None
    assert [rule.calls for rule in book.rules] == [{call}]


def test_near_misses_tell_what_differs() -> None:
    book = rules({"name": "near", "when": {"text": "привет"}, "reply": {"embedding": [1]}})
    told = short(book, State(), SUBJECTS["text_embedding"], "c1")
    assert "no rule matches this text_embedding; the nearest is near" in told
    assert "it contains it" in told
    assert story(book, State(), SUBJECTS["text_embedding"]).startswith(
        'text_embedding: text "Ну, привет", model text-search-doc\n'
    )
    told = short(book, State(), SUBJECTS["classify"], "c1")
    assert "there is no rule for it (the 1 rule there is for other calls)" in told


def test_pictures_are_answered_as_before() -> None:
    assert calls_of(when={"prompt": "кот"}, reply={"error": "ABORTED"}) == {"generate_image"}
    play, _ = choose(rules({"when": {"prompt": "кот"}, "reply": {"error": "ABORTED"}}), State(), drawn(), Seed(0))
    assert play.failure is not None
