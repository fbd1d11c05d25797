"""The rows of a batch, each answered by the same rules as a completion.

A batch works on a fork: the rules, counters and states that were there when it began. Rows count among themselves, in
order, and touch nobody else's counters or journal, so what they come to is a function of the fork and the dataset alone
and can be worked out whenever it is needed, here or in another process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..api import BatchCompletionRequest, CompletionRequest
from ..errors import Status
from ..replies.play import Play
from ..rules.subject import Row
from ..rules.text import Text
from ..seed import Seed
from .book import Book
from .choose import State, apply, choose
from .layers import Layer, dumped, revived, stacked

NO_RULE = "no rule matches this row, and the emulator is strict"


class Line(Struct):
    """One line of a dataset: messages as they came."""

    request: list[dict[str, str]]


class Answered(Struct):
    """What became of the row `number` (from 1): its `response`, or the `error` that it failed with. `size` is that of
    its line in bytes.
    """

    number: int
    messages: list[dict[str, str]]
    response: str | None = None
    error: str = ""
    size: int = 0


class Fork(Struct):
    """What the rows of one batch are answered with. `request` is the BatchCompletionRequest, serialized, `metadata` the
    text metadata of the call that began it.
    """

    layers: tuple[Layer, ...]
    state: State
    seed: Seed
    strict: bool
    request: bytes
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, layers: Sequence[Layer], state: State, **more: Any) -> Fork:
        """A fork of these rules, with counters of its own."""
        own = State(dict(state.chosen), dict(state.given), dict(state.scenario))
        return cls(tuple(layers), own, **more)

    def packed(self) -> Packed:
        """The same as plain values, for another process."""
        layers = [(layer.id, dumped(layer.book)) for layer in self.layers]
        state = (self.state.chosen, self.state.given, self.state.scenario)
        return Packed(layers, state, (self.seed.root, self.seed.path), self.strict, self.request, dict(self.metadata))


class Packed(Struct):
    """A `Fork` that can be pickled."""

    layers: list[tuple[str, Any]]
    state: tuple[dict[str, int], dict[tuple[str, str], int], dict[str, str]]
    seed: tuple[int, bytes]
    strict: bool
    request: bytes
    metadata: dict[str, str]

    def opened(self) -> Fork:
        """The fork again. Raises what `revived` raises."""
        layers = tuple(Layer(id_, revived(data)) for id_, data in self.layers)
        return Fork(layers, State(*self.state), Seed(*self.seed), self.strict, self.request, self.metadata)


def answered(fork: Fork, lines: Iterable[bytes]) -> Iterator[Answered]:
    """Each row of a dataset's JSON lines with what became of it, in order. The fork stays as it is.

    Lines are those of a dataset that was found valid; one that is none fails alone.
    """
    rows = _Rows(fork)
    decode = msgspec.json.Decoder(Line).decode
    for number, line in enumerate(lines, 1):
        try:
            row = rows.answer(number, decode(line).request)
        except (msgspec.MsgspecError, UnicodeDecodeError) as failed:
            row = Answered(number, [], None, f"the line is no row: {failed}")
        row.size = len(line)
        yield row


class _Rows:
    """The fork at work: its own state moves from row to row."""

    def __init__(self, fork: Fork) -> None:
        self._book: Book = stacked(fork.layers)
        self._state = State(dict(fork.state.chosen), dict(fork.state.given), dict(fork.state.scenario))
        self._seed, self._strict, self._metadata = fork.seed, fork.strict, fork.metadata
        batch = BatchCompletionRequest.FromString(fork.request)
        self._dataset = Text(batch.source_dataset_id) if batch.source_dataset_id else None
        self._blank = _blank(batch)

    def answer(self, number: int, messages: list[dict[str, str]]) -> Answered:
        request = CompletionRequest()
        request.CopyFrom(self._blank)
        for message in messages:
            request.messages.add(role=message.get("role", ""), text=message.get("text", ""))
        state = self._state
        subject = Row(request, number, self._dataset, self._metadata, state.scenario)
        play, delta = choose(self._book, state, subject, self._seed)
        if play.unmatched and self._strict:
            return Answered(number, messages, None, NO_RULE)
        apply(state, delta)
        try:
            return Answered(number, messages, _response(play))
        except Status as failed:
            return Answered(number, messages, None, failed.message)


def _blank(batch: Any) -> Any:
    """The request that each row stands for, with no messages yet."""
    blank = CompletionRequest(model_uri=batch.model_uri)
    blank.completion_options.CopyFrom(batch.completion_options)
    blank.completion_options.stream = False
    if batch.WhichOneof("ResponseFormat") == "json_object":
        blank.json_object = batch.json_object
    elif batch.WhichOneof("ResponseFormat") == "json_schema":
        blank.json_schema.CopyFrom(batch.json_schema)
    return blank


def _response(play: Play) -> str:
    """The text of the reply; of tool calls, which are no text, their JSON. Raises the Status of a play that fails."""
    if play.failure is not None:
        raise play.failure
    if play.cutting is not None and play.cutting.stop is not None:
        raise play.cutting.stop
    final = play.final()
    message = final.alternatives[0].message if final.alternatives else None
    if message is None:
        return ""
    if message.WhichOneof("Content") == "tool_call_list":
        from ..api import to_dict

        return json.dumps(to_dict(message.tool_call_list, camel=True), ensure_ascii=False)
    return str(message.text)
