"""The fixture language as types: what a file may say, field by field.

One declaration serves the loader (`decode` walks it beside the YAML nodes), the JSON Schema for editors, and the
reference. What a field means is told in the reference and where the field is compiled; here stands only its shape.
Scalars that are compared with something of a client's are kept as written (`Text`), so that `12:30`, `no` and `+20`
stay what their author typed.

Annotations are evaluated as the classes are made, since `decode` asks for them: each would be compiled otherwise.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from ..config import instant
from ..errors import UsageError
from .duration import Delay, Duration

Text = str
"""A scalar as its author wrote it."""

MOST = 10**15
Positive = Annotated[int, Meta(ge=1, le=MOST)]
NotNegative = Annotated[int, Meta(ge=0, le=MOST)]

Call = Literal[
    "completion",
    "completion_async",
    "completion_batch",
    "batch_row",
    "generate_image",
    "tokenize",
    "tokenize_completion",
    "text_embedding",
    "classify",
    "few_shot_classify",
]
Per = Literal["session", "folder", "question", "request", "idempotency-key"]
AfterLast = Literal["repeat", "cycle", "pass", "error"]
CredentialStatus = Literal["active", "expired", "revoked"]
Gate = Literal["required", "open"]
QuotaCall = Literal[
    "completion",
    "completion_async",
    "completion_batch",
    "generate_image",
    "tokenize",
    "tokenize_completion",
    "text_embedding",
    "classify",
    "few_shot_classify",
    "operations",
    "datasets",
    "batches",
]
QuotaBy = Literal["session", "folder", "credential"]
QuotaPreset = Literal["real", "none"]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    MAY_BE_EMPTY: ClassVar[tuple[str, ...]] = ()


def given(spec: Struct) -> dict[str, Any]:
    """The fields of a Struct that say something, where None says nothing, by name."""
    return {name: value for name, value in msgspec.structs.asdict(spec).items() if value is not None}


class Operators(_Strict, frozen=True):
    """How a value is compared; all that are given must hold."""

    equals: Text | list[Text] | None = None
    contains: Text | list[Text] | None = None
    word: Text | list[Text] | None = None
    matches: Text | list[Text] | None = None
    glob: Text | list[Text] | None = None
    one_of: list[Text] | None = None
    at_least: float | None = None
    at_most: float | None = None
    present: bool | None = None
    all: "list[Condition] | None" = None
    any: "list[Condition] | None" = None
    not_: "Condition | None" = field(default=None, name="not")


Condition = Text | list[Text] | Operators


class When(_Strict, frozen=True):
    """What a rule asks of a request; all that is given must hold."""

    EXAMPLE: ClassVar[str] = "when: {question: {contains: привет}}"

    question: Condition | None = None
    message: Condition | None = None
    any_message: Condition | None = None
    system: Condition | None = None
    tool_results: dict[str, Condition] | None = None
    turn: Condition | None = None
    attempt: Condition | None = None
    model: Condition | None = None
    folder: Condition | None = None
    tools: Condition | None = None
    tool_choice: Condition | None = None
    response_format: Condition | None = None
    stream: Condition | None = None
    options: dict[str, Condition] | None = None
    prompt: Condition | None = None
    weights: Condition | None = None
    seed: Condition | None = None
    ratio: Condition | None = None
    dataset: Condition | None = None
    row: Condition | None = None
    text: Condition | None = None
    labels: Condition | None = None
    task: Condition | None = None
    dim: Condition | None = None
    metadata: dict[str, Condition] | None = None
    request: dict[str, Condition] | None = None
    state: dict[str, Condition] | None = None
    all: "list[When] | None" = None
    any: "list[When] | None" = None
    not_: "When | None" = field(default=None, name="not")


class GeneratedText(_Strict, frozen=True):
    """Filler of a given length."""

    tokens: Annotated[int, Meta(ge=1, le=100_000)]


class TextSource(_Strict, frozen=True):
    """Where a text comes from, if it isn't written in place."""

    file: str | None = None
    generate: GeneratedText | None = None


class Error(_Strict, frozen=True):
    """A status: `code` alone brings the real service's wording."""

    code: str
    message: str | None = None
    retry_after: Duration | None = None
    details: dict[str, dict[str, Any]] | list[dict[str, dict[str, Any]]] | None = None


class Usage(_Strict, frozen=True):
    """Token counts; what is left out is counted."""

    input_text_tokens: NotNegative | None = None
    completion_tokens: NotNegative | None = None
    total_tokens: NotNegative | None = None
    reasoning_tokens: NotNegative | None = None


class Piece(_Strict, frozen=True):
    """One chunk of a stream: what it adds, and optionally what the usage says by then and how long it waits."""

    text: str
    completion_tokens: NotNegative | None = None
    after: Delay | None = None


