"""The final CompletionResponse: text or tool calls, status, usage, model version, as recorded traffic has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..api import Alternative, CompletionResponse
from ..rules import model
from ..rules.subject import Subject
from . import tokens

FINAL = "FINAL"
PREFIX = "ALTERNATIVE_STATUS_"
STATUSES: dict[str, int] = {
    value.name.removeprefix(PREFIX): value.number
    for value in Alternative.DESCRIPTOR.enum_types_by_name["AlternativeStatus"].values
}
"""Alternative statuses by their short names: FINAL, CONTENT_FILTER, ..."""

MODEL_VERSIONS = {"deprecated": "23.10.2024"}
CURRENT_VERSION = "09.02.2025"
"""Versions seen in recorded traffic; which branch has which changes with time, so this is our choice."""

_DATE = re.compile(r"\d\d\.\d\d\.(\d{4})$")

ToolCall = tuple[str, dict[str, Any]]
_NOT_GIVEN = model.Usage()
_HIDDEN = 2  # ReasoningOptions.ENABLED_HIDDEN


def model_version(subject: Subject) -> str:
    """The version a model of this branch says it is, where a fixture says nothing."""
    return MODEL_VERSIONS.get(subject.model.branch, CURRENT_VERSION)


def text_reply(
    subject: Subject, text: str, status: str = FINAL, usage: model.Usage | None = None, version: str | None = None
) -> Any:
    """A reply of text, cut at the request's max_tokens (then TRUNCATED_FINAL)."""
    limit = subject.max_tokens
    if limit is None and not _has_usage(subject):
        return _said(text, status)
    used = tokens.completion_tokens(text)
    if limit is None or not 0 < limit < used:
        return _finish(_said(text, status), subject, used, usage, version, limit, False)
    parts = tokens.split(text)
    truncated = len(parts) > limit
    status = "TRUNCATED_FINAL" if truncated and status == FINAL else status
    return _finish(_said("".join(parts[:limit]), status), subject, limit, usage, version, limit, truncated)


class FixedText:
    """A reply of text that is the same for everyone: all that a request does not change is prepared."""

    def __init__(
        self, text: str, status: str = FINAL, usage: model.Usage | None = None, version: str | None = None
    ) -> None:
        self._text, self._status, self._usage, self._version = text, status, usage, version
        self._prepared: dict[str | None, tuple[Any, int]] = {}

    def reply(self, subject: Subject) -> Any:
        """What `text_reply` makes of it for that request."""
        options = subject.request.completion_options
        counted = _has_usage(subject)
        if counted and (self._usage is not None or options.reasoning_options.mode == _HIDDEN):
            return text_reply(subject, self._text, self._status, self._usage, self._version)
        version = None if not counted else self._version if self._version is not None else model_version(subject)
        prepared, used = self._prepared.get(version) or self._prepare(version)
        if options.HasField("max_tokens") and 0 < options.max_tokens.value < used:
            return text_reply(subject, self._text, self._status, self._usage, self._version)
        response = CompletionResponse()
        response.CopyFrom(prepared)
        if counted:
            usage = response.usage
            usage.input_text_tokens = asked = _asked(subject)
            usage.total_tokens = asked + used
        return response

    def _prepare(self, version: str | None) -> tuple[Any, int]:
        """The reply of models of that version, whose usage lacks what the request costs, and its tokens; None is for
        replies without usage. There are few versions, and each is kept.
        """
        used = tokens.completion_tokens(self._text)
        response = _said(self._text, self._status)
        if version is not None:
            response.model_version = version
            response.usage.completion_tokens = used
            if _has_details(version):
                response.usage.completion_tokens_details.SetInParent()
        self._prepared[version] = response, used
        return response, used


def _said(text: str, status: str) -> Any:
    response = CompletionResponse()
    alternative = response.alternatives.add()
    alternative.message.role = "assistant"
    alternative.message.text = text
    alternative.status = STATUSES[status]
    return response


def tool_reply(
    subject: Subject,
    calls: Sequence[ToolCall],
    status: str = "TOOL_CALLS",
    usage: model.Usage | None = None,
    version: str | None = None,
) -> Any:
    """A reply of tool calls; arguments travel as a Struct, whose numbers are doubles."""
    response = CompletionResponse()
    alternative = response.alternatives.add()
    alternative.message.role = "assistant"
    tool_calls = alternative.message.tool_call_list
    for name, arguments in calls:
        check_depth(name, arguments)
        call = tool_calls.tool_calls.add().function_call
        call.name = name
        call.arguments.update(arguments)
    alternative.status = STATUSES[status]
    used = tokens.tool_call_tokens(tool_calls)
    return _finish(response, subject, used, usage, version, None, False)


DEEPEST = 30
"""Levels of tool arguments: each takes three of the hundred that protobuf's parsers go down."""


def check_depth(name: str, arguments: Any) -> None:
    """Raise ValueError for arguments so deep that no client could parse the reply."""
    level, depth = [arguments], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"arguments of {name} are nested more than {DEEPEST} deep; no client could read them")
        inner = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list)))
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]


def _finish(
    response: Any,
    subject: Subject,
    used: int,
    usage: model.Usage | None,
    version: str | None,
    limit: int | None,
    truncated: bool,
) -> Any:
    if not _has_usage(subject):
        return response
    given = usage or _NOT_GIVEN
    if version is None:
        version = model_version(subject)
    response.model_version = version
    reasoning = given.reasoning_tokens
    if reasoning is None and subject.request.completion_options.reasoning_options.mode == _HIDDEN:
        reasoning = 16 + used // 2
        if limit is None:
            used += reasoning
    asked = given.input_text_tokens
    if asked is None:
        asked = _asked(subject)
    said = used if given.completion_tokens is None else given.completion_tokens
    if truncated:
        said = min(said, used)
    out = response.usage
    out.input_text_tokens, out.completion_tokens = asked, said
    out.total_tokens = asked + said if given.total_tokens is None else given.total_tokens
    if reasoning:
        out.completion_tokens_details.reasoning_tokens = reasoning
    elif reasoning == 0 or _has_details(version):
        out.completion_tokens_details.SetInParent()
    return response


def _asked(subject: Subject) -> int:
    """Tokens of the request."""
    request = subject.request
    if not request.tools:
        found = tokens.said_tokens(subject.said)
        if found is not None:
            return found
    return tokens.input_tokens(request.messages, request.tools)


def _has_usage(subject: Subject) -> bool:
    """Of a batch's row nothing is kept but its text, and there may be a million of them."""
    return subject.call != "batch_row"


@lru_cache(64)
def _has_details(version: str) -> bool:
    """Whether a model of that version sends completion_tokens_details: the field came in 2025."""
    date = _DATE.match(version)
    return date is None or int(date[1]) >= 2025
