"""The fixture language for type checkers: what Python code may hand over where a file would be read.

Each TypedDict mirrors the Struct of the same name in `model`, key by key; what a key means is told in the reference.
No key is required here, since the loader tells what is missing better than a type checker does. Where a file's scalar
is read as a text, Python may give a number or a bool too; a duration may be a `timedelta`; a list may be a tuple.

    from emulator.rules.typed import ReplyDict, WhenDict

    def rule(*, when: WhenDict | None = None, reply: ReplyDict) -> None: ...

    rule(when={"question": {"contains": "привет"}}, reply={"text": "Здравствуйте!"})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar

if TYPE_CHECKING:
    import datetime
    import os
    from collections.abc import Iterator, Mapping, Sequence

T_co = TypeVar("T_co", covariant=True)


class Several(Protocol[T_co]):
    """A list or tuple, but no text: that is a Sequence of texts, and would be taken for a list of its letters."""

    # `str` only asks for a `str`, which is what tells it from the others.
    def __contains__(self, value: object, /) -> bool: ...

    def __getitem__(self, index: int, /) -> T_co: ...

    def __iter__(self) -> Iterator[T_co]: ...

    def __len__(self) -> int: ...


CallName: TypeAlias = Literal[
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
Per: TypeAlias = Literal["session", "folder", "question", "request", "idempotency-key"]
AfterLast: TypeAlias = Literal["repeat", "cycle", "pass", "error"]
CredentialStatus: TypeAlias = Literal["active", "expired", "revoked"]
Gate: TypeAlias = Literal["required", "open"]
QuotaCall: TypeAlias = Literal[
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
QuotaBy: TypeAlias = Literal["session", "folder", "credential"]
QuotaPreset: TypeAlias = Literal["real", "none"]
Most: TypeAlias = "int | Literal['unlimited']"
"""How many calls a limit lets in."""

Text: TypeAlias = "str | int | float | bool"
"""What a text field takes: numbers and bools become the text that a file would have, 5 and true."""
Texts: TypeAlias = "Several[Text]"
FileName: TypeAlias = "str | os.PathLike[str]"
Duration: TypeAlias = "str | datetime.timedelta | Literal[0]"
"""A length of time, `20ms` or a timedelta; a number has no unit, so only 0 may be one."""
Delay: TypeAlias = "Duration | SpreadDict"
Moment: TypeAlias = "Duration"
"""So long after the session's clock began, or a time in ISO 8601."""
After: TypeAlias = "int | Literal['anywhere']"
"""How many messages of a stream are sent first."""
Condition: TypeAlias = "Text | Texts | OperatorsDict"
Failure: TypeAlias = "str | ErrorDict"
"""An error: its code alone, or with more to say."""
Message: TypeAlias = "Mapping[str, Any]"

_NotCondition = TypedDict("_NotCondition", {"not": "Condition"}, total=False)
_NotWhen = TypedDict("_NotWhen", {"not": "WhenDict"}, total=False)
_From = TypedDict("_From", {"from": "Moment"}, total=False)
_For = TypedDict("_For", {"for": "Duration"}, total=False)


class OperatorsDict(_NotCondition, total=False):
    """How a value is compared; all that are given must hold."""

    equals: Text | Texts
    contains: Text | Texts
    word: Text | Texts
    matches: Text | Texts
    glob: Text | Texts
    one_of: Texts
    at_least: float
    at_most: float
    present: bool
    all: Several[Condition]
    any: Several[Condition]


class WhenDict(_NotWhen, total=False):
    """What a rule asks of a request; all that is given must hold."""

    question: Condition
    message: Condition
    any_message: Condition
    system: Condition
    tool_results: Mapping[str, Condition]
    turn: Condition
    attempt: Condition
    model: Condition
    folder: Condition
    tools: Condition
    tool_choice: Condition
    response_format: Condition
    stream: Condition
    options: Mapping[str, Condition]
    prompt: Condition
    weights: Condition
    seed: Condition
    ratio: Condition
    dataset: Condition
    row: Condition
    text: Condition
    labels: Condition
    task: Condition
    dim: Condition
    metadata: Mapping[str, Condition]
    request: Mapping[str, Condition]
    state: Mapping[str, Condition]
    all: Sequence[WhenDict]
    any: Sequence[WhenDict]


class SpreadDict(TypedDict, total=False):
    """A delay that is drawn anew each time: its median and its 95th percentile, or its bounds."""

    p50: Duration
    p95: Duration
    min: Duration
    max: Duration


class GeneratedTextDict(TypedDict, total=False):
    """Filler of a given length."""

    tokens: int


class TextSourceDict(TypedDict, total=False):
    """Where a text comes from, if it isn't written in place."""

    file: FileName
    generate: GeneratedTextDict


class ErrorDict(TypedDict, total=False):
    """A status: `code` alone brings the real service's wording."""

    code: str
    message: Text
    retry_after: Duration
    details: Mapping[str, Message] | Sequence[Mapping[str, Message]]


class UsageDict(TypedDict, total=False):
    """Token counts; what is left out is counted."""

    input_text_tokens: int
    completion_tokens: int
    total_tokens: int
    reasoning_tokens: int


class PieceDict(TypedDict, total=False):
    """One chunk of a stream: what it adds, what the usage says by then, how long it waits."""

    text: Text
    completion_tokens: int
    after: Delay


class StopDict(TypedDict, total=False):
    """The stream ends with an error once `after` chunks are sent."""

    after: int
    error: Failure


class StallDict(_For, total=False):
    """The stream goes silent for a while, or `forever`, once `after` chunks are sent."""

    after: int


