"""`Subject`: a request as rules see it.

Everything is read from the message when it is first asked for and kept, so a hundred rules that look at the question
read and fold it once. What each name means is part of the fixture language and told in its reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..api import plain_struct
from ..call import texts_of
from ..calls import CONVERSATIONS
from . import paths
from .lazy import cached_property
from .operators import Model
from .text import Text

CONTEXT_NAMES = frozenset(
    [
        "question",
        "message",
        "messages",
        "system",
        "turn",
        "attempt",
        "model",
        "model_uri",
        "folder",
        "tools",
        "tool_results",
        "prompt",
        "seed",
        "ratio",
        "dataset",
        "row",
        "text",
        "labels",
        "task",
        "dim",
        "metadata",
        "request",
        "state",
        "vars",
        "call",
    ]
)
"""The names that a template may use."""


Said = Sequence[tuple[str, Text | None]]
"""Roles and texts of a request's messages, in order; None for what is no text, as tool calls and results are."""


def said_in(message: Any) -> Said:
    """What the messages of a request say."""
    return [
        (m.role, Text(text) if (text := m.text) or _has_text(m) else None) for m in getattr(message, "messages", ())
    ]


class Subject:
    """A parsed request of one of the calls that rules answer.

    `call` is the fixture language's name for it (`completion`, `generate_image`, ...), `raw` its bytes on the wire,
    `metadata` its text metadata or all its pairs, keys in lower case, `state` the scenario states as they are now,
    `said` what its messages say, where that has been read. `beyond` tells whether anything was read so far that the
    same request may not have next time: metadata, states, counts.
    """

    beyond = False

    def __init__(
        self,
        call: str,
        message: Any,
        raw: bytes,
        metadata: Mapping[str, str] | Sequence[tuple[str, str | bytes]],
        state: Mapping[str, str] | None = None,
        said: Said | None = None,
    ) -> None:
        self.call = call
        self.request = message
        self.raw = raw
        self._metadata = metadata
        self._headers: Mapping[str, str] | None = None
        self._states = state or {}
        if said is not None:
            self.said = said

    @property
    def states(self) -> Mapping[str, str]:
        """The scenario states."""
        self.beyond = True
        return self._states

    @states.setter
    def states(self, states: Mapping[str, str]) -> None:
        self._states = states

    # -- every call

    @property
    def headers(self) -> Mapping[str, str]:
        """The text metadata, the first value of each key."""
        self.beyond = True
        found = self._headers
        if found is None:
            found = self._metadata if isinstance(self._metadata, Mapping) else texts_of(self._metadata)
            self._headers = found
        return found

    @cached_property
    def model(self) -> Model:
        return Model.parse(self.request.model_uri)

    @cached_property
    def folder(self) -> Text | None:
        folder = self.model.folder or self.headers.get("x-folder-id") or ""
        return Text(folder) if folder else None

    @property
    def attempt(self) -> int:
        """1 for the first try: the SDK sends `x-retry-attempt` from the second on."""
        retry = self.headers.get("x-retry-attempt", "0")
        return int(retry) + 1 if retry.isdecimal() and len(retry) < 10 else 1

    def metadata(self, key: str) -> Text | None:
        value = self.headers.get(key)
        return None if value is None else Text(value)

    def state(self, key: str) -> Text | None:
        value = self.states.get(key)
        return None if value is None else Text(value)

    def path(self, steps: tuple[str, ...]) -> Any:
        return paths.read(self.request, steps)

    def option(self, steps: tuple[str, ...]) -> Any:
        name = "generation_options" if self.call == "generate_image" else "completion_options"
        return paths.read(self.request, (name, *steps))

    # -- completions

    @cached_property
    def _messages(self) -> list[Any]:
        return list(getattr(self.request, "messages", ()))

    @cached_property
    def said(self) -> Said:
        """Who says what: tool calls and results are no text."""
        return said_in(self.request)

    @cached_property
    def question(self) -> Text | None:
        """The last text of role user."""
        for role, text in reversed(self.said):
            if role == "user" and text is not None:
                return text
        return None

    @cached_property
    def message(self) -> Text | None:
        """The very last message's text, whoever wrote it."""
        return self.said[-1][1] if self.said else None

    @cached_property
    def any_message(self) -> tuple[Text, ...]:
        return tuple([text for _, text in self.said if text is not None])

    @cached_property
    def system(self) -> Text | None:
        texts = [text.raw for role, text in self.said if role == "system" and text is not None]
        return Text("\n".join(texts)) if texts else None

    @cached_property
    def turn(self) -> int:
        """How many texts the user has sent so far."""
        return sum([role == "user" and text is not None for role, text in self.said])

    @cached_property
    def tool_results(self) -> dict[str, tuple[Text, ...]]:
        """Results by function name, of this turn: those since the user's last text."""
        found: dict[str, tuple[Text, ...]] = {}
        for message in reversed(self._messages):
            if message.role == "user" and _has_text(message):
                break
            for result in reversed(message.tool_result_list.tool_results):
                name = result.function_result.name
                found[name] = (Text(result.function_result.content), *found.get(name, ()))
        return found

    @cached_property
    def ends_in_tool_results(self) -> bool:
        return bool(self._messages) and self._messages[-1].WhichOneof("Content") == "tool_result_list"

    @cached_property
    def tools(self) -> tuple[str, ...]:
        return tuple(tool.function.name for tool in getattr(self.request, "tools", ()))

    @cached_property
    def tool_choice(self) -> Text | None:
        """NONE, AUTO, REQUIRED, or the name of the function that must be called."""
        if not self.request.HasField("tool_choice"):
            return None
        choice = self.request.tool_choice
        which = choice.WhichOneof("ToolChoice")
        if which == "function_name":
            return Text(choice.function_name)
        known = choice.DESCRIPTOR.enum_types_by_name["ToolChoiceMode"].values_by_number.get(choice.mode)
        return Text(known.name) if known is not None and choice.mode else None

    @cached_property
    def response_format(self) -> Text | None:
        """json_object or json_schema; None for plain text."""
        which = self.request.WhichOneof("ResponseFormat")
        if which == "json_object" and not self.request.json_object:
            return None
        return _text(which)

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema that the reply is asked to follow."""
        if self.request.WhichOneof("ResponseFormat") != "json_schema":
            return None
        return plain_struct(self.request.json_schema.schema)

    @cached_property
    def stream(self) -> bool:
        return bool(self.request.completion_options.stream)

    @cached_property
    def max_tokens(self) -> int | None:
        options = self.request.completion_options
        return int(options.max_tokens.value) if options.HasField("max_tokens") else None

    # -- batch and its rows

    @cached_property
    def dataset(self) -> Text | None:
        return _text(getattr(self.request, "source_dataset_id", None) or None)

    row: int | None = None
    """The row's number, counted from 1, for `batch_row`."""

    # -- images

    @cached_property
    def prompt(self) -> Text | None:
        """The texts of all messages, a line each."""
        texts = [m.text for m in self._messages if m.text]
        return Text("\n".join(texts)) if texts else None

    @cached_property
    def weights(self) -> tuple[float, ...]:
        return tuple(m.weight for m in self._messages)

    @cached_property
    def seed(self) -> int | None:
        return int(self.request.generation_options.seed) or None

    @cached_property
    def ratio(self) -> Text | None:
        """`16:9`, as asked; None where none was asked."""
        ratio = self.request.generation_options.aspect_ratio
        return Text(f"{ratio.width_ratio}:{ratio.height_ratio}") if ratio.width_ratio and ratio.height_ratio else None

    # -- one text

    @cached_property
    def text(self) -> Text | None:
        """What is tokenized, embedded or classified; an empty text is one, too."""
        return _text(getattr(self.request, "text", None))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels to choose from, in the request's order."""
        return tuple(getattr(self.request, "labels", ()))

    @cached_property
    def task(self) -> Text | None:
        """What the labels are about, in the client's words."""
        return _text(getattr(self.request, "task_description", "") or None)

    @cached_property
    def dim(self) -> int | None:
        """How long a vector was asked for; None where the model may choose."""
        asked = self.request.HasField("dim") if self.call == "text_embedding" else False
        return int(self.request.dim.value) if asked else None