class Stop(_Strict, frozen=True):
    """The stream ends with an error once `after` chunks are sent."""

    after: NotNegative
    error: str | Error = "UNAVAILABLE"


class Stretch:
    """How long a stream stalls: a duration, or `forever`."""

    __slots__ = ("ns",)

    def __init__(self, ns: int | None) -> None:
        self.ns = ns
        """Nanoseconds; None is for ever."""

    @classmethod
    def from_scalar(cls, text: str) -> "Stretch":
        """Raises ValueError for anything but a duration or `forever`."""
        return cls(None if text == "forever" else Duration.from_scalar(text).ns)


class Stall(_Strict, frozen=True):
    """The stream goes silent for a while once `after` chunks are sent."""

    after: NotNegative
    for_: Stretch = field(name="for")


class Stream(_Strict, frozen=True):
    """How the final text is cut, paced and broken."""

    tokens: Positive | None = None
    words: Positive | None = None
    characters: Positive | None = None
    chunks: Positive | None = None
    pieces: list[str | Piece] | None = None
    first_after: Delay | None = None
    every: Delay | None = None
    stop: Stop | None = None
    stall: Stall | None = None


class Token(_Strict, frozen=True):
    """A token with all that is told of it; without `id` it has the one that the emulator gives to its text."""

    text: str
    id: NotNegative | None = None
    special: bool = False


class Reply(_Strict, frozen=True):
    """What the model finally answers, or how the call fails."""

    EXAMPLE: ClassVar[str] = 'reply: {text: "Привет!"}'

    text: str | TextSource | None = None
    json: Any | UnsetType = UNSET
    tool_calls: list[str | dict[str, Any]] | None = None
    image: str | None = None
    tokens: list[str | Token] | None = None
    embedding: list[float] | None = None
    predictions: dict[str, float] | None = None
    message: dict[str, Any] | None = None
    error: str | Error | None = None
    status: str | None = None
    usage: Usage | None = None
    model_version: str | None = None
    headers: dict[str, str] | None = None
    trailers: dict[str, str] | None = None
    delay: Delay | None = None
    stream: Stream | None = None
    template: bool | None = None
    use: str | list[str] | None = None


