"""From a final reply to a stream: what each message holds, when it comes, and how it breaks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.client import asking

from emulator.api import CompletionResponse
from emulator.errors import Code, Status
from emulator.replies.completion import text_reply, tool_reply
from emulator.replies.streams import FOREVER, MODES, Cutting, Step, pieces_of, spelled_out, steps
from emulator.rules.decode import decode
from emulator.rules.inline import nodes_of
from emulator.rules.model import Stream
from emulator.rules.problems import Problems
from emulator.rules.subject import Subject
from emulator.seed import Seed

MS = 1_000_000
STOPPED = Status(Code.UNAVAILABLE, "обрыв")
TEXT = "Жил-был кот. Он спал на печке."


def spec(**fields: Any) -> Stream:
    problems = Problems("spec")
    stream: Stream = decode(nodes_of(fields), Stream, problems)
    assert not problems.mistakes
    return stream


def reply(text: str, **options: Any) -> Any:
    request = asking("?", stream=True, **options)
    return text_reply(Subject("completion", request, request.SerializeToString(), {}), text)


def sent(text: str, ending: Status | None = None, streaming: bool = True, seed: int = 0, **fields: Any) -> list[Step]:
    """The steps, each message as it is when it goes out."""
    out = []
    for step in steps(reply(text), Cutting(spec(**fields), Seed(seed), ending, streaming)):
        message = None
        if step.message is not None:
            message = CompletionResponse()
            message.CopyFrom(step.message)
        out.append(Step(step.wait, message, step.failure))
    return out


def texts(steps_: list[Step]) -> list[str]:
    return [s.message.alternatives[0].message.text for s in steps_ if s.message is not None]


CUTS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.tuples(st.sampled_from(sorted(MODES)), st.integers(1, 12)).map(lambda pair: dict([pair])),
)


@given(st.text(min_size=1, max_size=120), CUTS)
def test_every_message_extends_the_one_before_and_the_last_is_the_reply(text: str, cut: dict[str, Any]) -> None:
    messages = [step.message for step in sent(text, **cut)]
    assert messages[-1] == reply(text)
    so_far = [m.alternatives[0].message.text for m in messages]
    assert all(len(a) < len(b) and b.startswith(a) for a, b in itertools.pairwise(so_far))
    assert [m.alternatives[0].status for m in messages] == [1] * (len(messages) - 1) + [3]


@given(st.text(min_size=1, max_size=120), CUTS)
def test_usage_grows_with_every_message_up_to_the_replys_own(text: str, cut: dict[str, Any]) -> None:
    usages = [step.message.usage for step in sent(text, **cut)]
    assert len({usage.input_text_tokens for usage in usages}) == 1
    assert all(u.total_tokens == u.input_text_tokens + u.completion_tokens for u in usages)
    assert usages[-1] == reply(text).usage
    counts = [usage.completion_tokens for usage in usages]
    if len(counts) <= counts[-1]:  # more messages than tokens can't all add one
        assert counts[0] >= 1
        assert all(a < b for a, b in itertools.pairwise(counts))


@given(st.text(min_size=1, max_size=120), CUTS)
def test_pieces_join_to_the_text(text: str, cut: dict[str, Any]) -> None:
    pieces = pieces_of(text, spec(**cut))
    assert "".join(pieces) == text
    assert "" not in pieces


@pytest.mark.parametrize(
    ("cut", "pieces"),
    [
        ({"words": 2}, 3),
        ({"characters": 10}, 3),
        ({"chunks": 4}, 4),
        ({"tokens": 1000}, 1),
        ({}, 1),
    ],
)
def test_the_text_is_cut_by_what_the_stream_says(cut: dict[str, Any], pieces: int) -> None:
    assert len(sent(TEXT, **cut)) == pieces


@pytest.mark.parametrize("text", ["", "да"])
def test_a_text_of_one_chunk_or_none_is_one_final_message(text: str) -> None:
    (only,) = sent(text, words=1)
    assert only == Step(0, reply(text))


def test_pieces_are_sent_as_written_with_their_counts_and_waits() -> None:
    pieces = [{"text": "Жил", "completion_tokens": 3, "after": "5ms"}, "-был", {"text": " кот.", "after": "7ms"}]
    got = sent("Жил-был кот.", pieces=pieces, every="20ms")
    assert texts(got) == ["Жил", "Жил-был", "Жил-был кот."]
    assert [step.wait for step in got] == [5 * MS, 20 * MS, 7 * MS]
    assert got[0].message.usage.completion_tokens == 3


def test_pieces_of_a_text_that_max_tokens_cut_end_with_it() -> None:
    assert pieces_of("Жил-б", spec(pieces=["Жил", "-был", " кот."])) == ["Жил", "-б"]


def test_the_first_message_and_the_others_have_their_own_waits() -> None:
    assert [s.wait for s in sent(TEXT, words=2, first_after="300ms", every="40ms")] == [300 * MS, 40 * MS, 40 * MS]


def test_waits_that_are_spread_are_drawn_each_for_itself_from_the_seed() -> None:
    def waits(seed: int) -> list[int]:
        return [s.wait for s in sent(TEXT, seed=seed, words=1, every={"p50": "10ms", "p95": "50ms"})][1:]

    assert waits(1) == waits(1) != waits(2)
    assert len(set(waits(1))) == len(waits(1))


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stream_that_stops_has_sent_just_so_many_messages(after: int) -> None:
    got = sent(TEXT, STOPPED, words=2, stop={"after": after})
    assert texts(got) == texts(sent(TEXT, words=2))[:after]
    assert got[-1].failure is STOPPED


def test_a_stream_may_fail_after_its_last_message() -> None:
    got = sent(TEXT, STOPPED, words=2, stop={"after": 3})
    assert texts(got) == texts(sent(TEXT, words=2))
    assert (got[-1].message, got[-1].failure) == (None, STOPPED)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_stall_comes_after_so_many_messages(after: int) -> None:
    got = sent(TEXT, words=2, every="1ms", stall={"after": after, "for": "5s"})
    plain = [0, 1 * MS, 1 * MS, 0][: max(3, after + 1)]
    assert [step.wait for step in got] == [wait + (5000 * MS if i == after else 0) for i, wait in enumerate(plain)]


@pytest.mark.parametrize("after", [0, 2, 3])
def test_a_stall_for_ever_is_a_wait_without_end(after: int) -> None:
    got = sent(TEXT, words=2, every="1ms", stall={"after": after, "for": "forever"})
    assert [step.wait == FOREVER for step in got].index(True) == after


def test_a_stream_may_stall_before_it_stops() -> None:
    got = sent(TEXT, STOPPED, words=2, stall={"after": 1, "for": "5s"}, stop={"after": 1})
    assert [(step.wait, step.failure) for step in got] == [(0, None), (5000 * MS, STOPPED)]


# -- calls that don't stream


def test_a_call_that_does_not_stream_gets_the_reply_alone_and_no_waits() -> None:
    assert sent(TEXT, streaming=False, words=1, first_after="1s", every="1s") == [Step(0, reply(TEXT))]


def test_a_streams_stop_leaves_no_message_on_a_call_that_does_not_stream() -> None:
    assert sent(TEXT, STOPPED, streaming=False, words=1, stop={"after": 2}) == [Step(0, None, STOPPED)]


@pytest.mark.parametrize(("length", "wait"), [("5s", 5000 * MS), ("forever", FOREVER)])
def test_a_streams_stall_delays_a_call_that_does_not_stream(length: str, wait: int) -> None:
    (only,) = sent(TEXT, streaming=False, stall={"after": 0, "for": length})
    assert only.wait == wait


def test_tool_calls_are_one_message() -> None:
    request = asking("?", stream=True)
    final = tool_reply(Subject("completion", request, b"", {}), [("get_weather", {"city": "Москва"})])
    (only,) = steps(final, Cutting(spec(tokens=1, first_after="1s"), Seed(0)))
    assert only == Step(1000 * MS, final)


PACES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "first_after": st.sampled_from(["1s", {"p50": "1s", "p95": "5s"}]),
        "every": st.sampled_from(["20ms", {"p50": "800ms", "p95": "3s"}]),
        "stall": st.just({"after": 1, "for": "1m"}),
    },
)
PIECES = st.just({"pieces": ["Жил", {"text": "-был", "completion_tokens": 3, "after": "2s"}, " кот"]})


@given(st.text(max_size=120), st.one_of(CUTS, PIECES), PACES, st.integers(0, 9), st.sampled_from([None, 1, 40]))
def test_a_stream_that_is_spelled_out_has_the_same_steps(
    text: str, cut: dict[str, Any], pace: dict[str, Any], seed: int, tokens: int | None
) -> None:
    final = reply("Жил-был кот" if "pieces" in cut else text)
    if tokens is not None:
        final.usage.completion_tokens = tokens
    cutting = Cutting(spec(**cut, **pace), Seed(seed))

    def told(by: Cutting) -> list[tuple[int, bytes]]:
        return [(s.wait, b"" if s.message is None else s.message.SerializeToString()) for s in steps(final, by)]

    assert told(Cutting(spelled_out(final, cutting), Seed(seed + 1))) == told(cutting)