class Row(Subject):
    """A row of a batch: a completion with a number, from a dataset. `message` is the CompletionRequest that it stands
    for, `row` counts from 1.
    """

    def __init__(
        self, message: Any, row: int, dataset: Text | None, metadata: Mapping[str, str], state: Mapping[str, str]
    ) -> None:
        super().__init__("batch_row", message, b"", metadata, state)
        self.row = row
        self._dataset = dataset

    @cached_property
    def dataset(self) -> Text | None:
        return self._dataset

    @property
    def raw(self) -> bytes:
        """Serialized when asked for, which a row hardly ever is."""
        raw: bytes = self.request.SerializeToString(deterministic=True)
        return raw

    @raw.setter
    def raw(self, value: bytes) -> None:
        """The request says it all."""


class Context(Mapping[str, Any]):
    """What templates see of a subject; each name is worked out when a template asks for it."""

    def __init__(self, subject: Subject, variables: Mapping[str, str], count: int) -> None:
        self._subject, self._vars, self._count = subject, variables, count

    def __len__(self) -> int:
        return len(CONTEXT_NAMES)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(CONTEXT_NAMES))

    def __getitem__(self, name: str) -> Any:
        subject = self._subject
        if name == "vars":
            return dict(self._vars)
        if name == "call":
            subject.beyond = True
            return self._count
        if name == "state":
            return dict(subject.states)
        if name == "metadata":
            return dict(subject.headers)
        if name == "model":
            return subject.model.name
        if name == "model_uri":
            return subject.request.model_uri
        if name == "messages":
            return [{"role": getattr(m, "role", ""), "text": m.text} for m in subject._messages]
        if name == "tool_results":
            return {key: _joined(texts) for key, texts in subject.tool_results.items()} if _chats(subject) else {}
        if name in ("tools", "labels"):
            return list(getattr(subject, name))
        if name == "request":
            from ..api import to_dict

            return to_dict(subject.request)
        if name not in CONTEXT_NAMES:
            raise KeyError(name)
        if name in ("question", "message", "system", "turn") and not _chats(subject):
            return ""
        if name in ("prompt", "seed", "ratio") and subject.call != "generate_image":
            return ""
        value = getattr(subject, name)
        return value.raw if isinstance(value, Text) else "" if value is None else value


def _chats(subject: Subject) -> bool:
    return subject.call in CONVERSATIONS


def _joined(texts: tuple[Text, ...]) -> str:
    return "\n".join(text.raw for text in texts)


def _has_text(message: Any) -> bool:
    return bool(message.WhichOneof("Content") == "text")


def _text(value: str | None) -> Text | None:
    return None if value is None else Text(value)
