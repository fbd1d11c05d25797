"""The control API over a socket: what each method does, and what it says to a request that can't be."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pb2

from emulator import Emulator, __version__
from emulator.api import METHODS, message_class
from emulator.engine.book import load

from .client import Client, asking, drawing, eventually
from .control import SERVICE, Controller

if TYPE_CHECKING:
    from conftest import Connect, Serve

NAMES = sorted(path.removeprefix(SERVICE) for path in METHODS if path.startswith(SERVICE))
NOON = "2026-01-31T12:00:00Z"
NOON_SECONDS = 1769860800
ASYNC = "TextGenerationAsyncService/Completion"
BATCH = "TextGenerationBatchService/Completion"
RULE, COUNTERS, STATES, JOURNAL, OPERATIONS, CLOCK = range(1, 7)
EXPECT, TIMES, UNMATCHED, UNREAD, UNFETCHED = range(1, 6)
SECOND = 10**9

Start = Any
"""`start(fixtures, **options)` gives an emulator under a frozen clock, its client and its controller."""


@pytest.fixture
def start(serve: Serve, connect: Connect) -> Start:
    def begin(fixtures: Any = (), **options: Any) -> tuple[Emulator, Client, Controller]:
        emulator = serve(fixtures, **{"frozen": True, "now": NOON, **options})
        client = connect(emulator)
        return emulator, client, Controller(client)

    return begin


def text_of(reply: Any) -> str:
    text: str = reply.only.alternatives[0].message.text
    return text


def said(client: Client, question: str = "Привет", **more: Any) -> str:
    return text_of(client.complete(asking(question), **more))


# -- what the service is


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_the_control_service_and_describes_all_of_it(start: Start, version: str) -> None:
    _, client, _ = start()
    request = message_class(f"grpc.reflection.{version}.ServerReflectionRequest")
    response = message_class(f"grpc.reflection.{version}.ServerReflectionResponse")
    asked = [request(list_services="*"), request(file_containing_symbol="emulator.v1.ControlService")]
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    listed, described = (
        response.FromString(raw) for raw in client.bidirectional(path, (one.SerializeToString() for one in asked))
    )
    assert "emulator.v1.ControlService" in {one.name for one in listed.list_services_response.service}
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(raw)
        for raw in described.file_descriptor_response.file_descriptor_proto
    ]
    (service,) = (one for file in files for one in file.service if one.name == "ControlService")
    assert sorted(method.name for method in service.method) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_method_of_the_service_is_served(start: Start, name: str) -> None:
    _, client, _ = start()
    call = client.begin(SERVICE + name, b"\x08")  # a field that ends before its value
    with pytest.raises(grpc.RpcError):
        list(call)
    assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert call.details() == f"the request is not a serialized {METHODS[SERVICE + name].input.DESCRIPTOR.name}"


def test_control_calls_are_in_no_journal_and_shift_no_ids(start: Start) -> None:
    _, client, control = start()
    before = [control.do("Info") for _ in range(3)]
    assert len(before) == 3
    client.complete(asking("раз"))
    control.do("GetClock")
    client.complete(asking("два"))
    assert [(call.id, call.about) for call in control.calls()] == [("c1", "раз"), ("c2", "два")]


def test_info_tells_what_is_running(start: Start) -> None:
    emulator, _, control = start({"rules": [{"reply": {"text": "а"}}]}, seed=7, strict=True)
    info = control.do("Info")
    assert (info.version, info.target, info.rules, info.seed, info.strict) == (__version__, emulator.target, 1, 7, True)
    assert info.sessions == 1
    assert info.reload_error == ""
    assert "emulator.v1.ControlService" in info.services
    assert info.started_at.seconds > NOON_SECONDS - 10**9


def test_info_bears_a_seed_that_its_field_does_not_hold(start: Start) -> None:
    assert start(seed=2**80)[2].do("Info").seed == 0


# -- rules


FILE = {"rules": [{"name": "из файла", "reply": {"text": "файл"}}]}


def test_rules_that_are_added_stand_before_all_others_the_newest_first(start: Start) -> None:
    _, client, control = start(FILE)
    assert said(client) == "файл"
    own = {"own.yaml": "rules: [{name: своё, reply: {text: своё}}]".encode()}
    assert control.do("ReplaceRules", fixtures={"files": own}).rules == 1
    assert said(client) == "своё"
    first = control.add("rules: [{name: первое, reply: {text: первое}}]")
    assert said(client) == "первое"
    second = control.add("rules: [{name: второе, reply: {text: второе}}, {name: третье, reply: {text: третье}}]")
    assert said(client) == "второе"
    assert control.rules() == [
        ("второе", second),
        ("третье", second),
        ("первое", first),
        ("своё", "session"),
        ("из файла", "files"),
    ]
    assert control.do("RemoveRules", layer_id=second).rules == 2
    assert said(client) == "первое"
    assert control.do("RemoveRules").rules == 1
    assert said(client) == "своё"
    assert control.do("ReplaceRules").rules == 0
    assert said(client) == "файл"


def test_a_rule_of_the_same_name_in_a_later_layer_takes_the_place_of_the_other(start: Start) -> None:
    _, client, control = start({"rules": [{"name": "р", "when": {"question": "да"}, "reply": {"text": "было"}}]})
    layer = control.add("rules: [{name: р, when: {question: нет}, reply: {text: стало}}]")
    assert control.rules() == [("р", layer)]
    assert said(client, "нет") == "стало"
    assert client.complete(asking("да")).only.alternatives[0].message.text != "было"
    control.do("RemoveRules", layer_id=layer)
    assert said(client, "да") == "было"


def test_mistakes_in_rules_are_told_all_at_once_and_change_nothing(start: Start) -> None:
    _, client, control = start(FILE)
    files = {
        "a.yaml": b"rules:\n  - replyy: {text: x}\n  - {reply: {text: y}, tims: 2}\n",
        "b.yaml": b"rules: [{call: no, reply: {text: z}}]\n",
    }
    for name in ("AddRules", "ReplaceRules"):
        code, text = control.refused(name, fixtures={"files": files})
        assert code == "INVALID_ARGUMENT"
        for expected in ("a.yaml:2", "reply", "a.yaml:3", "times", "b.yaml:1"):
            assert expected in text
    code, _ = control.refused("ReplaceRules", fixtures={"files": files}, shared=True)
    assert code == "INVALID_ARGUMENT"
    assert control.rules() == [("из файла", "files")]
    assert said(client) == "файл"


def test_adding_nothing_is_refused_with_what_to_give(start: Start) -> None:
    code, text = start()[2].refused("AddRules")
    assert code == "INVALID_ARGUMENT"
    assert "fixtures.files" in text


def test_removing_a_layer_that_is_not_there_names_those_that_are(start: Start) -> None:
    _, _, control = start()
    assert control.refused("RemoveRules", layer_id="r9") == (
        "NOT_FOUND",
        "no layer r9 of added rules; there is none",
    )
    layer = control.add("rules: [{reply: {text: а}}]")
    assert layer in control.refused("RemoveRules", layer_id="r9")[1]
    assert control.do("RemoveRules").rules == 1
    assert control.do("RemoveRules").rules == 0


def test_a_bundle_brings_its_files_and_its_environment(start: Start) -> None:
    _, client, control = start()
    text = "vars: {who: '${WHO}'}\nrules: [{reply: {text: 'Я {{ vars.who }}'}}]"
    control.do("AddRules", fixtures={"files": {"a/rules.yaml": text.encode()}, "environment": {"WHO": "кот"}})
    assert said(client) == "Я кот"


def test_what_is_valid_and_hardly_meant_comes_back_as_warnings(start: Start) -> None:
    text = "rules: [{name: все, reply: {text: а}}, {name: никто, when: {question: да}, reply: {text: б}}]"
    response = start()[2].do("AddRules", fixtures={"files": {"rules.yaml": text.encode()}})
    assert response.rules == 2
    (warning,) = response.warnings
    assert "never reached" in warning


def test_shared_rules_are_replaced_for_every_session(start: Start) -> None:
    _, client, control = start(FILE)
    other = Controller(client, session="other")
    other.add("rules: [{name: своё, when: {question: моё}, reply: {text: своё}}]")
    shared = {"new.yaml": "rules: [{name: новое, reply: {text: новое}}]".encode()}
    assert control.do("ReplaceRules", fixtures={"files": shared}, shared=True).rules == 1
    assert said(client) == "новое"
    assert said(client, metadata=other.metadata) == "новое"
    assert said(client, "моё", metadata=other.metadata) == "своё"
    assert control.do("Info").rules == 1


def test_a_reload_of_the_files_swaps_their_layer_alone(start: Start) -> None:
    emulator, client, control = start(FILE)
    layer = control.add("rules: [{name: поверх, when: {question: да}, reply: {text: поверх}}]")
    said(client, "да")
    emulator.sessions.shared.book = load([{"rules": [{"name": "заново", "reply": {"text": "заново"}}]}])
    assert control.rules() == [("поверх", layer), ("заново", "files")]
    assert [said(client, "да"), said(client, "нет")] == ["поверх", "заново"]
    assert [rule.chosen for rule in control.do("ListRules").rules] == [2, 1]


def test_rules_are_listed_with_what_they_have_counted_and_expect(start: Start) -> None:
    rule = {"name": "р", "times": 3, "expect": {"at_least": 1, "at_most": 2}, "reply": {"text": "а"}}
    _, client, control = start({"rules": [rule, {"call": "generate_image", "operation": {"done_after": "1m"}}]})
    said(client)
    first, second = control.do("ListRules").rules
    assert (first.name, first.chosen, first.times, first.expect, first.layer_id) == ("р", 1, 3, "1 to 2", "files")
    assert "completion" in first.calls
    assert (list(second.calls), second.chosen, second.times, second.expect) == (["generate_image"], 0, 0, "")
    assert second.where


# -- reset


STEPS = {
    "rules": [
        {"name": "раз", "times": 1, "then": {"state": {"ход": "начато"}}, "reply": {"text": "раз"}},
        {"name": "два", "when": {"state": {"ход": "начато"}}, "reply": {"text": "два"}},
    ]
}


def lived(start: Start) -> tuple[Client, Controller]:
    """An emulator with something of every part in it."""
    _, client, control = start(STEPS)
    control.add("rules: [{name: поверх, when: {question: поверх}, reply: {text: поверх}}]")
    assert [said(client, "а"), said(client, "поверх")] == ["раз", "поверх"]
    assert client.call(ASYNC, asking("а")).code == "OK"
    control.advance(60)
    return client, control


def parts_of(control: Controller) -> dict[int, bool]:
    """Which parts are as in the beginning."""
    rules = control.do("ListRules").rules
    return {
        RULE: len(control.rules()) == 2,
        COUNTERS: all(rule.chosen == 0 for rule in rules),
        JOURNAL: not control.calls(),
        OPERATIONS: not control.do("ListOperations").operations,
        CLOCK: control.do("GetClock").now.seconds == NOON_SECONDS,
    }


@pytest.mark.parametrize("part", [RULE, COUNTERS, JOURNAL, OPERATIONS, CLOCK])
def test_reset_by_part_leaves_the_others(start: Start, part: int) -> None:
    _, control = lived(start)
    assert not any(parts_of(control).values())
    control.do("Reset", parts=[part])
    assert {known for known, fresh in parts_of(control).items() if fresh} == {part}


def test_reset_without_parts_is_the_beginning_again_to_the_byte(start: Start) -> None:
    client, control = lived(start)
    control.do("Reset")
    assert all(parts_of(control).values())
    fresh = start(STEPS)[1]
    for question in ("а", "б"):
        got, expected = client.complete(asking(question)), fresh.complete(asking(question))
        assert (got.messages, got.headers) == (expected.messages, expected.headers)


def test_reset_of_states_forgets_where_scenarios_stand(start: Start) -> None:
    fixtures = {
        "rules": [
            {"when": {"state": {"ход": "начато"}}, "reply": {"text": "дальше"}},
            {"then": {"state": {"ход": "начато"}}, "reply": {"text": "начало"}},
        ]
    }
    _, client, control = start(fixtures)
    assert [said(client), said(client)] == ["начало", "дальше"]
    control.do("Reset", parts=[STATES])
    assert said(client) == "начало"
    control.do("Reset", parts=[COUNTERS])
    assert said(client) == "дальше"


@pytest.mark.parametrize("part", [0, 99, -1])
def test_a_part_that_is_none_is_refused_and_nothing_is_reset(start: Start, part: int) -> None:
    _, control = lived(start)
    code, text = control.refused("Reset", parts=[RULE, part])
    assert code == "INVALID_ARGUMENT"
    assert str(part) in text
    assert "rules, counters, states, journal, operations, datasets, clock" in text
    assert not any(parts_of(control).values())


def test_a_call_that_is_open_over_a_reset_ends_as_it_began(start: Start) -> None:
    _, client, control = start({"rules": [{"reply": {"text": "поздно", "delay": "1m"}}]})
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(client.complete, asking("а"))
        control.sleepers(1)
        control.do("Reset")
        later = pool.submit(client.complete, asking("б"))
        control.sleepers(2)
        assert control.advance(60).stragglers == 0
        assert [text_of(under_way.result()), text_of(later.result())] == ["поздно", "поздно"]
    assert control.do("GetClock").sleepers == 0
    (call,) = control.calls()
    assert (call.id, call.about) == ("c1", "б")


# -- calls


def test_calls_are_told_with_everything_that_is_known_of_them(start: Start) -> None:
    words = {"name": "р", "reply": {"text": "раз два", "delay": "1s", "stream": {"words": 1, "every": "2s"}}}
    _, client, control = start({"rules": [words]})
    with ThreadPoolExecutor() as pool:
        streamed = pool.submit(
            client.complete, asking("Как дела?", stream=True), metadata=[("authorization", "Api-Key secret-and-long")]
        )
        control.sleepers(1)
        control.advance(10)
        reply = streamed.result()
    (call,) = control.calls(messages=True)
    assert (call.id, call.kind, call.rule, call.code, call.about) == ("c1", "completion", "р", "OK", "Как дела?")
    assert call.method.endswith("TextGenerationService/Completion")
    assert call.began_at.seconds == NOON_SECONDS
    assert [instant.seconds - NOON_SECONDS for instant in call.sent_at] == [1, 3][: len(reply.messages)]
    assert {pair.key: pair.value for pair in call.metadata}["authorization"] == "Api-Key secr****"
    assert 0 < call.deadline.seconds <= 20
    assert json.loads(call.request)["messages"][0]["text"] == "Как дела?"
    assert [json.loads(each)["alternatives"][0]["message"]["text"] for each in call.replies] == [
        message.alternatives[0].message.text for message in reply.messages
    ]
    (bare,) = control.calls()
    assert (bare.request, list(bare.replies)) == ("", [])


def test_a_failed_call_has_sent_nothing_and_says_why(start: Start) -> None:
    _, client, control = start({"rules": [{"reply": {"error": {"code": "UNAVAILABLE", "message": "занято"}}}]})
    assert client.complete(asking("а", stream=True)).code == "UNAVAILABLE"
    assert client.call("TextGenerationService/Completion", b"\xff").code == "INVALID_ARGUMENT"
    failed, broken = control.calls(messages=True)
    assert (failed.code, failed.message, list(failed.sent_at), list(failed.replies)) == (
        "UNAVAILABLE",
        "занято",
        [],
        [],
    )
    assert (broken.code, list(broken.sent_at)) == ("INVALID_ARGUMENT", [])
    assert json.loads(broken.request)["base64"] == "/w=="


def test_an_unknown_method_is_told_without_messages(start: Start) -> None:
    _, client, control = start()
    assert client.call("/no.Such/Method", b"abc").code == "UNIMPLEMENTED"
    (call,) = control.calls(messages=True)
    assert (call.method, call.code, call.request, list(call.replies)) == ("/no.Such/Method", "UNIMPLEMENTED", "", [])


MANY = {"rules": [{"name": "да", "when": {"question": "да"}, "reply": {"text": "да"}}]}
FILTERS = [
    ({"kind": "completion"}, ["c1", "c2", "c5"]),
    ({"kind": "generate_image"}, ["c3"]),
    ({"method": "OperationService/Get"}, ["c4"]),
    ({"method": "Completion"}, ["c1", "c2", "c5"]),
    ({"rule": "да"}, ["c1"]),
    ({"code": "NOT_FOUND"}, ["c4"]),
    ({"code": "OK"}, ["c1", "c2", "c3"]),
    ({"unmatched": True}, ["c2", "c3"]),
    ({"when": "question: {contains: не}"}, ["c2"]),
    ({"kind": "completion", "rule": "да", "code": "OK", "when": "turn: 1"}, ["c1"]),
    ({"rule": "нет такого"}, []),
    ({}, ["c1", "c2", "c3", "c4", "c5"]),
]


def asked_much(client: Client) -> None:
    client.complete(asking("да"))
    client.complete(asking("нет"))
    client.call("ImageGenerationAsyncService/Generate", drawing())
    client.call("OperationService/Get", message_class("yandex.cloud.operation.GetOperationRequest")(operation_id="no"))
    client.call("TextGenerationService/Completion", b"\xff")


@pytest.mark.parametrize(("fields", "expected"), FILTERS)
def test_calls_are_listed_and_watched_by_filter(start: Start, fields: dict[str, Any], expected: list[str]) -> None:
    _, client, control = start(MANY)
    asked_much(client)
    assert [call.id for call in control.calls(filter=fields)] == expected
    assert [call.id for call in control.calls(filter=fields, last=1)] == expected[-1:]
    watching = control.watch(filter=fields, past=True)
    got = [message_class("emulator.v1.RecordedCall").FromString(next(watching)).id for _ in expected]
    watching.cancel()
    assert got == expected


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kind": "chat"}, "no such call: chat"),
        ({"code": "FINE"}, "no such status: FINE"),
        ({"when": "questio: да"}, "question"),
        ({"when": "question: ["}, "when"),
        ({"when": "prompt: кот", "kind": "completion"}, "completion"),
    ],
)
def test_a_filter_that_can_not_be_is_refused(start: Start, fields: dict[str, Any], why: str) -> None:
    _, _, control = start()
    code, text = control.refused("ListCalls", filter=fields)
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("filter: ")
    assert why in text
    watching = control.watch(filter=fields)
    with pytest.raises(grpc.RpcError):
        next(watching)
    assert watching.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_less_than_no_calls_can_not_be_listed(start: Start) -> None:
    assert start()[2].refused("ListCalls", last=-1) == ("INVALID_ARGUMENT", "last: -1 is less than 0")


def recorded(raw: bytes) -> Any:
    return message_class("emulator.v1.RecordedCall").FromString(raw)


def test_a_watcher_sees_each_call_once_the_past_ones_first(start: Start) -> None:
    _, client, control = start(MANY)
    client.complete(asking("раз"))
    watching = control.watch(past=True, messages=True)
    assert recorded(next(watching)).about == "раз"
    for question in ("два", "три"):
        client.complete(asking(question))
        seen = recorded(next(watching))
        assert (seen.about, seen.code) == (question, "OK")
        assert seen.replies
    watching.cancel()


def test_a_call_that_ends_while_the_past_is_being_told_is_told_once(start: Start) -> None:
    emulator, client, control = start({"rules": [{"when": {"question": "ждать"}, "reply": {"delay": "1s"}}]})
    with ThreadPoolExecutor() as pool:
        client.complete(asking("x" * 100_000))  # more than a socket holds, of many such, is read only later
        for _ in range(60):
            client.complete(asking("x" * 100_000))
        waiting = pool.submit(client.complete, asking("ждать"))
        control.sleepers(1)
        watching = control.watch(past=True, messages=True)
        assert recorded(next(watching)).id == "c1"
        control.advance(1)
        waiting.result()
        client.complete(asking("последний"))
        told = []
        for raw in watching:
            told.append(recorded(raw))
            if told[-1].about == "последний":
                break
        watching.cancel()
    assert [call.about for call in told].count("ждать") == 1
    assert len(told) == 62
    assert len(emulator.sessions.default.journal) == 63


def test_a_watcher_who_does_not_read_harms_nobody(start: Start) -> None:
    emulator, client, control = start(MANY)
    watching = control.watch(past=True)
    client.complete(asking("да"))
    assert recorded(next(watching)).about == "да"
    for _ in range(1100):
        assert client.complete(asking("да")).code == "OK"
    assert len(emulator.sessions.default.journal) == 1000
    assert control.advance(60).stragglers == 0
    watching.cancel()


def test_a_watcher_who_is_slow_is_told_how_many_it_missed(start: Start) -> None:
    _, client, control = start(MANY)
    watching = control.watch(past=True, messages=True)
    client.complete(asking("x" * 100_000))
    assert recorded(next(watching)).missed == 0
    for _ in range(60):  # more than a socket holds
        client.complete(asking("x" * 100_000))
    for _ in range(1100):
        client.complete(asking("да"))
    client.complete(asking("последний"))
    told = []
    for raw in watching:
        told.append(recorded(raw))
        if told[-1].about == "последний":
            break
    watching.cancel()
    assert sum(call.missed for call in told) > 100
    assert len(told) + sum(call.missed for call in told) == 60 + 1100 + 1


def test_rules_are_laid_in_the_order_in_which_they_are_sent(start: Start) -> None:
    emulator, client, control = start()
    many = "rules: [" + "{when: {question: нет}, reply: {text: x}}," * 2000 + "{reply: {text: медленно}}]"
    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(control.do, "ReplaceRules", fixtures={"files": {"a.yaml": many.encode()}})
        eventually(lambda: emulator.sessions.default.holders == 1)
        control.do("ReplaceRules", fixtures={"files": {"a.yaml": "rules: [{reply: {text: быстро}}]".encode()}})
        assert slow.result().rules == 2001
    assert said(client) == "быстро"


def test_rules_that_many_lay_at_once_are_all_there(start: Start) -> None:
    _, client, control = start()
    text = "rules: [{{when: {{question: в{n}}}, reply: {{text: о{n}}}}}]"
    with ThreadPoolExecutor(8) as pool:
        layers = list(pool.map(lambda n: control.add(text.format(n=n)), range(40)))
    assert len(set(layers)) == 40
    assert [said(client, f"в{n}") for n in range(40)] == [f"о{n}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda layer: control.do("RemoveRules", layer_id=layer), layers))
    assert control.rules() == []


def test_watching_ends_when_the_emulator_shuts_down(connect: Connect) -> None:
    with Emulator(MANY) as emulator:
        client = connect(emulator)
        watching = Controller(client).watch(past=True)
        client.complete(asking("да"))
        next(watching)
    with pytest.raises(grpc.RpcError):
        next(watching)
    assert watching.code() is grpc.StatusCode.UNAVAILABLE


# -- verification


def test_verification_tells_what_was_expected_and_has_not_happened(start: Start) -> None:
    rules = [{"name": "дважды", "when": {"question": "да"}, "expect": 2, "reply": {"text": "да"}}]
    _, client, control = start({"rules": rules})
    said(client, "да")
    report = control.do("Verify")
    (problem,) = report.problems
    assert (problem.check, problem.subject) == (EXPECT, "дважды (fixtures[1] rules[0])")
    assert "chosen 1 time, expected exactly 2" in problem.text
    said(client, "да")
    report = control.do("Verify")
    assert not report.problems
    assert [line.partition(":")[0] for line in report.held] == ["дважды (fixtures[1] rules[0])", "times"]


def test_strict_verification_finds_calls_that_no_rule_answered_and_ends_that_no_get_has_told(start: Start) -> None:
    _, client, control = start({"rules": [{"when": {"question": "да"}, "times": 1, "reply": {"text": "да"}}]})
    said(client, "да")
    said(client, "да")
    client.call(ASYNC, asking("иначе"))
    assert {problem.check for problem in control.do("Verify").problems} == {TIMES}
    assert {problem.check for problem in control.do("Verify", strict=True).problems} == {TIMES, UNMATCHED, UNFETCHED}
    assert {problem.check for problem in control.do("Verify", checks=[UNFETCHED]).problems} == {UNFETCHED}
    assert not control.do("Verify", checks=[UNREAD]).problems
    control.do("Reset", parts=[JOURNAL, OPERATIONS])
    assert not control.do("Verify", strict=True).problems


def test_a_stream_that_its_client_left_is_found(start: Start) -> None:
    stream = {"text": "раз два три", "stream": {"words": 1, "every": "1s"}}
    emulator, client, control = start({"rules": [{"reply": stream}]})
    left = client.begin("TextGenerationService/Completion", asking("а", stream=True))
    next(left)
    left.cancel()
    eventually(lambda: [call for call in emulator.sessions.default.journal if call.code == "CANCELLED"])
    (problem,) = control.do("Verify", checks=[UNREAD]).problems
    assert "the client left after 1 message" in problem.text
    assert emulator.sessions.default.clock.sleepers == 0


@pytest.mark.parametrize("check", [0, 6])
def test_a_check_that_is_none_is_refused(start: Start, check: int) -> None:
    code, text = start()[2].refused("Verify", checks=[check])
    assert code == "INVALID_ARGUMENT"
    assert "expect, times, unmatched, unread, unfetched" in text


# -- explanation


def test_an_explanation_shows_what_differs_and_a_rule_that_would_match(start: Start) -> None:
    _, client, control = start({"rules": [{"name": "р", "when": {"question": "да"}, "reply": {"text": "да"}}]})
    said(client, "да")
    said(client, "нет")
    said(client, "да")
    explained = control.do("Explain")
    assert explained.call_id == "c2"
    for expected in ("р", "да", "нет", "no rule matches"):
        assert expected in explained.text
    control.add(explained.rule if explained.rule.startswith("rules") else "rules:\n" + explained.rule)
    control.do("Reset", parts=[JOURNAL])
    said(client, "нет")
    assert not control.calls(filter={"unmatched": True})


def test_a_call_that_a_rule_answered_is_explained_by_its_id(start: Start) -> None:
    _, client, control = start(MANY)
    said(client, "да")
    explained = control.do("Explain", call_id="c1")
    assert "answered by: да" in explained.text


def test_a_get_is_explained_as_something_that_no_rule_is_asked_about(start: Start) -> None:
    _, client, control = start()
    created = client.call(ASYNC, asking("а")).only
    client.operation(created.id)
    explained = control.do("Explain", call_id="c2")
    assert "no rule is asked about this method" in explained.text
    assert explained.rule == ""


def test_what_can_not_be_explained_is_not_found(start: Start) -> None:
    _, client, control = start(MANY)
    said(client, "да")
    assert control.refused("Explain")[0] == "NOT_FOUND"
    assert control.refused("Explain", call_id="c7")[0] == "NOT_FOUND"


def test_a_refusal_under_strictness_names_the_command_that_explains_it_in_its_session(start: Start) -> None:
    _, client, _ = start(MANY, strict=True)
    other = Controller(client, session="other")
    refused = client.complete(asking("нет"), metadata=other.metadata)
    assert refused.code == "FAILED_PRECONDITION"
    assert "fm-emulator explain c1 --session other" in refused.text
    assert "question" in other.do("Explain", call_id="c1").text
    assert "of session other" in other.refused("Explain", call_id="c9")[1]


# -- the clock


def test_the_clock_stands_runs_and_stands_again(start: Start) -> None:
    _, _, control = start()
    state = control.do("GetClock")
    assert (state.now.seconds, state.now.nanos, state.frozen, state.speed, state.sleepers) == (
        *(NOON_SECONDS, 0, True),
        *(1.0, 0),
    )
    running = control.do("RunClock", speed=1000)
    assert (running.frozen, running.speed) == (False, 1000)
    assert control.do("RunClock").speed == 1000
    stopped = control.do("FreezeClock")
    assert stopped.frozen
    assert control.do("GetClock").now == stopped.now


def test_the_clock_is_put_to_an_instant_and_calls_up_to_there_run_on(start: Start) -> None:
    _, client, control = start({"rules": [{"reply": {"text": "утро", "delay": "20h"}}]}, frozen=False)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.complete, asking("а"))
        control.sleepers(1)
        state = control.do("FreezeClock", at={"seconds": NOON_SECONDS + 86_400, "nanos": 5})
        assert (state.now.seconds, state.now.nanos, state.frozen) == (NOON_SECONDS + 86_400, 5, True)
        assert text_of(waiting.result()) == "утро"


@pytest.mark.parametrize("at", [{"seconds": NOON_SECONDS - 1}, {"seconds": -5}, {}, {"seconds": 253_402_300_800}])
def test_an_instant_that_can_not_be_leaves_the_clock_as_it_is(start: Start, at: dict[str, int]) -> None:
    _, _, control = start(frozen=False)
    assert control.refused("FreezeClock", at=at)[0] == "INVALID_ARGUMENT"
    assert not control.do("GetClock").frozen


@pytest.mark.parametrize("speed", [-1, float("nan"), float("inf"), 1e7])
def test_a_speed_that_can_not_be_is_refused(start: Start, speed: float) -> None:
    _, _, control = start()
    assert control.refused("RunClock", speed=speed)[0] == "INVALID_ARGUMENT"
    assert control.do("GetClock").frozen


@pytest.mark.parametrize("by", [{"seconds": -1}, {"nanos": -1}, {"seconds": 3650 * 86_400, "nanos": 1}])
def test_a_span_that_can_not_be_is_refused(start: Start, by: dict[str, int]) -> None:
    assert start()[2].refused("AdvanceClock", by=by) == ("INVALID_ARGUMENT", "by: give a duration from 0 to 3650 days")


def test_the_clock_stays_where_timestamps_can_tell_it(start: Start) -> None:
    _, client, control = start(now="9899-12-31T00:00:00Z")
    years = {"seconds": 3650 * 86_400}
    for _ in range(10):
        control.do("AdvanceClock", by=years)
    assert client.complete(asking("а")).code == "OK"
    assert control.calls()[0].sent_at[0].ToDatetime().year == 9999
    code, text = control.refused("AdvanceClock", by=years)
    assert code == "INVALID_ARGUMENT"
    assert "9999" in text


def test_two_who_advance_the_clock_at_once_take_turns(start: Start) -> None:
    paced = {"text": "раз два три четыре", "stream": {"words": 1, "every": "1s"}}
    _, client, control = start({"rules": [{"reply": paced}]})
    with ThreadPoolExecutor() as pool:
        stream = pool.submit(client.complete, asking("а", stream=True))
        control.sleepers(1)
        both = [pool.submit(control.advance, 5) for _ in range(2)]
        ends = sorted(one.result().clock.now.seconds for one in both)
        assert stream.result().code == "OK"
    assert ends == [NOON_SECONDS + 5, NOON_SECONDS + 10]


def test_waiting_for_sleepers_takes_as_long_as_the_client_allows(start: Start) -> None:
    emulator, _, control = start()
    assert control.ask("WaitForSleepers", timeout=0.2, count=1).code == "DEADLINE_EXCEEDED"
    assert control.ask("WaitForSleepers", count=0).code == "OK"
    assert control.refused("WaitForSleepers", count=-1) == ("INVALID_ARGUMENT", "count: -1 is less than 0")
    session = emulator.sessions.default
    eventually(lambda: session.holders == 0)


def test_waiting_for_sleepers_ends_with_the_emulator(connect: Connect) -> None:
    with ThreadPoolExecutor() as pool:
        with Emulator(frozen=True) as emulator:
            waiting = pool.submit(Controller(connect(emulator)).ask, "WaitForSleepers", count=1)
            eventually(lambda: emulator.sessions.default.holders)
        assert waiting.result().code == "UNAVAILABLE"


# -- operations by hand

STAGES = {
    "rules": [
        {
            "name": "долго",
            "reply": {"text": "готово"},
            "operation": {"timeline": [{"at": "1m", "status": "IN_PROGRESS"}, {"at": "1h", "status": "COMPLETED"}]},
        }
    ]
}


def begun(client: Client) -> str:
    id_: str = client.call(ASYNC, asking("а")).only.id
    return id_


def test_operations_are_listed_and_looking_is_no_get(start: Start) -> None:
    _, client, control = start(STAGES)
    ids = [begun(client), begun(client)]
    client.operation(ids[0])
    control.advance(90)
    states = list(control.do("ListOperations").operations)
    assert [state.id for state in states] == ids
    first = states[0]
    assert (first.kind, first.rule, first.status, first.done, first.polls) == (
        *("completion_async", "долго"),
        *("IN_PROGRESS", False, 1),
    )
    assert (first.created_at.seconds, first.modified_at.seconds) == (NOON_SECONDS, NOON_SECONDS + 60)
    assert not first.fetched
    assert states[1].polls == 0


def test_an_operation_is_finished_by_hand(start: Start) -> None:
    _, client, control = start(STAGES)
    state = control.do("FinishOperation", operation_id=begun(client))
    assert (state.status, state.done, state.fetched) == ("COMPLETED", True, False)
    got = client.operation(state.id)
    assert got.done
    assert got.WhichOneof("result") == "response"
    assert control.do("ListOperations").operations[0].fetched
    for name in ("FinishOperation", "FailOperation", "StepOperation"):
        code, text = control.refused(name, operation_id=state.id)
        assert code == "FAILED_PRECONDITION"
        assert "done already" in text
    assert control.do("CancelOperation", operation_id=state.id).status == "COMPLETED"


def test_an_operation_fails_by_hand_with_the_status_that_is_given(start: Start) -> None:
    _, client, control = start(STAGES)
    id_ = begun(client)
    for code in (0, 17, -3):
        refused = control.refused("FailOperation", operation_id=id_, error={"code": code})
        assert refused[0] == "INVALID_ARGUMENT"
    state = control.do("FailOperation", operation_id=id_, error={"code": 8, "message": "места нет"})
    assert (state.status, state.error.code, state.error.message) == ("FAILED", 8, "места нет")
    assert client.operation(id_).error.message == "места нет"
    plain = control.do("FailOperation", operation_id=begun(client))
    assert plain.error.code == 13
    assert plain.error.message


def test_an_operation_is_cancelled_and_stepped_by_hand(start: Start) -> None:
    _, client, control = start(STAGES)
    id_ = begun(client)
    assert control.do("StepOperation", operation_id=id_).status == "IN_PROGRESS"
    assert control.do("StepOperation", operation_id=id_).done
    assert client.operation(id_).done
    cancelled = control.do("CancelOperation", operation_id=begun(client))
    assert (cancelled.status, cancelled.error.code) == ("CANCELED", 1)


@pytest.mark.parametrize("name", ["FinishOperation", "FailOperation", "CancelOperation", "StepOperation"])
def test_an_operation_that_is_not_there_is_not_found(start: Start, name: str) -> None:
    assert start()[2].refused(name, operation_id="d7qnone")[0] == "NOT_FOUND"


# -- sizes


def test_rules_larger_than_an_ordinary_request_may_be_are_taken(start: Start) -> None:
    _, _, control = start()
    rules = "rules: [{reply: {text: ок}}]\n# " + "я" * (3 << 20)
    assert control.do("AddRules", fixtures={"files": {"rules.yaml": rules.encode()}}).rules == 1


def test_an_ordinary_request_is_bounded_as_grpc_bounds_it(start: Start) -> None:
    _, client, _ = start()
    assert client.call("TextGenerationService/Completion", b"\x0a" * (5 << 20)).code == "RESOURCE_EXHAUSTED"


def test_what_was_ended_by_hand_makes_room_also_where_the_clock_was_put_back_since(
    serve: Serve, connect: Connect
) -> None:
    client = connect(serve(frozen=True, now=NOON, max_operations=1))
    control = Controller(client)
    first = client.call(ASYNC, asking("?")).only.id
    control.advance(0.5)
    control.do("FinishOperation", operation_id=first)
    control.do("Reset", parts=["CLOCK"])
    assert client.call(ASYNC, asking("?")).only.id != first


def test_what_was_stepped_to_its_end_makes_room_also_where_the_clock_was_put_back_to_before_it_began(
    serve: Serve, connect: Connect
) -> None:
    client = connect(serve(frozen=True, now=NOON, max_operations=1))
    control = Controller(client)
    control.advance(0.5)
    first = client.call(ASYNC, asking("?")).only.id
    assert control.do("StepOperation", operation_id=first).done
    control.do("Reset", parts=["CLOCK"])
    assert client.call(ASYNC, asking("?")).only.id != first
