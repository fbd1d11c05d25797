"""A call of the journal as people look at it: decoded, with times as times."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from .api import METHODS, to_dict
from .call import texts_of
from .clock import SECOND
from .journal import Entry

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class Recorded:
    """One call: what came, what was sent and when, how it ended, and how the client behaved.

    It looks at the journal's entry and decodes what is asked for; of a call that is still open it tells what has
    happened so far.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def __repr__(self) -> str:
        return f"<{self.id} {self.method.rpartition('.')[2]} {self.code or 'open'}: {self.about}>"

    @property
    def id(self) -> str:
        """Its id in the log and for `explain`: c7."""
        return self.entry.id

    @property
    def method(self) -> str:
        """The path, /package.Service/Method."""
        return self.entry.method

    @property
    def kind(self) -> str:
        """The fixture language's name for the call; empty for calls that rules don't answer."""
        return self.entry.kind

    @property
    def rule(self) -> str:
        """The rule that answered; `fallback`, `default`, or nothing where no rule was asked."""
        return self.entry.rule

    @property
    def unmatched(self) -> bool:
        """Whether rules were asked and none matched."""
        return self.entry.unmatched

    @property
    def code(self) -> str | None:
        """The status by name, None while the call is open."""
        return self.entry.code

    @property
    def message(self) -> str:
        """The status's message."""
        return self.entry.message

    @property
    def about(self) -> str:
        """What it is about, in a line: the question, the prompt, an operation's id."""
        return self.entry.about

    @cached_property
    def request(self) -> Any:
        """The request's message, of the emulator's own classes. Raises ValueError if its bytes are none."""
        method = METHODS.get(self.method)
        if method is None:
            raise ValueError(f"{self.method} is no method that is known here")
        try:
            return method.input.FromString(self.entry.request)
        except Exception as failed:
            raise ValueError(f"{self.id}: the request is not a serialized {method.input_name}") from failed

    @property
    def request_json(self) -> dict[str, Any]:
        """The request as JSON data, by the API's field names."""
        return to_dict(self.request)

    @property
    def replies(self) -> list[Any]:
        """The messages that were sent, of the emulator's own classes."""
        method = METHODS.get(self.method)
        return [] if method is None else [method.output.FromString(raw) for raw in self.entry.messages()]

    @property
    def text(self) -> str:
        """The text of the last message sent, if it is a completion with one."""
        replies = self.replies if self.kind == "completion" else []
        return str(replies[-1].alternatives[0].message.text) if replies and replies[-1].alternatives else ""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The request's text metadata, the first value of each key; credentials are masked."""
        return texts_of(self.entry.metadata)

    @property
    def began_at(self) -> datetime.datetime:
        """When it came, by the session's clock."""
        return moment(self.entry.began)

    @property
    def sent_at(self) -> list[datetime.datetime]:
        """When each message was due, by the session's clock."""
        return [moment(instant) for instant in self.entry.sent_at]

    @property
    def took(self) -> datetime.timedelta:
        """Real time from the request to the end."""
        return datetime.timedelta(seconds=self.entry.took)

    @property
    def deadline(self) -> datetime.timedelta | None:
        """The time that the client allowed."""
        return None if self.entry.deadline is None else datetime.timedelta(seconds=self.entry.deadline)

    @property
    def operation_id(self) -> str:
        """The operation that it began or asked about."""
        return self.entry.operation_id

    @property
    def account(self) -> str:
        """The id of the account that called; empty where no credential was asked for."""
        return self.entry.account

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on a reply that was sent as scripted although the request asked otherwise."""
        return tuple(self.entry.notes)

    @property
    def faults(self) -> tuple[str, ...]:
        """What chaos did to it, by the names of the faults."""
        return tuple(self.entry.faults)

    @property
    def behaviour(self) -> tuple[str, ...]:
        """How the client behaved: no deadline, intervals between polls, retries, a stream it left."""
        return tuple(self.entry.behaviour)


def moment(nanoseconds: int) -> datetime.datetime:
    """An instant of the clock as a datetime in UTC, to the microsecond."""
    return _EPOCH + datetime.timedelta(microseconds=nanoseconds // 1000)


def nanoseconds(span: datetime.timedelta) -> int:
    """A span of time in nanoseconds."""
    return (span.days * 86_400 + span.seconds) * SECOND + span.microseconds * 1000
