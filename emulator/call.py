"""`Call`: the one thing that travels from a transport through the gates to a service and back.

Transports make it, gates fill it in, services read it. It knows nothing of any transport: a call is bytes in, bytes
out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from .api import METHODS
from .errors import Code, Status

if TYPE_CHECKING:
    from .journal import Entry
    from .replies.strike import Strike
    from .rules.subject import Said
    from .sessions import Session

QUIET = ("/grpc.", "/emulator.")
"""How methods of tools begin, not of programs: not in the journal, nor in the log unless at debug, not counted."""

Pairs = list[tuple[str, "str | bytes"]]
Metadata = tuple[tuple[str, "str | bytes"], ...]
Answer = bytes | Iterator[bytes] | AsyncIterator[bytes]
"""What a call is answered with: its one message or an iterator of several, where nothing has to be waited for, or the
messages as they come. Iterators are generators: who doesn't take all closes them.
"""


class Call(Struct):
    """One RPC.

    `method` is its path, `/package.Service/Method`; `request` the serialized message (empty for a client-streaming
    method, whose messages come from `requests`); `metadata` the request's pairs, keys in lower case; `peer` as gRPC
    writes it (`ipv4:127.0.0.1:40000`); `deadline` in seconds of `Monotonic`, None without one;
    `secure` is whether it came with TLS.

    `first` has the first value of each metadata key, once somebody has looked for one; `message` is the request,
    parsed, and `said` what its messages say, once somebody has read them. `quiet` calls are those of tools. `account`
    is the id of the account that calls, empty where nobody asked; `at` is the instant (ns of the session's clock) at
    which the next message is due, 0 for at once. `last` tells, with a message, that no other follows and all is well: a
    transport may hold it back and send the end along with it. `refused_by` names the gate that refused it.

    `strike` is what chaos has left to be done to the call's stream; where `dropped` is set, the transport ends the
    client's connection in place of telling the status that the call ends with.

    A client that leaves cancels the task that answers; there is no flag to poll.
    """

    method: str
    request: bytes
    metadata: Metadata
    peer: str
    deadline: float | None = None
    requests: AsyncIterator[bytes] | None = None
    secure: bool = False

    # what the gates and the service fill in
    headers: Pairs = field(default_factory=list)
    trailers: Pairs = field(default_factory=list)
    request_id: str = ""
    quiet: bool = False
    account: str = ""
    refused_by: str = ""
    message: Any = None
    said: Said | None = None
    at: int = 0
    last: bool = False
    strike: Strike | None = None
    dropped: bool = False
    session: Session = None  # type: ignore[assignment]
    entry: Entry = None  # type: ignore[assignment]
    first: Mapping[str, str | bytes] | None = None

    def header(self, key: str) -> str | None:
        """The first value of a request's metadata key, or None."""
        if self.first is None:
            self.first = dict(reversed(self.metadata))
        value = self.first.get(key)
        return value if value is None or isinstance(value, str) else value.decode("latin-1")

    @property
    def credential(self) -> tuple[str, str]:
        """The scheme, in lower case, and the secret of the header `authorization`; both empty without one. However a
        client spaces and spells the two, they are the same.
        """
        scheme, _, secret = (self.header("authorization") or "").strip().partition(" ")
        return scheme.lower(), secret.strip()

    @property
    def texts(self) -> Mapping[str, str]:
        """The request's text metadata, the first value of each key."""
        return texts_of(self.metadata)


def parsed(call: Call) -> Any:
    """The request message, which `call.message` keeps. Raises INVALID_ARGUMENT for bytes that are none."""
    if call.message is not None:
        return call.message
    method = METHODS[call.method]
    try:
        call.message = method.input.FromString(call.request)
    except Exception:  # protobuf raises DecodeError, and others for text that is not UTF-8
        name = method.input_name.rpartition(".")[2]
        raise Status(Code.INVALID_ARGUMENT, f"the request is not a serialized {name}") from None
    return call.message


def texts_of(metadata: Sequence[tuple[str, str | bytes]]) -> dict[str, str]:
    """The text values among metadata pairs, the first of each key."""
    return {name: value for name, value in reversed(metadata) if isinstance(value, str)}


async def messages_of(call: Call, answer: Answer) -> AsyncIterator[bytes]:
    """The messages of what `call` is answered with; closes what they come from."""
    if isinstance(answer, bytes):
        call.last = True
        yield answer
        return
    if isinstance(answer, Iterator):
        with closing(answer) as ready:  # type: ignore[type-var]
            for message in ready:
                yield message
        return
    async with aclosing(answer) as messages:  # type: ignore[type-var]
        async for message in messages:
            yield message
