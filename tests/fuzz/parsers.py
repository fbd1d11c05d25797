"""What reads a text of others: literals that a pattern needs, durations, JWTs, presigned URLs, rows of datasets."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from random import Random
from urllib.parse import parse_qsl, unquote, urlsplit

import regex
from robustness.fixtures_at_random import DURATIONS, PATTERNS

from emulator import presigned
from emulator.clock import SECOND, Wall
from emulator.errors import Code, Status
from emulator.rows.check import LONGEST_DESCRIPTION, MOST_FAULTS
from emulator.rows.check import check as checked
from emulator.rows.names import TASK_TYPES
from emulator.rules import duration, literals
from emulator.rules.comparisons import SHORT, _found, _pattern
from emulator.rules.matcher import Overrun
from emulator.rules.patterns import quick
from emulator.seed import Seed
from emulator.services import jwt

from . import mutations
from .target import Target

_HEAD = "¦"
"""Parts a pattern from the text in which it is looked for."""


def check_pattern(data: bytes) -> None:
    """A pattern and a text in which it is found: what the pattern needs stands there. What is called quick is."""
    pattern, _, text = data.decode("utf-8", "ignore").partition(_HEAD)
    needed = literals.of_pattern(pattern)
    try:
        compiled = _pattern(pattern)
    except ValueError:
        return
    try:
        found = _found((compiled, False), text)
    except Overrun:
        assert not quick(pattern) or len(text) > SHORT, f"{pattern!r} is not quick in {text!r}"
        return
    if found:
        searched = literals.folded(text)
        for among in needed:
            assert any(literal in searched for literal in among), f"{pattern!r} is in {text!r}, and none of {among}"


def pattern_seeds() -> Mapping[str, bytes]:
    """Patterns with texts in which they are found."""
    texts = ["привет, мир", "ПОГОДА в Москве 20", "aaa bbb", "İstanbul ß ſ K", "ёлка Ёж", ""]
    more = [r"при(вет|ём)", r"(?i:погода)\s+в", r"a{2,}b*", r"\bмир\b", r"[аб]в|гд", r"(?P<x>a)(?P=x)", "ё", "straße"]
    return {
        f"{i}-{j}": f"{p}{_HEAD}{t}".encode() for i, p in enumerate([*PATTERNS, *more]) for j, t in enumerate(texts)
    }


def mutate_pattern(data: bytes, r: Random) -> bytes:
    """Another pattern, or another text."""
    pattern, _, text = data.decode("utf-8", "ignore").partition(_HEAD)
    if r.random() < 0.6:
        pattern = mutations.text(pattern, r, _SYNTAX)
    elif r.random() < 0.3:
        text = text + re.sub(r"[\\()\[\]{}?*+|^$.]", "", pattern)
    elif r.random() < 0.3:
        text = r.choice((text.upper(), text.lower(), text.swapcase(), text[::-1]))
    else:
        text = mutations.text(text, r, _LETTERS)
    return f"{pattern}{_HEAD}{text}".encode("utf-8", "ignore")


_LETTERS = [
    "ё",
    "е\u0308",
    "ı",
    "i",
    "İ",
    "ß",
    "ss",
    "ſ",
    "\u212a",
    "ﬀ",
    "é",
    "е",
    "и",
    "й",
    "и\u0306",
    " ",
    "  ",
    "\n",
    "-",
    "_",
]
_SYNTAX = [
    *_LETTERS,
    *(
        "(?i)",
        "(?i:",
        "(?f)",
        "(?fi)",
        "(?x)",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?<!",
        "(?>",
        "|",
        ")",
        "*",
        "+",
        "?",
        "{0,1}",
        "{2}",
    ),
    *(
        "{e<=1}",
        "[",
        "]",
        "[^",
        "[[",
        "--",
        "&&",
        r"\b",
        r"\w",
        r"\d",
        r"\s",
        r"\p{L}",
        r"\X",
        r"\R",
        r"\K",
        r"\1",
        "(?P<a>",
    ),
    *(
        "(?P=a)",
        "(?R)",
        "(?1)",
        "(?|",
        "(?(1)",
        "(?s)",
        "(?a)",
        "(?u)",
        r"\N{DIGIT ONE}",
        r"\x41",
        r"\u0401",
        ".",
        "^",
        "$",
    ),
    *(
        "(*FAIL)",
        "(?#",
        "(?V1)",
        "(?b)",
        "(?e)",
        "*?",
        "++",
        "{,2}",
        r"\L<a>",
        r"\m",
        r"\M",
        r"\G",
        r"\h",
        r"\A",
        r"\Z",
        "#",
    ),
]


def check_duration(data: bytes) -> None:
    """A duration: read, it is within its bounds, and what is equal reads the same."""
    text = data.decode("utf-8", "replace")
    try:
        ns = duration.parse(text)
    except ValueError as refused:
        assert str(refused).strip(), repr(text)
        return
    assert 0 <= ns <= duration.LONGEST_NS
    assert duration.parse(f"{ns}ns") == ns if ns else True
    assert duration.Duration.from_scalar(text).ns == ns


def check_jwt(data: bytes) -> None:
    """A JWT, encoded, or its header and claims as they stand, in which NOW and SOON are times: it is refused, or its
    parts are sound.
    """
    text = data.decode("utf-8", "replace").replace("NOW", f"{Wall.now():.0f}").replace("SOON", f"{Wall.now() + 60:.0f}")
    if text.startswith("{") and "}{" in text:
        header, _, claims = text.partition("}{")
        parts = (f"{header}}}", f"{{{claims}", "signature")
        text = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    try:
        read = jwt.read(text)
    except Status as refused:
        assert refused.code in (Code.INVALID_ARGUMENT, Code.UNAUTHENTICATED), refused
        assert len(refused.message) < 1000, f"{len(refused.message)} characters are told"
        return
    assert read.issuer
    assert read.key_id
    assert read.signature


_SEED = Seed(1)
_NOW = 1_767_225_600 * SECOND
_URL = presigned.presigned(_SEED, "PUT", "/drafts/d1", _NOW, 5, {"uploadId": "u", "partNumber": "1"})


def check_presigned(data: bytes) -> None:
    """A URL that was changed: where it says something else, it isn't signed."""
    url = data.decode("utf-8", "replace")
    try:
        split = urlsplit(url)
        query = parse_qsl(split.query, keep_blank_values=True)
    except ValueError:
        return
    path = unquote(split.path)
    given = dict(query).get(presigned.SIGNATURE)
    expected = presigned.signature(_SEED, "PUT", path, query, 5)
    if given == expected:
        right = parse_qsl(urlsplit(_URL).query, keep_blank_values=True)
        unsigned = [sorted(pair for pair in pairs if pair[0] != presigned.SIGNATURE) for pairs in (query, right)]
        assert path == "/drafts/d1", f"signed for {path!r}"
        assert unsigned[0] == unsigned[1], f"signed with {query!r}"
        assert presigned.written(presigned.read(dict(query)["X-Amz-Date"])) == dict(query)["X-Amz-Date"]


