"""Pages of a list. What is listed has a number that grows with each new one, and a token holds that of the last one
shown, so pages go on where they were, whatever comes or is deleted between them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

from .. import wording
from ..errors import Code, Status

T = TypeVar("T")


def page(found: Sequence[T], number_of: Callable[[T], int], size: int, token: str, most: int) -> tuple[list[T], str]:
    """A page of at most `size` (`most` where that is 0 or more) of what was `found`, in the order of its numbers, and
    the token of the next page; empty after the last.

    Raises INVALID_ARGUMENT for a size below 0, and for a token that is none.
    """
    if size < 0:
        raise Status(Code.INVALID_ARGUMENT, wording.validation("page_size", wording.in_range(0, most)))
    last = position(token)
    left = [one for one in found if last is None or number_of(one) > last]
    end = size if 0 < size <= most else most
    return left[:end], token_after(number_of(left[end - 1])) if end < len(left) else ""


def token_after(number: int) -> str:
    """The token of a page that begins behind the one of that number."""
    return base64.urlsafe_b64encode(b"after %d" % number).decode().rstrip("=")


def position(token: str) -> int | None:
    """The number behind which the page of `token` begins; None for the first page. Raises INVALID_ARGUMENT."""
    if not token:
        return None
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if text.startswith(b"after ") and len(text) < 30:
            return int(text.removeprefix(b"after "))
    except ValueError:
        pass
    raise Status(Code.INVALID_ARGUMENT, wording.validation("page_token", "List gave no such token"))
