"""The Python side of the control API, in a thread of the emulator's own and in the caller's loop."""

from __future__ import annotations

import asyncio
import datetime
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from wire.client import asking, path
from wire.control import Controller

from emulator import Emulator, FixtureError, UsageError
from emulator.api import METHODS, GetOperationRequest

if TYPE_CHECKING:
    from conftest import Connect, Serve

NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)
ASYNC = "TextGenerationAsyncService/Completion"


@pytest.fixture
def emulator(serve: Serve) -> Emulator:
    """It stands at noon."""
    return serve(now=NOON, frozen=True)


@pytest.fixture
def say(emulator: Emulator, connect: Connect) -> Any:
    """`say(question)` gives the text of the reply."""
    client = connect(emulator)
    return lambda question="да", **more: client.complete(asking(question), **more).only.alternatives[0].message.text


# -- rules


def test_the_newest_rule_is_tried_first_and_goes_with_its_block(emulator: Emulator, say: Any) -> None:
    with emulator.rule(reply="старое") as old:
        with emulator.rule(when={"question": "да"}, reply={"text": "новое"}) as new:
            assert [say("да"), say("нет")] == ["новое", "старое"]
        assert say("да") == "старое"
        assert (old.times, new.times) == (2, 1)
        assert [call.about for call in old.calls] == ["нет", "да"]
        assert [call.text for call in new.calls] == ["новое"]
    assert say("да") not in ("новое", "старое")
    new.remove()


def test_fixtures_are_added_as_a_mapping_as_yaml_and_from_a_file(emulator: Emulator, say: Any, tmp_path: Any) -> None:
    emulator.add({"rules": [{"reply": {"text": "mapping"}}]})
    assert say() == "mapping"
    emulator.add("rules: [{reply: {text: yaml}}]")
    assert say() == "yaml"
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{reply: {text: file}}]")
    emulator.add(file)
    assert say() == "file"


def test_mistakes_are_told_all_at_once_at_the_line_that_made_them(emulator: Emulator) -> None:
    with pytest.raises(FixtureError) as caught:
        emulator.rule(reply={"txt": "а"}, times=-1)  # type: ignore[typeddict-unknown-key]
    assert len(caught.value.mistakes) == 2
    assert all(re.match(r"\S*test_steering\.py:\d+: ", str(mistake)) for mistake in caught.value.mistakes)
    with pytest.raises(FixtureError, match=r"test_steering\.py:\d+"):
        emulator.add({"rules": 1})
    assert emulator.book.rules == ()


def test_an_empty_text_is_not_taken_for_the_working_directory(emulator: Emulator) -> None:
    for given in ("", [""]):
        with pytest.raises(UsageError, match="an empty text is no path"):
            Emulator(fixtures=given)
    with pytest.raises(UsageError, match="an empty text is no path"):
        emulator.add("")


def test_rules_made_by_one_line_are_counted_apart(emulator: Emulator, say: Any) -> None:
    one, two = (emulator.rule(when={"question": question}, reply="а") for question in ("да", "нет"))
    say("да")
    say("нет")
    say("да")
    assert (one.times, two.times) == (2, 1)
    assert [[call.about for call in laid.calls] for laid in (one, two)] == [["да", "да"], ["нет"]]
    first, second = (rule.name for laid in (one, two) for rule in laid.book.rules)
    assert second == first.replace(" rules[0]", " (2) rules[0]")


def test_rules_that_went_are_told_from_those_that_the_line_lays_next(emulator: Emulator, say: Any) -> None:
    laid = []
    for question in ("да", "нет"):
        with emulator.rule(reply="а") as rule:
            say(question)
            laid.append(rule)
    assert [[call.about for call in rule.calls] for rule in laid] == [["да"], ["нет"]]


def test_places_are_numbered_anew_after_a_reset_and_as_the_snapshot_says_after_a_restore(emulator: Emulator) -> None:
    def lay() -> str:
        name: str = emulator.rule(reply="а").book.rules[0].name
        return name

    first, before = lay(), emulator.snapshot()
    second, third = lay(), lay()
    assert len({first, second, third}) == 3
    emulator.restore(before)
    assert [lay(), lay()] == [second, third]
    emulator.reset("journal")
    assert lay() not in (first, second, third)
    emulator.reset()
    assert lay() == first