def check_rows(data: bytes) -> None:
    """A dataset: the first byte chooses its task type; every line is sound or counted with what is wrong."""
    task_type = TASK_TYPES[data[0] % len(TASK_TYPES)] if data else TASK_TYPES[0]
    verdict = checked(data[1:], task_type, None)
    assert 0 <= verdict.valid <= verdict.rows
    assert verdict.sound == (not verdict.faults)
    assert verdict.sound == (verdict.rows > 0 and verdict.valid == verdict.rows)
    assert len(verdict.faults) <= MOST_FAULTS + 1
    for fault in verdict.faults:
        assert fault.description.strip()
        assert len(fault.description) <= LONGEST_DESCRIPTION + 3
        assert all(1 <= row <= verdict.rows for row in fault.rows)
        fault.description.encode()


_CHECKS = {"duration": check_duration, "jwt": check_jwt, "presigned": check_presigned, "rows": check_rows}


def check(data: bytes) -> None:
    """The first line says what the rest is."""
    kind, _, rest = data.partition(b"\n")
    one = _CHECKS.get(kind.decode("latin-1"))
    if one is not None:
        one(rest)


def seeds() -> Mapping[str, bytes]:
    """Of each kind what is right, and nearly."""
    out = {f"duration-{i}": f"duration\n{text}".encode() for i, text in enumerate([*DURATIONS, "1.5h20m3s"])}
    claims = '{"iss":"aje","aud":"https://iam.api.cloud.yandex.net/iam/v1/tokens","iat":NOW,"exp":SOON}'
    out["jwt"] = b'jwt\n{"alg":"PS256","kid":"a"}' + claims.encode()
    out["jwt-encoded"] = b"jwt\neyJhbGciOiJQUzI1NiJ9.e30.AA"
    out["presigned"] = b"presigned\n" + _URL.encode()
    rows = [
        {"request": [{"role": "user", "text": "раз"}]},
        {"request": [{"role": "user", "text": "раз"}], "response": "два"},
        {"request": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image", "image": "AA"}]}]},
        {"anchor": "a", "positive": "b", "negative": "c"},
        {"text": "a", "b": 1, "c": 0},
    ]
    for i in range(len(TASK_TYPES)):
        for j, row in enumerate(rows):
            out[f"rows-{i}-{j}"] = b"rows\n" + bytes([i]) + json.dumps(row, ensure_ascii=False).encode() + b"\n\n"
    return out


assert regex.compile("a")
PATTERNS_TARGET = Target(check_pattern, pattern_seeds, mutate_pattern, _SYNTAX, longest=300)
TARGET = Target(
    check,
    seeds,
    words=[
        "duration\n",
        "jwt\n",
        "presigned\n",
        "rows\n",
        "PS256",
        "NOW",
        "SOON",
        "µs",
        "ms",
        "%0A",
        "%FF",
        "role",
        "assistant",
        "\\ud800",
        "text",
    ],
)
