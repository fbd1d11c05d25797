"""Fixtures as Python, for a type checker: `ACCEPTED` must pass it, and every line that ignores an error must have it.

`test_typed` has mypy read this file, and the loader take what is accepted.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from emulator.rules.typed import (
    CallName,
    Condition,
    ErrorDict,
    ExpectDict,
    FileDict,
    OperationDict,
    OperatorsDict,
    PieceDict,
    ReplyDict,
    RuleDict,
    StageDict,
    StallDict,
    StopDict,
    StreamDict,
    TurnDict,
    UsageDict,
    WhenDict,
)

words: list[str] = ["привет", "здравствуй"]
numbers: list[int] = [1, 2]
condition: Condition = {"not": {"any": ["a", {"contains": "b"}, {"not": {"one_of": [1, "два", True]}}]}}
call: CallName = "completion_async"


def rule(*, when: WhenDict | None = None, reply: ReplyDict | None = None) -> RuleDict:
    """A rule as a test writes it."""
    out: RuleDict = {}
    if when is not None:
        out["when"] = when
    if reply is not None:
        out["reply"] = reply
    return out


ACCEPTED: list[FileDict] = [
    {"rules": [rule(when={"question": {"contains": "привет"}}, reply={"text": "Здравствуйте!"})]},
    {
        "vars": {"city": "Москва", "year": 2026, "warm": True, "degrees": 1.5},
        "defaults": {"delay": "20ms", "model_version": 5, "headers": {"x-n": 1}, "operation": {"done_after": "1s"}},
        "snippets": {"busy": {"error": "UNAVAILABLE"}},
        "fallback": {"text": "Не знаю"},
        "quotas": {
            "preset": "real",
            "limits": [
                {"call": "completion", "at_once": 2, "per_day": "unlimited"},
                {"call": ("tokenize", "datasets"), "per_second": 0, "by": "folder"},
            ],
        },
    },
    {
        "rules": (
            {
                "name": "everything",
                "call": ["completion", call],
                "when": {
                    "question": words,
                    "turn": {"at_least": 1, "at_most": 2.5},
                    "attempt": 1,
                    "stream": True,
                    "seed": numbers,
                    "system": {"equals": "a", "contains": words, "word": ("погод*", 5), "matches": ["a+"]},
                    "tools": {"present": False},
                    "options": {"temperature": 0.3, "max_tokens": {"at_most": 100}},
                    "message": condition,
                    "metadata": {"x-n": 5, "x-m": {"glob": "a*"}},
                    "not": {"any": [{"folder": "b1g"}, {"not": {"model": "yandexgpt"}}]},
                    "all": [{"state": {"step": 1}}],
                },
                "replies": [
                    {"text": 5, "repeat": 2},
                    {"text": True, "delay": datetime.timedelta(milliseconds=20)},
                    {
                        "text": {"generate": {"tokens": 10}},
                        "delay": {"p50": "1s", "p95": datetime.timedelta(seconds=3)},
                    },
                    {"text": {"file": Path("hello.txt")}, "delay": 0},
                    {"image": Path("cat.png"), "use": ["busy"]},
                    {"json": {"a": [1, None, "б"]}, "trailers": {"x-n": 1}, "usage": {"total_tokens": 5}},
                    {"json": None},
                    {"tool_calls": ["weather", {"weather": {"city": "Москва"}}]},
                    {"tool_calls": words},
                    {"message": {"alternatives": []}},
                    {"error": {"code": "RESOURCE_EXHAUSTED", "retry_after": datetime.timedelta(seconds=1)}},
                    {
                        "stream": {
                            "pieces": ["раз ", {"text": "два", "after": "20ms", "completion_tokens": 2}],
                            "every": "1s",
                            "stop": {"after": 1, "error": {"code": "UNAVAILABLE", "message": "нет"}},
                            "stall": {"after": 1, "for": "forever"},
                        }
                    },
                    {"stream": {"words": 2, "stall": {"after": 1, "for": datetime.timedelta(seconds=1)}}},
                    {"error": {"code": "ABORTED", "details": [{"ErrorInfo": {"reason": "X"}}]}},
                ],
                "per": "idempotency-key",
                "after_last": "pass",
                "operation": {
                    "timeline": [{"at": "1s", "status": "RUNNING"}, {"at": datetime.timedelta(hours=1), "done": True}],
                    "polls": {2: "UNAVAILABLE", 3: {"error": {"code": "ABORTED"}}},
                },
                "times": 3,
                "priority": -1,
                "then": {"state": {"step": 2}},
                "expect": {"at_least": 1},
            },
            {"expect": 1, "reply": {"text": "да"}},
            {"call": "tokenize", "reply": {"tokens": ["<s>", {"text": "▁да", "id": 7, "special": False}, 5]}},
            {"when": {"text": {"word": "да"}, "dim": 3}, "reply": {"embedding": [0.6, 1]}},
            {"when": {"labels": words, "task": "Что?"}, "reply": {"predictions": {"да": 0.9, "нет": 0}}},
        )
    },
]

unknown_when: WhenDict = {"qestion": "привет"}  # type: ignore[typeddict-unknown-key]
unknown_reply: ReplyDict = {"txt": "Привет"}  # type: ignore[typeddict-unknown-key]
unknown_turn: TurnDict = {"text": "а", "repeats": 2}  # type: ignore[typeddict-unknown-key]
unknown_rule: RuleDict = {"text": "а"}  # type: ignore[typeddict-unknown-key]
unknown_file: FileDict = {"rule": []}  # type: ignore[typeddict-unknown-key]
unknown_operator: OperatorsDict = {"contans": "а"}  # type: ignore[typeddict-unknown-key]
unknown_stop: StopDict = {"for": "1s"}  # type: ignore[typeddict-unknown-key]
unknown_usage: UsageDict = {"tokens": 1}  # type: ignore[typeddict-unknown-key]
unknown_expect: ExpectDict = {"times": 1}  # type: ignore[typeddict-unknown-key]
unknown_piece: PieceDict = {"delay": "1s"}  # type: ignore[typeddict-unknown-key]
keyword_spelt_otherwise: StallDict = {"for_": "1s"}  # type: ignore[typeddict-unknown-key]
deep_in_a_rule: RuleDict = {"reply": {"stream": {"wrods": 1}}}  # type: ignore[typeddict-unknown-key]
deep_in_a_call = rule(reply={"txt": "Привет"})  # type: ignore[arg-type]
deep_in_when: WhenDict = {"not": {"qestion": "а"}}  # type: ignore[typeddict-unknown-key]

letters_of_pieces: StreamDict = {"pieces": "привет"}  # type: ignore[typeddict-item]
letters: OperatorsDict = {"one_of": "привет"}  # type: ignore[typeddict-item]
wrong_operator: WhenDict = {"question": {"contans": "а"}}  # type: ignore[dict-item]
word_for_a_bool: OperatorsDict = {"present": "да"}  # type: ignore[typeddict-item]
no_such_call: RuleDict = {"call": "complete"}  # type: ignore[typeddict-item]
no_such_end: RuleDict = {"after_last": "stop"}  # type: ignore[typeddict-item]
nothing_said: ReplyDict = {"text": None}  # type: ignore[typeddict-item]
a_delay_without_unit: ReplyDict = {"delay": 5}  # type: ignore[typeddict-item]
an_instant_without_unit: StageDict = {"at": 1.5}  # type: ignore[typeddict-item]
a_spread_where_none_is_drawn: StageDict = {"at": {"p50": "1s", "p95": "2s"}}  # type: ignore[typeddict-item]
a_number_as_text: StreamDict = {"words": "2"}  # type: ignore[typeddict-item]
a_poll_as_text: OperationDict = {"polls": {"2": "ABORTED"}}  # type: ignore[dict-item]
an_error_by_number: ErrorDict = {"code": 14}  # type: ignore[typeddict-item]
a_token_without_its_name: ReplyDict = {"tokens": [{"txt": "да"}]}  # type: ignore[list-item]
a_vector_of_texts: ReplyDict = {"embedding": ["0.6"]}  # type: ignore[list-item]
bytes_for_a_text: ReplyDict = {"text": b"x"}  # type: ignore[typeddict-item]