def test_rules_of_a_snapshot_are_told_from_those_laid_after_it(emulator: Emulator, say: Any) -> None:
    def lay(question: str) -> Any:
        return emulator.rule(when={"question": question}, reply="а")

    lay("да")
    emulator.session("copy").restore(emulator.snapshot())
    emulator.restore(emulator.snapshot())
    lay("нет")
    say("да")
    say("нет")
    assert len({call.rule for call in emulator.calls()}) == 2


def test_the_same_rule_laid_twice_is_counted_apart(emulator: Emulator, say: Any) -> None:
    one, two = (emulator.rule(reply="а") for _ in range(2))
    say()
    assert (one.times, two.times) == (0, 1)


def test_a_session_of_its_own_is_steered_by_name(emulator: Emulator, say: Any) -> None:
    other = emulator.session("other")
    other.rule(reply="другая")
    assert say(metadata=[("x-emulator-session", "other")]) == "другая"
    assert (len(other.calls()), len(emulator.calls())) == (1, 0)
    other.clock.advance("1h")
    assert (other.clock.now - emulator.clock.now) == datetime.timedelta(hours=1)


def test_a_session_that_was_deleted_takes_nothing_any_more(emulator: Emulator, say: Any, connect: Connect) -> None:
    job = emulator.session("job")
    laid = job.rule(reply="старое")
    Controller(connect(emulator)).do("DeleteSession", id="job")
    for use in (
        lambda: job.rule(reply="новое"),
        lambda: job.add({"rules": []}),
        job.calls,
        job.verify,
        job.snapshot,
        job.reset,
        job.sdk,
        job.clock.freeze,
        lambda: job.clock.advance("1h"),
        lambda: job.clock.now,
        job.operations.list,
        lambda: laid.calls,
    ):
        with pytest.raises(RuntimeError, match=r"session job is over: it was deleted; ask .* session\('job'\)"):
            use()
    laid.remove()
    emulator.session("job").rule(reply="новое")
    assert say(metadata=[("x-emulator-session", "job")]) == "новое"


def test_sessions_of_an_emulator_that_began_again_are_over(emulator: Emulator) -> None:
    job, clock = emulator.session("job"), emulator.clock
    emulator.renew(emulator.config)
    with pytest.raises(RuntimeError, match="session job is over: the emulator began again"):
        job.rule(reply="?")
    with pytest.raises(RuntimeError, match=r"that the emulator began with is over: .*; ask the emulator itself"):
        clock.freeze()
    emulator.clock.freeze()
    emulator.session("job").rule(reply="?")


def test_a_session_that_is_steered_is_in_use(serve: Serve) -> None:
    emulator = serve(session_idle=600)
    held, left = emulator.session("held"), emulator.session("left")
    for session in emulator.sessions:
        session.used -= 1000
    held.calls()
    emulator.session("another")
    assert held.calls() == []
    with pytest.raises(RuntimeError, match="session left is over: nobody used it for 600 s"):
        left.rule(reply="?")


# -- calls


def test_calls_are_found_by_what_they_were(emulator: Emulator, say: Any) -> None:
    emulator.rule(name="да", when={"question": "да"}, reply="да")
    say("да")
    say("нет")
    assert [call.about for call in emulator.calls()] == ["да", "нет"]
    for fields in (
        {"rule": "да"},
        {"when": {"question": "да"}},
        {"when": "question: да"},
    ):
        assert [call.about for call in emulator.calls(**fields)] == ["да"]
    (call,) = emulator.calls(unmatched=True)
    assert (call.about, call.code, call.kind, call.began_at) == ("нет", "OK", "completion", NOON)
    assert call.request.messages[0].text == "нет"
    assert call.request_json["messages"][0]["text"] == "нет"
    assert call.replies[-1].alternatives[0].message.text == call.text
    assert "нет" in repr(call)
    with pytest.raises(UsageError, match="no such status"):
        emulator.calls(code="FINE")


