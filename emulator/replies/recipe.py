"""From a fixture's `reply:` to a way of making plays.

Everything that can be checked is checked here, at load: files are read, statuses and messages are held against the
descriptors, templates are compiled, faults of a stream are held against its chunks. `Recipe.play` then only fills in
what depends on the request.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from .. import wording
from ..api import (
    BatchCompletionResponse,
    CompletionResponse,
    ImageGenerationResponse,
    from_dict,
)
from ..calls import ALL_CALLS, CHATS, MEASURES
from ..rules import model
from ..rules.duration import draw
from ..rules.subject import CONTEXT_NAMES, Subject
from ..rules.template import compile_template, compile_value, has_template
from ..seed import Seed
from . import completion, defaults, measures, tokens
from .layers import CONTENT, CUTS, has_pieces, is_said, merged
from .metadata import LONGEST_PAIRS, rendered, wrong_key, wrong_value
from .notes import notes_on
from .play import Play
from .statuses import Report, ScriptedStatus, compile_status
from .streams import PLAIN, WHOLE, Cutting, pieces_of

RESPONSES: Mapping[str, type[Any]] = {
    **dict.fromkeys(CHATS, CompletionResponse),
    "generate_image": ImageGenerationResponse,
    "completion_batch": BatchCompletionResponse,
    **measures.RESPONSES,
}
Context = Mapping[str, Any]
ReadFile = Callable[[str], bytes]


class Recipe(Struct, frozen=True):
    """A compiled reply. `calls` are those it can answer; `content` names what it says, None for the default reply.

    `fixed` is the text that it says, where nothing of the reply is made by a template, drawn, or sent apart.
    """

    reply: model.Reply
    calls: frozenset[str]
    content: str | None
    make: Callable[[Subject, Context, Seed], Any]
    failure: ScriptedStatus | None = None
    stop: ScriptedStatus | None = None
    headers: tuple[tuple[str, Any], ...] = ()
    trailers: tuple[tuple[str, Any], ...] = ()
    calls_tools: bool = False
    fixed: completion.FixedText | None = None

    def at_once(self, rule: str, subject: Subject) -> Play | None:
        """What `play` gives, where it is one message of a fixed text, which takes no context and no seed; else None."""
        if self.fixed is None or subject.call != "completion":
            return None
        request = subject.request
        if request.completion_options.stream or request.WhichOneof("ResponseFormat") is not None:
            return None
        final = self.fixed.reply(subject)
        return Play(rule, final=lambda: final, cutting=WHOLE)

    def play(self, rule: str, subject: Subject, context: Context, seed: Seed) -> Play:
        """The answer to this call. Raises ValueError, naming the field, where a template fails."""
        reply = self.reply
        play = Play(rule)
        if self.headers:
            play.headers = rendered(self.headers, context)
        if self.trailers:
            play.trailers = rendered(self.trailers, context)
        if reply.delay is not None:
            play.delay = draw(reply.delay, seed, "delay")
        if self.failure is not None:
            play.failure = self.failure.status(context, folder=_folder(subject), call=subject.call)
            return play
        if subject.call == "generate_image" and self.content is None:
            play.final, play.slow = defaults.picture(subject, seed), True
            return play
        if subject.call == "completion_batch" and self.content is None:
            return play
        final = self.make(subject, context, seed)
        play.final = lambda: final
        if subject.call in CHATS:
            stop = None
            if self.stop is not None:
                stop = self.stop.status(context, folder=_folder(subject), call=subject.call)
            play.cutting = Cutting(reply.stream or PLAIN, seed, stop, subject.stream)
            play.notes = notes_on(final, subject, self.content)
        elif subject.call in MEASURES:
            play.notes = measures.notes_on(final, subject, self.content)
        return play


def _folder(subject: Subject) -> str:
    return subject.folder.raw if subject.folder is not None else ""


def compile_reply(
    reply: model.Reply,
    read_file: ReadFile,
    report: Report,
    defaults: model.Defaults | None = None,
    known: frozenset[str] = CONTEXT_NAMES,
) -> Recipe:
    """Compile a reply over its file's defaults; every mistake goes to `report(path below reply, text)`.

    `known` are the variables that its templates may use.
    """
    return _Compiler(reply, merged(reply, defaults), read_file, report, known).recipe()


class _Compiler:
    """One reply being compiled. `own` is what it says itself, `reply` the same with its file's defaults under it."""

    def __init__(
        self, own: model.Reply, reply: model.Reply, read_file: ReadFile, report: Report, known: frozenset[str]
    ) -> None:
        self.own, self.reply, self.read_file, self.report = own, reply, read_file, report
        self.known = known
        self.templates = reply.template is not False
        self.fixed: completion.FixedText | None = None

    def recipe(self) -> Recipe:
        reply = self.reply
        said = [name for name in CONTENT if is_said(name, getattr(reply, name))]
        if len(said) > 1:
            self.report((said[1],), f"a reply is one thing: leave out either {said[0]} or {said[1]}")
        content = said[0] if said else "text" if has_pieces(reply.stream) else None
        status = self._status(content)
        if content is None and status == "CONTENT_FILTER":
            content = "refusal"
        failure = stop = None
        if content == "error" and reply.error is not None:
            failure = compile_status(reply.error, self.known, self.templates, self._below("error"))
        if reply.stream is not None and reply.stream.stop is not None:
            at = self._below("stream", "stop", "error")
            stop = compile_status(reply.stream.stop.error, self.known, self.templates, at)
        make, calls = self._content(content, status)
        self._check_stream(content, make)
        stalled = reply.stream is not None and reply.stream.stall is not None
        apart = stop or stalled or reply.delay or reply.headers or reply.trailers or reply.usage
        return Recipe(
            reply,
            calls,
            content,
            make,
            failure,
            stop,
            self._pairs("headers", reply.headers),
            self._pairs("trailers", reply.trailers),
            content == "tool_calls" or (content == "message" and "tool_calls" in _keys(reply.message)),
            None if apart else self.fixed,
        )

    def _below(self, *steps: str | int) -> Report:
        return lambda path, text: self.report((*steps, *path), text)

    # -- content

    def _content(
        self, content: str | None, status: str | None
    ) -> tuple[Callable[[Subject, Context, Seed], Any], frozenset[str]]:
        reply = self.reply
        usage, version = self._usage(), reply.model_version
        if content in ("text", "json", "refusal"):
            text = self._text(content)
            short = status or completion.FINAL
            if isinstance(text, str):
                fixed = self.fixed = completion.FixedText(text, short, usage, version)
                return lambda s, c, seed: fixed.reply(s), CHATS
            return lambda s, c, seed: completion.text_reply(s, text(c), short, usage, version), CHATS
        if content == "tool_calls":
            calls = self._tool_calls()
            short = status or "TOOL_CALLS"
            return lambda s, c, seed: completion.tool_reply(s, calls(c), short, usage, version), CHATS
        if content == "image":
            data = self._file(reply.image or "", "image")
            image = ImageGenerationResponse(image=data, model_version=version or "")
            return lambda s, c, seed: image, frozenset({"generate_image"})
        if content is not None and content in measures.ANSWERED:
            measures.check_usage(content, self.own.usage, self._below("usage"))
            measure = measures.compiled(content, reply, self.report)
            return lambda s, c, seed: measure(s), measures.ANSWERED[content]
        if content == "message":
            return self._message()
        if content == "error":
            return lambda s, c, seed: None, ALL_CALLS
        short = status or completion.FINAL
        fits = ALL_CALLS if status is None and self.own.stream is None else CHATS
        if self.own.usage is not None:
            fits &= CHATS | measures.COUNTED if measures.counts_input_only(self.own.usage) else CHATS
        return lambda s, c, seed: defaults.message(s, seed, short, usage=usage, version=version), fits

    def _usage(self) -> model.Usage | None:
        """The usage that is given, or what explicit pieces say of it."""
        usage, pieces = self.reply.usage or model.Usage(), (self.reply.stream or model.Stream()).pieces or ()
        rest = 0
        for piece in reversed(pieces):
            if isinstance(piece, model.Piece) and piece.completion_tokens is not None:
                return replace(usage, completion_tokens=usage.completion_tokens or piece.completion_tokens + rest)
            rest += max(1, tokens.count(piece if isinstance(piece, str) else piece.text))
        return self.reply.usage

    def _text(self, content: str) -> str | Callable[[Context], str]:
        reply = self.reply
        if content == "refusal":
            return wording.REFUSAL
        if content == "json":
            return self._json()
        source = reply.text
        if source is None:
            assert reply.stream is not None
            assert reply.stream.pieces is not None
            return "".join(p if isinstance(p, str) else p.text for p in reply.stream.pieces)
        if isinstance(source, str):
            return self._template(source, "text")
        if (source.file is None) == (source.generate is None):
            self.report(("text",), "say either file or generate")
            return ""
        if source.generate is not None:
            return _filler(source.generate.tokens)
        text = self._file(source.file or "", "text", "file").decode("utf-8", "replace")
        return self._template(text, "text") if reply.template is True else text

    def _json(self) -> str | Callable[[Context], str]:
        value = self.reply.json
        if isinstance(value, str):  # sent as written: also a way to broken JSON
            return self._template(value, "json")
        dynamic = compile_value(value, self.known, self._below("json")) if self.templates else None
        if dynamic is None:
            return _json(value)
        return lambda context: _json(dynamic(context))

    def _tool_calls(self) -> Callable[[Context], list[completion.ToolCall]]:
        makers: list[Callable[[Context], completion.ToolCall]] = []
        for i, call in enumerate(self.reply.tool_calls or ()):
            if isinstance(call, str):
                makers.append(lambda c, name=call: (name, {}))  # type: ignore[misc]
                continue
            if len(call) != 1:
                self.report(("tool_calls", i), "a call is one name and its arguments: `- get_weather: {city: Москва}`")
                continue
            ((name, arguments),) = call.items()
            if not isinstance(arguments, (dict, type(None))):
                self.report(("tool_calls", i, name), "arguments are a mapping, e.g. {city: Москва}")
                continue
            makers.append(self._tool_call(name, arguments or {}, i))
        if not self.reply.tool_calls:
            self.report(("tool_calls",), "an empty list calls nothing; name a function")
        return lambda context: [make(context) for make in makers]

    def _tool_call(self, name: str, arguments: dict[str, Any], i: int) -> Callable[[Context], completion.ToolCall]:
        below = self._below("tool_calls", i, name)
        dynamic = compile_value(arguments, self.known, below) if self.templates else None
        if dynamic is None:
            try:
                completion.check_depth(name, arguments)
            except ValueError as failed:
                below((), str(failed))
            return lambda context: (name, arguments)
        return lambda context: (name, dynamic(context))

    def _message(self) -> tuple[Callable[[Subject, Context, Seed], Any], frozenset[str]]:
        value = self.reply.message or {}
        dynamic = compile_value(value, self.known, self._below("message")) if self.templates else None
        if dynamic is not None:
            return lambda s, c, seed: from_dict(dynamic(c), RESPONSES[s.call]), ALL_CALLS
        fitting: dict[str, Any] = {}
        wrong = ""
        for call, cls in RESPONSES.items():
            try:
                fitting[call] = from_dict(value, cls)
            except ValueError as failed:
                wrong = wrong or str(failed)
        if not fitting:
            self.report(("message",), f"no reply of any call has this shape: {wrong}")
            return lambda s, c, seed: None, ALL_CALLS
        return lambda s, c, seed: fitting[s.call], frozenset(fitting)

    # -- parts

    def _status(self, content: str | None) -> str | None:
        if self.reply.status is None:
            return None
        name = self.reply.status.upper().removeprefix(completion.PREFIX)
        if content in ("image", "message", "error", *measures.ANSWERED):
            self.report(("status",), f"{content} has no alternative to give a status to; leave it out")
        elif name not in completion.STATUSES or name == "UNSPECIFIED":
            import difflib

            near = difflib.get_close_matches(name, completion.STATUSES, 1)
            names = [n for n in completion.STATUSES if n != "UNSPECIFIED"]
            self.report(
                ("status",),
                f"no such status: {name}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"),
            )
            return None
        return name

    def _template(self, source: str, *where: str | int) -> str | Callable[[Context], str]:
        if not self.templates or not has_template(source):
            return source
        try:
            template = compile_template(source, self.known)
        except ValueError as failed:
            self.report(where, str(failed))
            return source
        return lambda context: _as_text(template.render(context))

    def _file(self, name: str, *where: str | int) -> bytes:
        try:
            return self.read_file(name)
        except ValueError as failed:
            self.report(where, str(failed))
            return b""

    def _pairs(self, field: str, pairs: dict[str, str] | None) -> tuple[tuple[str, Any], ...]:
        out: list[tuple[str, Any]] = []
        for key, value in (pairs or {}).items():
            wrong = wrong_key(key) or wrong_value(value)
            if wrong is not None:
                self.report((field, key), wrong)
            out.append((key, self._template(value, field, key)))
        if sum(len(key) + len(value) + 32 for key, value in (pairs or {}).items()) > LONGEST_PAIRS:
            self.report((field,), f"together more than clients take; stay within {LONGEST_PAIRS} characters")
        return tuple(out)

    def _check_stream(self, content: str | None, make: Callable[[Subject, Context, Seed], Any]) -> None:
        spec = self.reply.stream
        if spec is None:
            return
        modes = [mode for mode in CUTS if getattr(spec, mode) is not None]
        if len(modes) > 1:
            self.report(("stream", modes[1]), f"{modes[0]} says already how the text is cut; leave one of them out")
        if spec.pieces is not None:
            self._check_pieces(spec)
        if content in ("image", *measures.ANSWERED) and self.own.stream is not None:
            self.report(("stream",), f"a reply of {content} is not streamed; leave stream out")
        if content == "tool_calls" and spec.pieces is not None:
            self.report(("stream", "pieces"), "tool calls are sent in one message; leave the pieces out")
        if spec.stop is not None and spec.stall is not None and spec.stall.after > spec.stop.after:
            self.report(("stream", "stall"), "the stream has stopped before that")
        n = self._chunk_count(content, spec)
        for fault in ("stop", "stall"):
            at = getattr(spec, fault)
            if n is not None and at is not None and at.after > n:
                have = "1 chunk" if n == 1 else f"{n} chunks"
                self.report(("stream", fault, "after"), f"{at.after} is beyond the last chunk: the text makes {have}")

    def _check_pieces(self, spec: model.Stream) -> None:
        pieces = [p if isinstance(p, str) else p.text for p in spec.pieces or ()]
        if not pieces or "" in pieces:
            self.report(("stream", "pieces"), "each piece adds text; an empty one can't be told from the one before")
        said = [name for name in ("text", "json") if is_said(name, getattr(self.reply, name))]
        text = self._text(said[0]) if said else None
        if isinstance(text, str) and text != "".join(pieces):
            self.report(("stream", "pieces"), "the pieces don't join to text; leave text out, the pieces say it all")
        counts = [p.completion_tokens for p in spec.pieces or () if isinstance(p, model.Piece) and p.completion_tokens]
        if any(a >= b for a, b in itertools.pairwise(counts)):
            self.report(("stream", "pieces"), "completion_tokens must grow from piece to piece")
        whole = self.reply.usage.completion_tokens if self.reply.usage is not None else None
        if whole is not None and counts and counts[-1] > whole:
            self.report(("stream", "pieces"), f"{counts[-1]} completion_tokens are more than the {whole} of usage")

    def _chunk_count(self, content: str | None, spec: model.Stream) -> int | None:
        """How many chunks there will be, as far as it can be known now."""
        if spec.pieces is not None:
            return len(spec.pieces)
        if content not in ("text", "json", "refusal"):
            return spec.chunks
        text = self._text(content)
        return spec.chunks if not isinstance(text, str) else len(pieces_of(text, spec))


def _keys(value: Any) -> set[str]:
    """Every key in a JSON-like value, in the API's own spelling."""
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    if not isinstance(value, dict):
        return set()
    return {key.replace("toolCalls", "tool_calls") for key in value}.union(*map(_keys, value.values()))


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list, bool)) or value is None:
        return _json(value)
    return str(value)


_WORDS = ["Это", "текст", "заданной", "длины", ",", "который", "эмулятор", "пишет", "вместо", "модели", "."]


def _filler(n: int) -> str:
    """Text of exactly `n` tokens by the emulator's own count."""
    words = (f" {word}" if word not in ",." else word for word in _WORDS)
    unit = [piece for word in words for piece in tokens.split(word)]
    return "".join(unit[i % len(unit)] for i in range(n)).lstrip()


def _json(value: Any) -> str:
    import json  # which few rules need

    return json.dumps(value, ensure_ascii=False)
