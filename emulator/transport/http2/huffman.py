"""The Huffman code of HPACK (RFC 7541, appendix B), read a byte at a time."""

from __future__ import annotations

_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606050505060606"
    "0606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f0506050605060606050707"
    "0606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617161717181615"
    "1416161717151716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b18"
    "15151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
"""Bits of the code of each byte, and of the end that never comes. The codes follow from them: the shorter first, and
those of a length in the order of what they stand for.
"""

_END = 256
_LONGEST_PADDING = 7


def _tree() -> tuple[list[int], list[int]]:
    """Where a 0 leads from each node, and a 1: to the node of that number, or below 0 to the inverse of a byte."""
    zeros, ones = [0], [0]
    code = length = 0
    for symbol in sorted(range(257), key=lambda symbol: (_LENGTHS[symbol], symbol)):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        node = 0
        for bit in range(length - 1, -1, -1):
            branch = ones if code >> bit & 1 else zeros
            if bit == 0:
                branch[node] = ~symbol
            elif branch[node]:
                node = branch[node]
            else:
                zeros.append(0)
                ones.append(0)
                branch[node] = node = len(zeros) - 1
        code += 1
    return zeros, ones


_ZEROS, _ONES = _tree()


def _padding() -> frozenset[int]:
    """The nodes at which a text may end: what has come since its last byte are ones, and fewer than eight."""
    found = [0]
    for _ in range(_LONGEST_PADDING):
        found.append(_ONES[found[-1]])
    return frozenset(found)


_ENDS = _padding()


class _Steps(dict[int, tuple[int, bytes]]):
    """By node and byte (`node << 8 | byte`): the node that it leads to, shifted so, and what it gives.

    Found out when first needed; at most 65,536 of them.
    """

    def __missing__(self, step: int) -> tuple[int, bytes]:
        node, given = step >> 8, bytearray()
        for bit in range(7, -1, -1):
            node = (_ONES if step >> bit & 1 else _ZEROS)[node]
            if node < 0:
                if ~node == _END:
                    raise ValueError("a text with the code that ends texts in it")
                given.append(~node)
                node = 0
        self[step] = found = (node << 8, bytes(given))
        return found


_STEPS = _Steps()


def decoded(text: bytes) -> bytes:
    """What `text` stands for. Raises ValueError for what is no text in this code."""
    node, given, steps = 0, b"", _STEPS
    pieces = []
    for byte in text:
        node, given = steps[node | byte]
        pieces.append(given)
    if node >> 8 not in _ENDS:
        raise ValueError("a text that ends in the middle of a code")
    return b"".join(pieces)
