"""Answers that are kept change nothing: any history is the same with and without them."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from wire.client import asking, choosing, embedding, path, tokenizing

from emulator.engine.book import load
from emulator.engine.lasting import Kept
from emulator.seed import Seed
from emulator.sessions import Session

from .served import Served, check_accounts

NOON = "2026-01-31T12:00:00Z"
QUESTIONS = ("раз", "вот", "поток", "по счёту", "кто", "ход", "иное", "")
CALLS = [
    *(
        ("TextGenerationService/Completion", asking(text, stream=stream))
        for text in QUESTIONS
        for stream in (False, True)
    ),
    ("TextGenerationService/Completion", asking("раз", model="gpt:///yandexgpt")),
    ("TextGenerationService/Completion", asking("раз", model="никакая")),
    ("TokenizerService/Tokenize", tokenizing("раз")),
    ("TokenizerService/TokenizeCompletion", asking("раз")),
    ("EmbeddingsService/TextEmbedding", embedding("раз")),
    ("TextClassificationService/FewShotClassify", choosing("раз", "да", "нет")),
]
"""What is asked, again and again."""

METADATA: list[dict[str, str]] = [
    {"x-who": "я"},
    {"x-folder-id": "b1gtest"},
    {"x-retry-attempt": "1"},
    {"idempotency-key": "один"},
    {"authorization": "Api-Key AQVN0123456789"},
    {"x-client-request-id": "0b0e0c0a"},
]
POOL: list[dict[str, Any]] = [
    {"name": "всегда", "when": {"question": "раз"}, "reply": {"text": "раз", "headers": {"x-rule": "{{ model }}"}}},
    {"name": "дважды", "when": {"question": "раз"}, "times": 2, "reply": {"text": "дважды"}},
    {
        "when": {"question": {"contains": "вот"}},
        "replies": [{"text": "первый"}, {"text": "второй"}],
        "after_last": "cycle",
    },
    {"when": {"question": "поток"}, "reply": {"text": "а б в г", "stream": {"words": 1}, "trailers": {"x-t": "1"}}},
    {"when": {"question": "поток"}, "reply": {"text": "а б в", "stream": {"words": 1, "every": "1s"}}},
    {"when": {"question": "поток"}, "reply": {"text": "а б", "stream": {"words": 1, "stop": {"after": 1}}}},
    {"when": {"question": "по счёту"}, "reply": {"text": "{{ call }}"}},
    {"when": {"question": "кто", "metadata": {"x-who": "я"}}, "reply": {"text": "ты"}},
    {"when": {"question": "кто"}, "reply": {"text": "кто-то из {{ folder }}"}},
    {"when": {"question": "ход", "state": {"ход": "начат"}}, "reply": {"text": "дальше"}},
    {"when": {"question": "ход"}, "then": {"state": {"ход": "начат"}}, "reply": {"text": "начало"}},
    {"when": {"folder": "b1gtest", "question": "иное"}, "reply": {"tool_calls": ["f"]}},
    {"when": {"attempt": 2}, "reply": {"error": "UNAVAILABLE"}},
    {"when": {"question": "раз", "attempt": {"at_least": 2}}, "reply": {"text": "снова"}},
    {"when": {"question": "иное"}, "chaos": {"share": 0.5, "error": "INTERNAL"}, "reply": {"text": "бывает"}},
    {"when": {"any": [{"metadata": {"x-who": "я"}}, {"question": "раз"}]}, "reply": {"text": "любое"}},
    {"when": {"not": {"state": {"ход": "начат"}}, "question": "вот"}, "reply": {"json": {"ещё": "{{ turn }}"}}},
    {"when": {"folder": {"not": "b1gtest"}}, "reply": {"text": "{{ state.get('ход', '-') }}, {{ attempt }}"}},
    {"when": {"stream": True, "model": "yandexgpt"}, "reply": {"tool_calls": ["f"]}},
    {"then": {"state": {"ход": "начат"}}, "reply": {"text": "{{ state.get('ход', 'начало') }}"}},
    {"when": {"metadata": {"x-who": "я"}}, "reply": {"text": "узнал"}},
    {"when": {"not": {"question": "иное"}}, "times": 1, "reply": {"text": "один раз"}},
    {"call": "tokenize", "reply": {"tokens": ["ра", "з"]}},
    {"call": "text_embedding", "times": 1, "reply": {"embedding": [1, 2]}},
    {"call": "few_shot_classify", "reply": {"predictions": {"да": 0.75}, "delay": "1s"}},
]
MORE: list[dict[str, Any]] = [{"when": {"question": f"вопрос {n}"}, "reply": {"text": "да"}} for n in range(16)]
"""So many that rules are looked up in an index, and not tried one by one."""

SECTIONS: list[dict[str, Any]] = [
    {"fallback": {"text": "запас {{ call }}"}},
    {"fallback": {"text": "запас"}},
    {"quotas": {"limits": [{"call": "completion", "per_minute": 3}]}},
    {"auth": {"api_keys": ["AQVN0123456789"]}},
    {"chaos": [{"share": 0.3, "error": "UNAVAILABLE"}]},
    {"chaos": []},
]

rules = st.lists(st.sampled_from(POOL), max_size=5, unique_by=id)
few = st.tuples(
    st.lists(st.sampled_from(CALLS), min_size=3, max_size=3), st.sampled_from(METADATA).map(lambda one: ({}, one))
)
"""What a history asks, and with which metadata: hardly anything else would be asked again."""

calls = st.tuples(st.sampled_from(["call", "call", "elsewhere"]), st.integers(0, 2), st.integers(0, 1))
changes = st.one_of(
    st.none(),
    st.tuples(st.just("reload"), rules),
    st.tuples(st.just("seed"), st.integers(0, 3)),
    st.tuples(st.just("back")),
    st.tuples(st.just("add"), rules, st.sampled_from([{}, *SECTIONS])),
    st.tuples(st.just("remove")),
    st.tuples(st.just("reset")),
    st.tuples(st.just("strict"), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("token")),
)
rounds = st.tuples(changes, st.lists(calls, min_size=2, max_size=8))


def done(served: Served, step: tuple[Any, ...]) -> Any:
    """Do one step; what can be seen of it."""
    session = served.session("a")
    kind = step[0]
    if kind in ("call", "elsewhere"):
        (short, request), metadata = step[1:]
        whose = "a" if kind == "call" else "b"  # which has other states, and mostly the same rules
        task = served.begin(whose, path(short), request, **metadata)
        served.advance(whose, 60_000_000_000)
        return served.loop.run_until_complete(task)
    if kind == "reload":
        served.emulator.sessions.shared.book = load([{"rules": step[1]}])
    elif kind == "seed":
        session.seed = Seed(step[1])
    elif kind == "back":
        served.restore("b", served.snapshot("a"))
    elif kind == "add":
        session.add(load([{"rules": step[1], **step[2]}], session.book))
    elif kind == "remove" and session.added:
        session.remove(session.added[0].id)
    elif kind == "reset":
        session.reset()
    elif kind == "strict":
        session.strict = step[1]
    elif kind == "wait":
        served.advance("a", step[1] * 1_000_000_000)
    elif kind == "token":
        session.tokens.issue(session.seed, "aje0")
    return None


def seen(session: Session) -> Any:
    """Everything that a session tells of what has happened in it."""
    check_accounts(session)
    entries = [
        (e.id, e.kind, e.rule, e.code, e.message, e.unmatched, e.spent, e.notes, e.behaviour, e.messages(), e.streamed)
        for e in session.journal
    ]
    return entries, session.state, session.verify(()), session.tally.unmatched, session.tally.spent


@settings(max_examples=150, deadline=None)
@given(rules, st.booleans(), few, st.lists(rounds, min_size=1, max_size=8), st.booleans())
def test_a_history_is_the_same_with_and_without_kept_answers(
    first: list[dict[str, Any]], many: bool, few: Any, history: list[Any], lenient: bool
) -> None:
    requests, metadata = few
    loop = asyncio.new_event_loop()
    fixtures = {"rules": [*first, *MORE] if many else first}
    keeping, forgetting = (Served(loop, fixtures, now=NOON, seed=1, lenient=lenient) for _ in range(2))
    forgetting.emulator.sessions.shared.kept = Kept(most=0)
    steps: list[tuple[Any, ...]] = []
    for change, asked in history:
        steps += [] if change is None else [change]
        steps += [(kind, requests[n], metadata[m]) for kind, n, m in asked]
    try:
        for step in steps:
            assert done(keeping, step) == done(forgetting, step)
            for whose in ("a", "b"):
                assert seen(keeping.session(whose)) == seen(forgetting.session(whose))
        assert not len(forgetting.emulator.sessions.shared.kept)
    finally:
        keeping.close()
        forgetting.close()
        loop.close()


def test_what_is_asked_again_is_answered_from_what_is_kept() -> None:
    loop = asyncio.new_event_loop()
    served = Served(loop, {"rules": POOL}, now=NOON)
    try:
        kept = served.emulator.sessions.shared.kept
        for stream in (False, True):
            step = ("call", ("TextGenerationService/Completion", asking("раз", stream=stream)), {})
            before = len(kept)
            first = done(served, step)
            assert len(kept) == before + 1
            again = done(served, step)
            assert first[:4] == again[:4]
            assert len(kept) == before + 1
        assert served.session("a").state.chosen["всегда"] == 4
    finally:
        served.close()
        loop.close()