class Turn(Reply, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of a sequence of replies."""

    repeat: Positive = 1


class Stage(_Strict, frozen=True):
    """A point in an operation's life, counted from its creation."""

    at: Duration
    status: str | None = None
    total_batches: NotNegative | None = None
    completed_batches: NotNegative | None = None
    error: str | Error | None = None
    done: bool | None = None


class PollFault(_Strict, frozen=True):
    """What one Get meets; the operation itself lives on."""

    error: str | Error


class Operation(_Strict, frozen=True):
    """An operation's life after it was created."""

    done_after: Delay | None = None
    done_after_polls: Positive | None = None
    timeline: list[Stage] | None = None
    at_poll: Positive | None = None
    error: str | Error | None = None
    polls: dict[Positive, str | PollFault] | None = None


class Then(_Strict, frozen=True):
    """What changes once the rule has been chosen."""

    state: dict[str, Text]


class Expect(_Strict, frozen=True):
    """How often verification wants the rule to have been chosen."""

    at_least: NotNegative | None = None
    at_most: NotNegative | None = None
    exactly: NotNegative | None = None


class Moment:
    """A point in time: so long after the session's clock began, or an instant as ISO 8601."""

    __slots__ = ("ns", "since_start")

    def __init__(self, ns: int, since_start: bool) -> None:
        self.ns, self.since_start = ns, since_start
        """Nanoseconds since the session's clock began, or since the epoch."""

    @classmethod
    def from_scalar(cls, text: str) -> "Moment":
        """Raises ValueError for what is neither a duration nor a time."""
        if "-" in text.strip()[1:] and text.strip()[:1].isdecimal():
            return cls(Instant.from_scalar(text).ns, False)
        try:
            return cls(Duration.from_scalar(text).ns, True)
        except ValueError as refused:
            raise ValueError(f"{refused}; or a time: 2026-01-31T12:00:00Z") from None

    def __repr__(self) -> str:
        return f"Moment({self.ns}, {self.since_start})"

    def at(self, began: int) -> int:
        """The instant (ns since the epoch) in a session whose clock began at `began`."""
        return began + self.ns if self.since_start else self.ns


class After:
    """How many messages of a stream are sent before it is struck, or `anywhere`."""

    __slots__ = ("n",)

    MOST: ClassVar[int] = 100_000

    def __init__(self, n: int | None) -> None:
        self.n = n
        """None is a place that is drawn."""

    @classmethod
    def from_scalar(cls, text: str) -> "After":
        """Raises ValueError for anything but a number from 0 to 100000 or `anywhere`."""
        if text == "anywhere":
            return cls(None)
        if not (text.isascii() and text.isdecimal()) or len(text) > len(str(cls.MOST)) or int(text) > cls.MOST:
            raise ValueError(f"needs a number of messages up to {cls.MOST}, or `anywhere`; found `{text[:40]}`")
        return cls(int(text))

    def __repr__(self) -> str:
        return f"After({self.n})"


class WeightedError(Error, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of several statuses; those of weight 2 come twice as often as those of weight 1."""

    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1


class Fault(_Strict, frozen=True):
    """What goes wrong with a share of the calls that a rule answers, and for which of them."""

    EXAMPLE: ClassVar[str] = "chaos: {share: 0.1, error: UNAVAILABLE}"

    name: str | None = None
    share: Annotated[float, Meta(ge=0, le=1)] = 1
    first: Positive | None = None
    from_: Moment | None = field(name="from", default=None)
    until: Moment | None = None
    delay: Delay | None = None
    error: str | Error | list[str | WeightedError] | None = None
    drop: bool | None = None
    truncate: bool | None = None
    stall: Stretch | None = None
    after: After | None = None


class GlobalFault(Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What goes wrong with a share of all calls, or of those that are named."""

    call: QuotaCall | list[QuotaCall] | None = None
    when: When | None = None
    per: Per = "session"


class Rule(_Strict, frozen=True):
    """When a request is like this, answer like that."""

    EXAMPLE: ClassVar[str] = "- when: {question: {contains: привет}}"
    BELONGS: ClassVar[dict[str, str]] = {
        **dict.fromkeys(When.__struct_encode_fields__, "when"),
        **dict.fromkeys(Reply.__struct_encode_fields__, "reply"),
        **dict.fromkeys(Operation.__struct_encode_fields__, "operation"),
        "error": "reply",
        "repeat": "replies",
    }

    name: str | None = None
    call: Call | list[Call] | None = None
    when: When | None = None
    reply: Reply | None = None
    replies: Annotated[list[Turn], Meta(min_length=1)] | None = None
    per: Per = "session"
    after_last: AfterLast = "repeat"
    operation: Operation | None = None
    times: Positive | None = None
    priority: int = 0
    then: Then | None = None
    expect: NotNegative | Expect | None = None
    chaos: Fault | list[Fault] | None = None


class Defaults(_Strict, frozen=True):
    """What the replies of this file have unless they say otherwise."""

    stream: Stream | None = None
    delay: Delay | None = None
    model_version: str | None = None
    usage: Usage | None = None
    headers: dict[str, str] | None = None
    trailers: dict[str, str] | None = None
    template: bool | None = None
    operation: Operation | None = None


class Instant:
    """A point in time, as ISO 8601."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns
        """Nanoseconds since the epoch."""

    @classmethod
    def from_scalar(cls, text: str) -> "Instant":
        """Raises ValueError for what is no time."""
        try:
            return cls(instant(text, "a time"))
        except UsageError as refused:
            raise ValueError(str(refused).removeprefix("a time: ")) from None


class ApiKey(_Strict, frozen=True):
    """An API key that is known, and what it may be used for."""

    EXAMPLE: ClassVar[str] = "{key: AQVN-ci, folders: [b1gtest]}"

    key: Text
    service_account: Text | None = None
    folders: list[Text] | None = None
    status: CredentialStatus | None = None
    expires_at: Instant | None = None
    expires_after: Duration | None = None


class IamToken(_Strict, frozen=True):
    """An IAM token that is known without having been issued; `user` makes it a user account's."""

    EXAMPLE: ClassVar[str] = "{token: t1.known, folders: [b1gtest]}"

    token: Text
    service_account: Text | None = None
    user: bool | None = None
    folders: list[Text] | None = None
    status: CredentialStatus | None = None
    expires_at: Instant | None = None
    expires_after: Duration | None = None


class OAuthToken(_Strict, frozen=True):
    """An OAuth token that is known: a user account's, to be exchanged for IAM tokens."""

    EXAMPLE: ClassVar[str] = "{token: y0_known, folders: [b1gtest]}"

    token: Text
    folders: list[Text] | None = None
    status: CredentialStatus | None = None
    expires_at: Instant | None = None
    expires_after: Duration | None = None


class KeyFile(_Strict, frozen=True):
    """A key in a file of its own."""

    file: str


class ServiceAccount(_Strict, frozen=True):
    """A service account that is known; with `public_key` the signature of its JWTs is verified."""

    EXAMPLE: ClassVar[str] = "{id: aje0000000000000ci1, folders: [b1gtest]}"

    id: Text
    key_id: Text | None = None
    public_key: str | KeyFile | None = None
    folders: list[Text] | None = None


class Auth(_Strict, frozen=True):
    """Who may call. Whatever is in it, a call has to show a credential; where anything is listed, one of those."""

    EXAMPLE: ClassVar[str] = "auth: {api_keys: [AQVN-ci]}"

    api_keys: list[Text | ApiKey] | None = None
    iam_tokens: list[Text | IamToken] | None = None
    oauth_tokens: list[Text | OAuthToken] | None = None
    service_accounts: list[Text | ServiceAccount] | None = None


class Most:
    """How many calls a limit lets in, or `unlimited`."""

    __slots__ = ("n",)

    MOST: ClassVar[int] = 100_000

    def __init__(self, n: int | None) -> None:
        self.n = n
        """None is without limit."""

    @classmethod
    def from_scalar(cls, text: str) -> "Most":
        """Raises ValueError for anything but a number from 0 to 100000 or `unlimited`."""
        if text == "unlimited":
            return cls(None)
        if not (text.isascii() and text.isdecimal()):
            raise ValueError(f"needs a whole number of calls, or `unlimited`; found `{text[:40]}`")
        if len(text) > len(str(cls.MOST)) or int(text) > cls.MOST:
            raise ValueError(f"`{text[:40]}` is too many to be counted: at most {cls.MOST}, or `unlimited`")
        return cls(int(text))


class QuotaLimit(_Strict, frozen=True):
    """How many calls are let in at once and in a length of time; all the calls named share them."""

    EXAMPLE: ClassVar[str] = "{call: completion, per_second: 10}"

    call: QuotaCall | list[QuotaCall]
    at_once: Most | None = None
    per_second: Most | None = None
    per_minute: Most | None = None
    per_hour: Most | None = None
    per_day: Most | None = None
    by: QuotaBy = "session"


class Quotas(_Strict, frozen=True):
    """What is let in; `limits` stand over those of the preset."""

    EXAMPLE: ClassVar[str] = "quotas: {preset: real}"
    BELONGS: ClassVar[dict[str, str]] = dict.fromkeys(QuotaLimit.__struct_encode_fields__, "limits")

    preset: QuotaPreset | None = None
    limits: list[QuotaLimit] | None = None


class GivenDataset(_Strict, frozen=True):
    """A dataset that is there from the start."""

    EXAMPLE: ClassVar[str] = "datasets: {questions: {file: rows.jsonl}}"

    file: str | None = None
    rows: list[Any] | None = None
    task_type: str | None = None
    name: Text | None = None
    folder: Text | None = None
    description: Text | None = None
    labels: dict[str, Text] | None = None


class File(_Strict, frozen=True):
    """A fixture file."""

    MAY_BE_EMPTY: ClassVar[tuple[str, ...]] = ("vars", "defaults", "snippets", "datasets", "rules", "chaos")
    EXAMPLE: ClassVar[str] = "rules: [...]"
    BELONGS: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("when", "reply", "replies", "call", "operation"), "rules"),
        **dict.fromkeys(Auth.__struct_encode_fields__, "auth"),
    }

    vars: dict[str, Text] | None = None
    defaults: Defaults | None = None
    snippets: dict[str, Reply] | None = None
    datasets: dict[str, GivenDataset] | None = None
    rules: list[Rule] | None = None
    fallback: Reply | None = None
    auth: Gate | Auth | None = None
    quotas: Quotas | None = None
    chaos: GlobalFault | list[GlobalFault] | None = None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a fixture file, for editors."""

    def hook(type_: type) -> dict[str, Any]:
        if issubclass(type_, Duration):
            return type_.json_schema()
        if type_ is Stretch:
            return {"type": "string", "examples": ["5s", "forever"]}
        if type_ is Instant:
            return {"type": "string", "examples": ["2026-01-31T12:00:00Z"]}
        if type_ is Moment:
            return {"anyOf": [{"type": "string", "examples": ["30s", "2026-01-31T12:00:00Z"]}, {"const": 0}]}
        if type_ is After:
            return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": After.MOST}, {"const": "anywhere"}]}
        if type_ is Most:
            return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": Most.MOST}, {"const": "unlimited"}]}
        raise NotImplementedError(type_)

    schema = _as_loaded(msgspec.json.schema(File, schema_hook=hook))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "fm-emulator fixtures", **schema}


def _as_loaded(schema: Any) -> Any:
    """msgspec's schema, as the loader has it: a field may be left out but not null, and a text is any scalar."""
    if isinstance(schema, list):
        return [_as_loaded(element) for element in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == {"type": "string"}:
        return {"type": ["string", "number", "boolean"]}
    out = {key: _as_loaded(value) for key, value in schema.items() if (key, value) != ("default", None)}
    among = out.get("anyOf")
    if among is not None and {"type": "null"} in among:
        among = [each for each in among if each != {"type": "null"}]
        del out["anyOf"]
        out = {**out, **among[0]} if len(among) == 1 else {**out, "anyOf": among}
    return out
