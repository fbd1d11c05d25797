"""Any history of sessions, and any point of it as a snapshot: what follows is the same by every path."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from wire.client import DATASET, STORED, asking, choosing, drawing, embedding, path, tokenizing

from emulator.api import BatchCompletionRequest, CreateIamTokenRequest, GetOperationRequest, message_class
from emulator.clock import SECOND

from .served import Served, Told, check_accounts

NOON = "2026-01-31T12:00:00Z"
QUESTIONS = ("раз", "вот", "дальше", "поток", "обрыв", "пауза", "иное")
RULES: dict[str, Any] = {
    "rules": [
        {"name": "дважды", "when": {"question": "раз"}, "times": 2, "reply": {"text": "{{ attempt }}: раз"}},
        {
            "when": {"question": "вот"},
            "per": "question",
            "replies": [
                {"text": "первый"},
                {"error": {"code": "UNAVAILABLE", "retry_after": "2s"}},
                {"text": "третий"},
            ],
            "after_last": "cycle",
        },
        {
            "when": {"question": "дальше", "state": {"ход": "начат"}},
            "then": {"state": {"ход": "окончен"}},
            "reply": {"text": "дальше"},
        },
        {"when": {"question": "дальше"}, "then": {"state": {"ход": "начат"}}, "reply": {"text": "начало"}},
        {
            "call": ["completion", "completion_async"],
            "when": {"question": "поток"},
            "reply": {
                "text": "раз два три четыре",
                "stream": {"words": 1, "first_after": {"min": "1s", "max": "3s"}, "every": "700ms"},
            },
        },
        {
            "call": "completion",
            "when": {"question": "обрыв"},
            "chaos": {"share": 0.5, "truncate": True},
            "reply": {"text": "а б в г д", "stream": {"words": 1}},
        },
        {
            "call": "completion",
            "when": {"question": "пауза"},
            "per": "idempotency-key",
            "replies": [{"text": "{{ attempt }}", "delay": "90s"}, {"text": "скоро"}],
            "after_last": "error",
        },
        {
            "call": "completion_async",
            "when": {"question": ["раз", "вот"]},
            "reply": {"text": "готово {{ attempt }}"},
            "operation": {"done_after": {"min": "1s", "max": "2m"}, "polls": {2: "UNAVAILABLE"}},
        },
        {"call": "completion_async", "reply": {"text": "по счёту"}, "operation": {"done_after_polls": 2}},
        {"call": "generate_image", "times": 2, "reply": {"error": "RESOURCE_EXHAUSTED"}},
    ],
    "quotas": {
        "limits": [
            {"call": "completion", "at_once": 2, "per_minute": 4},
            {"call": ["completion_async", "generate_image"], "per_hour": 6, "by": "folder"},
            {"call": "operations", "per_second": 3},
        ]
    },
    "chaos": [
        {
            "name": "доля",
            "call": ["completion", "tokenize"],
            "share": 0.2,
            "error": ["UNAVAILABLE", "INTERNAL"],
        },
        {
            "name": "первые",
            "first": 1,
            "per": "idempotency-key",
            "call": "completion_async",
            "error": "ABORTED",
        },
        {"from": "1h", "until": "2h", "delay": {"min": "1ms", "max": "2s"}},
    ],
    **STORED,
}
DATASETS = "yandex.cloud.ai.dataset.v1"
STEPS = st.one_of(
    st.tuples(st.just("complete"), st.sampled_from(QUESTIONS), st.booleans(), st.sampled_from(("", "", "к1", "к2"))),
    st.tuples(st.just("async"), st.sampled_from(QUESTIONS), st.sampled_from(("", "", "к1", "к2"))),
    st.tuples(st.sampled_from(("image", "embed", "tokenize", "choose", "token", "dataset")), st.sampled_from("аб")),
    st.tuples(st.sampled_from(("Get", "Get", "Cancel")), st.integers(0, 5)),
    st.tuples(
        st.sampled_from(("FinishOperation", "FailOperation", "CancelOperation", "StepOperation")), st.integers(0, 5)
    ),
    st.tuples(
        st.just("advance"),
        st.sampled_from((1, SECOND // 3, SECOND, 61 * SECOND, 3600 * SECOND, 25 * 3600 * SECOND, 73 * 3600 * SECOND)),
    ),
    st.tuples(st.just("add"), st.sampled_from(QUESTIONS)),
    st.tuples(st.sampled_from(("RemoveRules", "ListOperations", "ListRules", "GetClock"))),
    st.tuples(st.just("Reset"), st.lists(st.integers(1, 10), min_size=1, max_size=2, unique=True)),
    st.tuples(st.just("own"), st.sampled_from((*QUESTIONS, ""))),
    st.tuples(st.just("batch"), st.just(DATASET)),
)
NAMES = ("", "job-1", "job-2")


class Player:
    """Takes the steps of one session of `served`, and remembers what it has begun. `started` are the calls of a history
    that are known by number, of which some may be under way.
    """

    def __init__(self, served: Served, session: str, ids: tuple[str, ...] = (), number: int = 0) -> None:
        self.served, self.name = served, session
        self.ids = list(ids)
        self.number = number
        self.under_way: dict[int, asyncio.Task[Told]] = {}

    def play(self, step: tuple[Any, ...]) -> Told:
        """Everything that is seen of a step, of calls that end in it, too."""
        seen = self._play(*step)
        return seen, self._ended()

    def drain(self) -> None:
        """Let all calls end."""
        while self.under_way:
            self.play(("advance", 3600 * SECOND))

    def _ended(self) -> Told:
        over = sorted(n for n, task in self.under_way.items() if task.done())
        told = tuple((n, self.under_way.pop(n).result()) for n in over)
        for _, (messages, *_, kept) in told:
            if kept[-1] and messages and kept[-1] not in self.ids:
                self.ids.append(kept[-1])
        return told

    def _call(self, method: str, request: Any, key: str = "") -> None:
        metadata = {"idempotency_key": key} if key else {}
        self.number += 1
        self.under_way[self.number] = self.served.begin(self.name, method, request, **metadata)

    def _play(self, kind: str, *more: Any) -> Any:
        if kind == "complete":
            return self._call(path("TextGenerationService/Completion"), asking(more[0], stream=more[1]), more[2])
        if kind == "async":
            return self._call(path("TextGenerationAsyncService/Completion"), asking(more[0]), more[1])
        if kind == "image":
            return self._call(path("ImageGenerationAsyncService/Generate"), drawing(more[0]))
        if kind == "embed":
            return self._call(path("EmbeddingsService/TextEmbedding"), embedding(more[0]))
        if kind == "tokenize":
            return self._call(path("TokenizerService/Tokenize"), tokenizing(more[0]))
        if kind == "choose":
            return self._call(path("TextClassificationService/FewShotClassify"), choosing(more[0], "да", "нет"))
        if kind == "token":
            return self._call(path("IamTokenService/Create"), CreateIamTokenRequest(yandex_passport_oauth_token="y0_a"))
        if kind == "dataset":
            request = message_class(f"{DATASETS}.CreateDatasetRequest")
            fields = {"name": more[0], "folder_id": "b1g", "task_type": "TextToTextGenerationRequest"}
            return self._call(path(f"{DATASETS}.DatasetService/Create"), request(upload_format="jsonlines", **fields))
        if kind == "batch":
            request = BatchCompletionRequest(model_uri="gpt://b1gtest/yandexgpt", source_dataset_id=more[0])
            return self._call(path("TextGenerationBatchService/Completion"), request)
        if kind == "advance":
            return self.served.advance(self.name, more[0])
        if kind == "add":
            text = f"rules: [{{when: {{question: {more[0]}}}, times: 1, reply: {{text: 'поверх {{{{ attempt }}}}'}}}}]"
            return self.served.ask(self.name, "AddRules", fixtures={"files": {"rules.yaml": text.encode()}})
        if kind == "own":
            text = f"rules: [{{name: своё, when: {{question: {more[0]}}}, reply: {{text: 'своё'}}}}]\nchaos: []"
            files = {"rules.yaml": text.encode()} if more[0] else {}
            return self.served.ask(self.name, "ReplaceRules", fixtures={"files": files})
        if kind == "Reset":
            return self.served.ask(self.name, kind, parts=more[0])
        if kind in ("RemoveRules", "ListOperations", "ListRules", "GetClock"):
            return self.served.ask(self.name, kind)
        id_ = self.ids[more[0] % len(self.ids)] if self.ids else "none"
        if kind in ("Get", "Cancel"):
            known = {
                "Get": GetOperationRequest,
                "Cancel": message_class("yandex.cloud.operation.CancelOperationRequest"),
            }
            return self._call(path(f"OperationService/{kind}"), known[kind](operation_id=id_))
        return self.served.ask(self.name, kind, operation_id=id_)


class Histories(RuleBasedStateMachine):
    """Three sessions of one emulator, from which snapshots are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.servers: list[Served] = []
        self.log: dict[str, list[tuple[tuple[Any, ...], Told]]] = {name: [] for name in NAMES}
        self.saved: list[tuple[str, bytes, int, tuple[str, ...], int]] = []

    @initialize(operations=st.sampled_from((2, 3, 1000)), strict=st.booleans(), immediate=st.booleans())
    def begin(self, operations: int, strict: bool, immediate: bool) -> None:
        self.options = {"now": NOON, "seed": 5, "max_operations": operations, "strict": strict, "immediate": immediate}
        self.served = self.another()
        self.players = {name: Player(self.served, name) for name in NAMES}

    def another(self) -> Served:
        served = Served(self.loop, RULES, **self.options)
        self.servers.append(served)
        return served

    def play(self, name: str, step: tuple[Any, ...]) -> None:
        self.log[name].append((step, self.players[name].play(step)))

    @rule(name=st.sampled_from(NAMES), steps=st.lists(STEPS, min_size=1, max_size=4))
    def go_on(self, name: str, steps: list[tuple[Any, ...]]) -> None:
        for step in steps:
            self.play(name, step)

    @precondition(lambda self: len(self.saved) < 2)
    @rule(name=st.sampled_from(NAMES))
    def save(self, name: str) -> None:
        while self.players[name].under_way:
            self.play(name, ("advance", 3600 * SECOND))
        snapshot = self.served.snapshot(name)
        assert self.served.snapshot(name) == snapshot
        player = self.players[name]
        self.saved.append((name, snapshot, len(self.log[name]), tuple(player.ids), player.number))

    @invariant()
    def what_is_counted_is_what_there_is(self) -> None:
        for served in self.servers:
            for session in served.emulator.sessions:
                check_accounts(session)

    def teardown(self) -> None:
        try:
            if self.servers:
                self.compare()
        finally:
            for served in self.servers:
                served.close()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def compare(self) -> None:
        """Each session alone has the same history, and each snapshot the same that follows, here and elsewhere."""
        for name in NAMES:
            note(f"{name or 'the first'} alone")
            self.same(Player(self.another(), name), self.log[name])
        for name, snapshot, since, ids, number in self.saved:
            self.players[name].drain()
            for where in (self.another(), self.served):
                note(f"{name or 'the first'} from step {since} on, {'here' if where is self.served else 'elsewhere'}")
                where.restore(name, snapshot)
                assert where.snapshot(name) == snapshot
                self.same(Player(where, name, ids, number), self.log[name][since:])

    def same(self, player: Player, log: list[tuple[tuple[Any, ...], Told]]) -> None:
        for n, (step, told) in enumerate(log):
            assert player.play(step) == told, f"step {n}: {step}"
        player.drain()
        check_accounts(player.served.session(player.name))


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=max(25, settings().max_examples // 10), stateful_step_count=12)