class StreamDict(TypedDict, total=False):
    """How the final text is cut, paced and broken."""

    tokens: int
    words: int
    characters: int
    chunks: int
    pieces: Several[Text | PieceDict]
    first_after: Delay
    every: Delay
    stop: StopDict
    stall: StallDict


class TokenDict(TypedDict, total=False):
    """A token with all that is told of it."""

    text: Text
    id: int
    special: bool


class ReplyDict(TypedDict, total=False):
    """What the model finally answers, or how the call fails."""

    text: Text | TextSourceDict
    json: Any
    tool_calls: Several[str | Message]
    image: FileName
    tokens: Several[Text | TokenDict]
    embedding: Sequence[float]
    predictions: Mapping[str, float]
    message: Message
    error: Failure
    status: str
    usage: UsageDict
    model_version: Text
    headers: Mapping[str, Text]
    trailers: Mapping[str, Text]
    delay: Delay
    stream: StreamDict
    template: bool
    use: str | Several[str]


class TurnDict(ReplyDict, total=False):
    """One of a sequence of replies."""

    repeat: int


class StageDict(TypedDict, total=False):
    """A point in an operation's life, counted from its creation."""

    at: Duration
    status: str
    total_batches: int
    completed_batches: int
    error: Failure
    done: bool


class PollFaultDict(TypedDict, total=False):
    """What one Get meets; the operation itself lives on."""

    error: Failure


class OperationDict(TypedDict, total=False):
    """An operation's life after it was created."""

    done_after: Delay
    done_after_polls: int
    timeline: Sequence[StageDict]
    at_poll: int
    error: Failure
    polls: Mapping[int, str | PollFaultDict]


class ThenDict(TypedDict, total=False):
    """What changes once the rule has been chosen."""

    state: Mapping[str, Text]


class ExpectDict(TypedDict, total=False):
    """How often verification wants the rule to have been chosen."""

    at_least: int
    at_most: int
    exactly: int


class WeightedErrorDict(ErrorDict, total=False):
    """One of several statuses, and how often it comes among them."""

    weight: float


class FaultDict(_From, total=False):
    """What goes wrong with a share of the calls that a rule answers."""

    name: Text
    share: float
    first: int
    until: Moment
    delay: Delay
    error: Failure | Several[str | WeightedErrorDict]
    drop: bool
    truncate: bool
    stall: Duration
    after: After


class GlobalFaultDict(FaultDict, total=False):
    """What goes wrong with a share of all calls, or of those that are named."""

    call: QuotaCall | Sequence[QuotaCall]
    when: WhenDict
    per: Per


class RuleDict(TypedDict, total=False):
    """When a request is like this, answer like that."""

    name: Text
    call: CallName | Sequence[CallName]
    when: WhenDict
    reply: ReplyDict
    replies: Sequence[TurnDict]
    per: Per
    after_last: AfterLast
    operation: OperationDict
    times: int
    priority: int
    then: ThenDict
    expect: int | ExpectDict
    chaos: FaultDict | Sequence[FaultDict]


class DefaultsDict(TypedDict, total=False):
    """What the replies of this file have unless they say otherwise."""

    stream: StreamDict
    delay: Delay
    model_version: Text
    usage: UsageDict
    headers: Mapping[str, Text]
    trailers: Mapping[str, Text]
    template: bool
    operation: OperationDict


class ApiKeyDict(TypedDict, total=False):
    """An API key that is known, and what it may be used for."""

    key: Text
    service_account: Text
    folders: Texts
    status: CredentialStatus
    expires_at: str
    expires_after: Duration


class IamTokenDict(TypedDict, total=False):
    """An IAM token that is known without having been issued."""

    token: Text
    service_account: Text
    user: bool
    folders: Texts
    status: CredentialStatus
    expires_at: str
    expires_after: Duration


class OAuthTokenDict(TypedDict, total=False):
    """An OAuth token that is known."""

    token: Text
    folders: Texts
    status: CredentialStatus
    expires_at: str
    expires_after: Duration


class KeyFileDict(TypedDict, total=False):
    """A key in a file of its own."""

    file: FileName


class ServiceAccountDict(TypedDict, total=False):
    """A service account that is known."""

    id: Text
    key_id: Text
    public_key: str | KeyFileDict
    folders: Texts


class AuthDict(TypedDict, total=False):
    """Who may call."""

    api_keys: Sequence[Text | ApiKeyDict]
    iam_tokens: Sequence[Text | IamTokenDict]
    oauth_tokens: Sequence[Text | OAuthTokenDict]
    service_accounts: Sequence[Text | ServiceAccountDict]


class QuotaLimitDict(TypedDict, total=False):
    """How many calls are let in at once and in a length of time; all the calls named share them."""

    call: QuotaCall | Sequence[QuotaCall]
    at_once: Most
    per_second: Most
    per_minute: Most
    per_hour: Most
    per_day: Most
    by: QuotaBy


class QuotasDict(TypedDict, total=False):
    """What is let in; `limits` stand over those of the preset."""

    preset: QuotaPreset
    limits: Sequence[QuotaLimitDict]


class GivenDatasetDict(TypedDict, total=False):
    """A dataset that is there from the start."""

    file: FileName
    rows: Sequence[Message]
    task_type: str
    name: Text
    folder: Text
    description: Text
    labels: Mapping[str, Text]


class FileDict(TypedDict, total=False):
    """What a fixture file holds."""

    vars: Mapping[str, Text]
    defaults: DefaultsDict
    snippets: Mapping[str, ReplyDict]
    datasets: Mapping[str, GivenDatasetDict]
    rules: Sequence[RuleDict]
    fallback: ReplyDict
    auth: Gate | AuthDict
    quotas: QuotasDict
    chaos: GlobalFaultDict | Sequence[GlobalFaultDict]
