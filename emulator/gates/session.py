"""Whose call is this? The first gate, before the request is parsed.

The header `x-emulator-session` says; it changes what a call meets, so it stands under the same rule as the control API.
With `--session-from api-key` the API key says it too, up to its first dot (`Api-Key job-17.anything`), so that forty
jobs share an emulator with no line of code changed. Who says nothing is in the session that the server began with, but
for operations, batch tasks and datasets, whose ids are global: asking for one without a session finds its owner.
"""

from __future__ import annotations

import re

from ..api import METHODS
from ..call import Call
from ..calls import METHODS_BY_CALL
from ..errors import Code, Status
from ..sessions import Session, Sessions
from .access import Access

HEADER = "x-emulator-session"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"(?i:api-key) +([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.")
_NAMING = (
    ("/yandex.cloud.operation.OperationService/", "operation_id"),
    ("/yandex.cloud.ai.batch_inference.v1.BatchInferenceService/", "task_id"),
    ("/yandex.cloud.ai.dataset.v1.DatasetService/", "dataset_id"),
    (METHODS_BY_CALL["completion_batch"], "source_dataset_id"),
)
"""Methods, by how their paths begin, whose requests name something of a session's, and the field that does."""
_OWNED = {path: next((field for start, field in _NAMING if path.startswith(start)), "") for path in METHODS}
"""That field for every method there is, empty where none names anything."""

_NOBODYS = "/grpc."


class Finder:
    """Finds the session of a call; `by_key` where the API key may name it."""

    def __init__(self, sessions: Sessions, access: Access, by_key: bool) -> None:
        self._sessions, self._access, self._by_key = sessions, access, by_key
        self.default = sessions.default  # the session that the server began with
        self.anybodys = frozenset() if by_key else frozenset(path for path, field in _OWNED.items() if not field)
        """Methods of which nothing but the header tells whose a call is."""

    def find(self, call: Call) -> Session:
        """The session of `call`. Raises INVALID_ARGUMENT for what is no id, and what `Access.check` does."""
        field = _OWNED.get(call.method)
        if field is None and call.method.startswith(_NOBODYS):
            return self.default
        named = call.header(HEADER)
        if named is not None:
            self._access.check(call, HEADER)
            return self._sessions.named(self.checked(named)) if named else self.default
        if self._by_key:
            found = _KEY.match(call.header("authorization") or "")
            if found is not None:
                return self._sessions.named(found[1])
        return (self._owner(call, field) if field else None) or self.default

    @staticmethod
    def checked(id: str) -> str:
        """`id`, if a session can be called so."""
        if _ID.fullmatch(id) is None:
            raise Status(
                Code.INVALID_ARGUMENT,
                f"{HEADER}: {id[:80]!r} is no name for a session; up to 64 letters, digits, dots, _ and - make one",
            )
        return id

    def _owner(self, call: Call, field: str) -> Session | None:
        try:
            message = METHODS[call.method].input.FromString(call.request)
        except Exception:  # what is wrong with it is told by the service
            return None
        named = getattr(message, field, "")
        # ListOperationsIds names several, which are of one session; Create and the lists name none.
        id_ = named if isinstance(named, str) else next(iter(named), "")
        return self._sessions.owner(id_) if id_ else None