def test_a_call_of_an_unknown_method_has_no_replies(emulator: Emulator, connect: Connect) -> None:
    connect(emulator).call("/no.Such/Method", b"")
    (call,) = emulator.calls()
    assert (call.replies, call.text, call.code) == ([], "", "UNIMPLEMENTED")
    with pytest.raises(ValueError, match="no method that is known"):
        _ = call.request


def test_an_assertion_about_calls_shows_the_nearest(emulator: Emulator, say: Any) -> None:
    say("Погода в Твери")
    assert len(emulator.assert_called(1, kind="completion")) == 1
    assert len(emulator.assert_called(when={"question": {"contains": "Твери"}})) == 1
    with pytest.raises(AssertionError) as failed:
        emulator.assert_called(2, when={"question": {"contains": "Москве"}})
    for expected in ("expected exactly 2", "0 of 1 calls fit", "Москве", "Погода в Твери"):
        assert expected in str(failed.value)
    with pytest.raises(AssertionError, match="at least 2"):
        emulator.assert_called(at_least=2)
    assert emulator.assert_called(0, rule="нет") == []


def test_an_explanation_is_text(emulator: Emulator, say: Any) -> None:
    emulator.rule(name="р", when={"question": "да"}, reply="да")
    with pytest.raises(LookupError, match="every call so far"):
        emulator.explain()
    say("нет")
    text = emulator.explain()
    assert "question" in text
    assert "a rule that matches it" in text
    assert emulator.explain(emulator.calls()[0]) == text
    with pytest.raises(LookupError, match="c9"):
        emulator.explain("c9")


def test_verification_raises_with_everything_that_differs(emulator: Emulator, say: Any) -> None:
    emulator.rule(name="р", when={"question": "да"}, reply="да", expect=1)
    with pytest.raises(AssertionError, match="chosen 0 times"):
        emulator.verify()
    say("да")
    emulator.verify()
    say("нет")
    with pytest.raises(AssertionError, match="unmatched"):
        emulator.verify()
    emulator.verify("expect", "times")
    with pytest.raises(UsageError, match="no such check: all"):
        emulator.verify("all")


# -- clock, operations, the whole


def test_the_clock_has_bounds(emulator: Emulator) -> None:
    for wrong in (0, -1, 1_000_001, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"speed: .* must be more than 0 and at most 1000000"):
            emulator.clock.run(wrong)
    with pytest.raises(ValueError, match="past the year 9999"):
        emulator.clock.advance(datetime.timedelta(days=365 * 8000))
    assert emulator.clock.now == NOON


def test_the_clock_is_moved_by_texts_and_by_spans(emulator: Emulator) -> None:
    clock = emulator.clock
    assert clock.advance("1m30s") == 0
    assert clock.advance(datetime.timedelta(hours=1)) == 0
    assert clock.now == NOON + datetime.timedelta(hours=1, seconds=90)
    clock.advance_to(NOON + datetime.timedelta(days=1))
    assert clock.now == NOON + datetime.timedelta(days=1)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance_to(NOON)
    with pytest.raises(ValueError, match="back"):
        clock.advance(datetime.timedelta(seconds=-1))
    clock.run(1000)
    assert not clock.frozen
    clock.freeze()
    assert clock.frozen
    with pytest.raises(TimeoutError, match="0 calls wait"):
        clock.wait_for_sleepers(1, timeout=0.01)


def test_a_delayed_call_ends_when_the_clock_has_come(emulator: Emulator, say: Any) -> None:
    emulator.rule(reply={"text": "поздно", "delay": "1h"})
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(say)
        emulator.clock.wait_for_sleepers()
        assert emulator.calls()[0].code is None
        emulator.clock.advance("1h")
        assert waiting.result() == "поздно"
    (call,) = emulator.calls()
    assert call.sent_at == [NOON + datetime.timedelta(hours=1)]


