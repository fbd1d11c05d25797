"""Statuses and mistakes: what goes wrong, and whose fault it is.

`Status` is the client's answer: it travels from wherever it is raised to the transport adapter, the only place that
turns exceptions into wire statuses. `Mistake` is a fixture author's error, collected rather than raised one by one, so
that everything wrong with a set of files is told at once. `UsageError` is the operator's: a flag, a port, a path.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Code(enum.IntEnum):
    """The gRPC status codes, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Status(Exception):
    """A call's end other than OK.

    `details` are protobuf messages of google.rpc (RetryInfo, QuotaFailure, ...) that go into the
    `grpc-status-details-bin` trailer; `trailers` are further trailers.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        details: Iterable[Any] = (),
        trailers: Mapping[str, str | bytes] | None = None,
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.trailers = dict(trailers or {})


class Mistake(NamedTuple):
    """One thing wrong in a fixture: where it stands (1-based line and column; 0 means the whole file) and what was
    meant.
    """

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class FixtureError(Exception):
    """Fixtures that can't be loaded; `mistakes` lists everything that is wrong with them, in file and line order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        super().__init__("\n".join(map(str, self.mistakes)))


class UsageError(Exception):
    """Something the person who started the emulator can mend: an option, a port, a path."""
