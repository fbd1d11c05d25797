"""Pages of a list. What is listed has a number that grows with each new one, and a token holds that of the last one
shown, so pages go on where they were, whatever comes or is deleted between them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..errors import Code, Status

T = TypeVar("T")


def page(found: Sequence[T], number_of: Callable[[T], int], size: int, token: str, most: int) -> tuple[list[T], str]:
    """A page of at most `size` (`most` where that is 0 or more) of what was `found`, in the order of its numbers, and
    the token of the next page; empty after the last.

    Raises INVALID_ARGUMENT for a size below 0, and for a token that is none.
    """
    if size < 0:
        raise Status(Code.INVALID_ARGUMENT, f"page_size: {size} is less than 0")
    last = _read(token) if token else 0
    left = [one for one in found if number_of(one) > last]
    end = size if 0 < size <= most else most
    return left[:end], _written(number_of(left[end - 1])) if end < len(left) else ""


def _written(number: int) -> str:
    return base64.urlsafe_b64encode(b"after %d" % number).decode().rstrip("=")


def _read(token: str) -> int:
    try:
        word, number = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split(" ")
        if word == "after" and len(number) < 20:
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise Status(Code.INVALID_ARGUMENT, f"page_token: {token[:60]!r} is none that List gave")
