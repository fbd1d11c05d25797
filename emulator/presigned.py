"""Presigned URLs, as object storage has them: who holds one may do one thing, until it expires.

The query is the recorded one. The signature is a hash with a key of the session's seed over method, path, query and,
for an upload, the size in bytes that was declared; so it is the same for the same seed, call and clock, and a body of
another size doesn't go with it.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from .clock import SECOND
from .masking import SIGNATURE
from .seed import Seed

EXPIRES = 86_399
"""Seconds for which a URL is good (recorded)."""

SESSION = "X-Emulator-Session"
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_TIME = "%Y%m%dT%H%M%SZ"

Pairs = Sequence[tuple[str, str]]


def presigned(
    seed: Seed, method: str, path: str, now: int, size: int | None = None, more: Mapping[str, str] | None = None
) -> str:
    """Path and query that let `method` (PUT or GET) through to `path` from the instant `now` (ns) on.

    `size` is that of the body, where it is known; `more` goes into the query too.
    """
    stamp = written(now)
    key = "YCAJE" + "".join(c if c.isalnum() else "_" for c in seed.identifier("", "storage"))[:20].ljust(20, "0")
    query = [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Date", stamp),
        ("X-Amz-SignedHeaders", "host" if size is None else "content-length;host"),
        ("X-Amz-Expires", str(EXPIRES)),
        ("X-Amz-Credential", f"{key}/{stamp[:8]}/us-east-1/s3/aws4_request"),
        *(more or {}).items(),
    ]
    query.append((SIGNATURE, signature(seed, method, path, query, size)))
    return f"{quote(path)}?{urlencode(query, quote_via=quote, safe='')}"


def signature(seed: Seed, method: str, path: str, query: Pairs, size: int | None) -> str:
    """What signs such a request: 64 hexadecimal digits. Of the query everything counts but the signature itself."""
    signed = "\n".join(
        [
            method,
            quote(path),
            *(f"{quote(name)}={quote(value)}" for name, value in sorted(query) if name != SIGNATURE),
            "" if size is None else str(size),
        ]
    )
    return hmac.new(seed.bits("storage key"), signed.encode(), hashlib.sha256).hexdigest()


def written(instant: int) -> str:
    """An instant (ns) as such a query writes it: 20250804T125457Z."""
    return (_EPOCH + datetime.timedelta(seconds=instant // SECOND)).strftime(_TIME)


def read(stamp: str) -> int:
    """The instant (ns) of what `written` wrote. Raises ValueError."""
    found = datetime.datetime.strptime(stamp, _TIME).replace(tzinfo=datetime.timezone.utc)
    return int((found - _EPOCH).total_seconds()) * SECOND
