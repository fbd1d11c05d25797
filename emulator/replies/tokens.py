"""Tokens: how long a text is to a model, estimated.

An estimate: the real tokenizer is not public. This one cuts text where a tokenizer would probably cut it, and was tuned
to recorded traffic. `hello` and `ping` cost 15 input tokens, as there; the turns of a chat (28, 63, 95) and English
replies come within a few per cent, and a Russian reply of 107 tokens is 107. In the recordings most Russian words are
one token, which is why Cyrillic pieces are longer here than Latin ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from emulator.replies import counting, graphemes
from emulator.rules.text import Text

_PIECE = r"""
      [ ]?[A-Za-z\u00c0-\u024f]{1,8}
    | [ ]?[\u0400-\u0481\u048a-\u052f]{1,12}
    | [ ]?[0-9]{1,3}
    | [ ]?[^\W\d_\u2e80-\ud7ff]{1,3}      # other alphabets; Han, kana and Hangul fall through to one a piece
    | \r?\n
    | [ ]{1,16}(?=[ ]\S)                  # an indent leaves its last space to the word
    | [ \t]{1,16}
    | [ ]?\S
    | \s
"""


# `counting` counts the same pieces without cutting them.
@functools.cache
def _piece() -> re.Pattern[str]:
    """Compiled when first needed, which takes a millisecond."""
    return re.compile(_PIECE, re.VERBOSE)


class Fixed(tuple[str, ...]):
    """Pieces of the chat template, which stand in a prompt as they are; other pieces are cut from a text."""

    __slots__ = ()


# The recorded chat template: a start mark and the assistant's opening frame the whole, a role and two line breaks each
# message. The system's text stands there without its role.
START, LINE_BREAK, END = "<s>", "[NL]", "[SEP]"
_START = Fixed([START])
_BREAK = Fixed([LINE_BREAK, LINE_BREAK])
_ROLES = {
    "system": Fixed(),
    "user": Fixed(["▁Пользователь", ":"]),
    "assistant": Fixed(["А", "сси", "стент", ":"]),
}
_OPENING = Fixed([*_ROLES["assistant"], "▁[", "EDIT", "ORS", "]", END])
_FRAME = len(_START) + len(_OPENING)
_FRAMES = {role: len(pieces) + len(_BREAK) for role, pieces in _ROLES.items()}

_LONGEST_KEPT = 2048
"""Characters of a text whose count is kept: clients send the same system prompts and histories again and again."""

_MOST_KEPT = 1024
_kept: dict[str, int] = {}


def split(text: str) -> list[str]:
    """The pieces of `text`, none empty, whose join is exactly `text`; an empty text has none.

    A space belongs to the piece after it, a punctuation mark is a piece, a long word is several. No piece ends within a
    grapheme cluster. The pieces of a text cut after a piece are the same pieces.
    """
    pieces: list[str] = _piece().findall(text)
    return pieces if graphemes.separate(text) else _whole(pieces, text)


def count(text: str) -> int:
    """How many pieces `split` makes of `text`."""
    return _counted(Text(text))


def _counted(text: Text) -> int:
    raw = text.raw
    if len(raw) > _LONGEST_KEPT:
        return _count(text)
    found = _kept.get(raw)
    if found is None:
        if len(_kept) >= _MOST_KEPT:  # rows are counted in threads, too, so several may be added at once
            _kept.clear()
        found = _kept[raw] = _count(text)
    return found


def _count(text: Text) -> int:
    found = None if text.narrow is None else counting.count(text.narrow)
    return len(split(text.raw)) if found is None else found


def completion_tokens(text: str) -> int:
    """What a reply of `text` costs: its pieces and the end mark (`Hi there! How are you?` is 8, as recorded)."""
    return count(text) + 1


def tool_call_tokens(tool_call_list: Any) -> int:
    """What a reply of a `ToolCallList` costs: names, arguments as JSON, the end mark (recorded: 14 for one call)."""
    return sum(map(len, _calls(tool_call_list))) + 1


def input_tokens(messages: Iterable[Any], tools: Iterable[Any] = ()) -> int:
    """What the prompt of a CompletionRequest's `messages` and `tools` costs, its chat template included.

    A lone user message `hello` costs 15, as recorded, of which 14 are the template's. Tool calls and results cost their
    names, arguments and contents; tools their names, descriptions and parameters.
    """
    total = _FRAME
    for message in messages:
        text = message.text
        if text and message.role in _FRAMES:
            total += _FRAMES[message.role] + count(text)
        else:
            total += sum(map(len, _message(message)))
    if tools:
        total += sum(map(len, _offered(tools)))
    return total


def said_tokens(said: Iterable[tuple[str, Text | None]]) -> int | None:
    """The same for messages of which only texts and who says them are known; None where that is not all there is."""
    total = _FRAME
    for role, text in said:
        frame = _FRAMES.get(role)
        if text is None or frame is None:
            return None
        total += frame + _counted(text)
    return total


def prompt(messages: Iterable[Any], tools: Iterable[Any] = ()) -> Iterator[Sequence[str]]:
    """The whole prompt in runs of pieces: `Fixed` ones of the chat template, others each cut from a text."""
    yield _START
    yield from _offered(tools)
    for message in messages:
        yield from _message(message)
    yield _OPENING


def _offered(tools: Iterable[Any]) -> Iterator[Sequence[str]]:
    for tool in tools:
        function = tool.function
        yield split(function.name)
        yield split(function.description)
        yield _struct(function.parameters)


def _message(message: Any) -> Iterator[Sequence[str]]:
    role = message.role.lower()
    yield _ROLES[role] if role in _ROLES else Fixed([f"▁{role}", ":"])
    yield split(message.text)
    yield from _calls(message.tool_call_list)
    for result in message.tool_result_list.tool_results:
        yield split(result.function_result.name)
        yield split(result.function_result.content)
    yield _BREAK


def _calls(tool_call_list: Any) -> Iterator[Sequence[str]]:
    for call in tool_call_list.tool_calls:
        yield split(call.function_call.name)
        yield _struct(call.function_call.arguments)


def _struct(struct: Any) -> list[str]:
    """A google.protobuf.Struct as JSON: a closing brace and a comma go with the piece before them, a key brings its
    colon, quotes are free.
    """
    pieces = ["{"]
    for i, (name, value) in enumerate(sorted(struct.fields.items())):
        if i:
            pieces[-1] += ","
        pieces += [*split(name), ":", *_value(value)]
    pieces[-1] += "}"
    return pieces


def _value(value: Any) -> list[str]:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _struct(value.struct_value)
    if kind == "list_value":
        items = [piece for item in value.list_value.values for piece in (*_value(item), ",")]
        return ["[", *items[:-1], "]"] if items else ["[]"]
    if kind == "string_value":
        return split(value.string_value)
    if kind == "number_value":
        return split(f"{value.number_value:g}")
    return [str(value.bool_value).lower() if kind == "bool_value" else "null"]


def _whole(pieces: list[str], text: str) -> list[str]:
    """`pieces` joined where the cut between two of them would fall within a cluster."""
    ends, end = set(), 0
    for cluster in graphemes.split(text):
        end += len(cluster)
        ends.add(end)
    joined: list[str] = []
    start = end = 0
    for piece in pieces:
        end += len(piece)
        if end in ends:
            joined.append(text[start:end])
            start = end
    return joined