def test_operations_are_steered_by_hand(emulator: Emulator, connect: Connect) -> None:
    client = connect(emulator)
    emulator.rule(call="completion_async", reply="готово", operation={"done_after": "1h"})
    ids = [client.call(ASYNC, asking(f"{n}")).only.id for n in range(3)]
    operations = emulator.operations
    assert [operation.id for operation in operations.list()] == ids
    assert operations.finish(ids[0]).done
    assert operations.fail(ids[1], "UNAVAILABLE", "занято").status == "FAILED"
    assert operations.cancel(ids[2]).status == "CANCELED"
    assert client.operation(ids[1]).error.message == "занято"
    assert operations.get(ids[1]).fetched
    with pytest.raises(ValueError, match="done already"):
        operations.step(ids[0])
    with pytest.raises(LookupError):
        operations.get("none")
    with pytest.raises(UsageError, match="FINE"):
        operations.fail(ids[0], "FINE")


def test_reset_and_restore(emulator: Emulator, say: Any) -> None:
    emulator.rule(replies=[{"text": "раз"}, {"text": "два"}])
    assert say() == "раз"
    snapshot = emulator.snapshot()
    assert say() == "два"
    emulator.restore(snapshot)
    assert emulator.calls() == []
    assert say() == "два"
    emulator.reset("counters")
    assert say() == "раз"
    emulator.reset()
    assert say() not in ("раз", "два")
    with pytest.raises(UsageError, match="no such part: all"):
        emulator.reset("all")
    with pytest.raises(UsageError, match="no snapshot"):
        emulator.restore(b"{}")


# -- where it serves


async def test_in_the_callers_loop_everything_is_awaited() -> None:
    rule: Any = {"reply": {"text": "поздно", "delay": "1h"}}
    async with Emulator({"rules": [rule]}, now=NOON, frozen=True) as e, grpc.aio.insecure_channel(e.target) as channel:
        call = channel.unary_unary(path("TextGenerationService/Completion"))(asking("а").SerializeToString())
        waiting = asyncio.ensure_future(call)
        await e.clock.wait_for_sleepers_async()
        assert e.calls()[0].code is None
        assert await e.clock.advance_async("30m") == 0
        assert not waiting.done()
        await e.clock.advance_to_async(NOON + datetime.timedelta(hours=1))
        output = METHODS[path("TextGenerationService/Completion")].output
        assert output.FromString(await waiting).alternatives[0].message.text == "поздно"
        e.assert_called(1, code="OK")
        with e.rule(call="completion_async", reply="готово", operation={"done_after": "72h"}):
            created = await channel.unary_unary(path(ASYNC))(asking("а").SerializeToString())
        (operation,) = e.operations.list()
        assert METHODS[path(ASYNC)].output.FromString(created).id == operation.id
        snapshot = await e.snapshot_async()
        e.operations.finish(operation.id)
        request = GetOperationRequest(operation_id=operation.id).SerializeToString()
        got = await channel.unary_unary(path("OperationService/Get"))(request)
        assert METHODS[path("OperationService/Get")].output.FromString(got).done
        e.restore(snapshot)
        assert not e.operations.get(operation.id).done


@pytest.mark.parametrize("name", ["advance", "advance_to", "wait_for_sleepers", "snapshot"])
async def test_what_would_block_the_loop_that_answers_names_its_twin(name: str) -> None:
    async with Emulator(now=NOON, frozen=True) as e:
        with pytest.raises(RuntimeError, match=f"{name}_async"):
            blocking(e, name)


@pytest.mark.parametrize("name", ["advance", "wait_for_sleepers", "snapshot"])
def test_what_needs_a_loop_says_that_nothing_serves_yet(name: str) -> None:
    with pytest.raises(RuntimeError, match="does not serve yet"):
        blocking(Emulator(now=NOON, frozen=True), name)


def blocking(e: Emulator, name: str) -> None:
    todo = {
        "advance": lambda: e.clock.advance("1s"),
        "advance_to": lambda: e.clock.advance_to(NOON),
        "wait_for_sleepers": e.clock.wait_for_sleepers,
        "snapshot": e.snapshot,
    }
    todo[name]()
