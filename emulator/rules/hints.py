"""What would have matched: the advice that a failed comparison gives.

Computed only when someone asks, from the beginning of long texts, so its cost is bounded. Each hint comes with the
place in the text that it is about, for the excerpt to show.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice

from .model_uri import Model, ModelPattern
from .text import Glob, Text, fold, word_needle, words_of

WIDTH = 80
"""Characters of a value that are shown."""

_LOOKED_AT = 20_000
_MOST_WORDS = 2_000
_ALIKE = str.maketrans("aceopxykmthbi", "асеорхукмтнві")

Advice = tuple[str, int]
"""What to do instead, and the index in the actual text that it is about."""
NONE: Advice = ("", 0)


def quote(text: str, place: int = 0, width: int = WIDTH) -> str:
    """`text` in double quotes, control characters escaped; of a long one, `width` characters around `place`."""
    import json

    if len(text) <= width:
        return json.dumps(text, ensure_ascii=False)
    start = min(max(0, place - width // 3), len(text) - width)
    end = start + width
    shown = json.dumps(text[start:end], ensure_ascii=False)
    return ("…" if start else "") + shown + ("…" if end < len(text) else "")


def show(value: object, place: int = 0) -> str:
    """A value as a person would write it in a rule, bounded."""
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Text):
        return quote(value.raw, place)
    if isinstance(value, Model):
        return quote((value.label if value.name else Text(value.uri)).raw)
    if isinstance(value, (tuple, list, frozenset, set)):
        return _series(list(value))
    return quote(value) if isinstance(value, str) else quote(str(value))[1:-1]


def _series(values: Sequence[object]) -> str:
    shown: list[str] = []
    used = 0
    for i, value in enumerate(values):
        part = quote(value, width=40) if isinstance(value, str) else show(value)
        used += len(part) + 2
        if shown and used > WIDTH + 40:
            shown.append(f"and {len(values) - i} more")
            break
        shown.append(part)
    return f"[{', '.join(shown)}]"


def equals_hint(expected: Iterable[str], text: Text) -> Advice:
    """For an exact comparison with each of `expected`."""
    raw = text.raw[:_LOOKED_AT]
    folded = fold(raw)
    first = NONE
    for wanted in expected:
        if fold(wanted) == folded and folded:
            return f"it differs only in {_finer(wanted, raw)}: contains overlooks that", _fork(wanted, raw)
        if alike := _look_alike(fold(wanted), folded, whole=True):
            return alike, _fork(wanted, raw)
        if first[0]:
            continue
        if "*" in wanted and Glob(wanted).matches(text.raw):
            first = ("`*` stands for itself here: use glob", 0)
        elif fold(wanted) and fold(wanted) in folded:
            first = ("it contains it: use contains", _place(wanted, raw))
        elif len(wanted) <= 60 and len(raw) <= 60 and 0 < (steps := _distance(wanted, raw, 2)) <= _slack(wanted):
            first = (f"it is {_letters(steps)} away", _fork(wanted, raw))
        else:
            first = ("", _fork(wanted, raw))
    return first


def _finer(wanted: str, raw: str) -> str:
    if unicodedata.normalize("NFC", wanted) == unicodedata.normalize("NFC", raw):
        return "how its letters are composed"
    names = []
    if " ".join(wanted.split()) == " ".join(raw.split()):
        return "white space"
    plain, other = fold_case(wanted), fold_case(raw)
    if plain.replace("ё", "е") == other.replace("ё", "е"):
        if plain != other:
            names.append("ё")
        if wanted.replace("ё", "е").replace("Ё", "Е") != raw.replace("ё", "е").replace("Ё", "Е"):
            names.append("case")
        return " and ".join(names)
    return "case, ё or white space"


def fold_case(text: str) -> str:
    """`text` without case, everything else as it is."""
    return unicodedata.normalize("NFC", text).casefold()


def contains_hint(expected: Iterable[str], text: Text) -> Advice:
    """For `contains`, whose `expected` are folded."""
    raw = text.raw[:_LOOKED_AT]
    folded = fold(raw)
    for wanted in expected:
        if alike := _look_alike(wanted, folded):
            return alike, _place_of_alike(wanted, raw)
        if _bare(wanted) and _bare(wanted) in _bare(folded):
            return "it has the same words with other punctuation: use word", 0
    return _near(expected, raw)


def word_hint(expected: Iterable[str], text: Text) -> Advice:
    """For `word`, whose `expected` are patterns as written."""
    raw = text.raw[:_LOOKED_AT]
    spaced, folded = Text(raw).words, fold(raw)
    stems = []
    for pattern in expected:
        stem = fold(pattern.removesuffix("*"))
        stems.append(stem)
        if not pattern.endswith("*") and word_needle(pattern + "*") in spaced:
            return f"a longer word begins with it: write {quote(pattern + '*')}", _place(stem, raw)
        if alike := _look_alike(stem, folded):
            return alike, _place_of_alike(stem, raw)
        if stem in folded:
            return "it stands inside a word: use contains", _place(stem, raw)
    return _near(stems, raw)


def glob_hint(expected: Iterable[str], text: Text) -> Advice:
    """For `glob`."""
    for pattern in expected:
        if Glob(f"*{pattern}*").matches(text.raw):
            return f"it is inside: write {quote(f'*{pattern}*'.replace('**', '*'))}", 0
        if Glob(fold_case(pattern)).matches(fold_case(text.raw)):
            return "it differs in case, which counts in globs", 0
    return NONE


def matches_hint(expected: Iterable[str], text: Text) -> Advice:
    """For `matches`; tries the first few patterns again in looser ways, each with the same limit of time."""
    import regex  # type: ignore[import-untyped]

    raw = text.raw[:_LOOKED_AT]
    for pattern in islice(expected, 5):
        trials = [(pattern, raw, regex.IGNORECASE, "it differs in case: begin the pattern with (?i)")]
        if ends := " and ".join(end for end in ("^", "$") if end in (pattern[0], pattern[-1])):
            bare = pattern.removeprefix("^").removesuffix("$")
            trials.append((bare, raw, 0, f"it matches without {ends}"))
            trials.append((bare, raw, regex.IGNORECASE, f"it matches without {ends}, with (?i) before it for the case"))
        trials.append((pattern, raw, regex.DOTALL, "a line break is in the way: begin the pattern with (?s)"))
        evened = "it matches but for white space, ё or how letters are composed"
        trials.append((pattern, fold(raw), regex.IGNORECASE, evened))
        for source, among, flags, advice in trials:
            try:
                if found := regex.compile(source, flags).search(among, timeout=0.1):
                    return advice, found.start() if among is raw else 0
            except (regex.error, TimeoutError):
                continue
    return NONE


def model_hint(expected: Iterable[str], model: Model) -> Advice:
    """For a model compared with patterns of models."""
    for pattern in expected:
        if "://" in pattern:
            if parts := _other_parts(ModelPattern(pattern).target, model.full.raw):
                return parts, 0
            continue
        name, _, branch = pattern.partition("/")
        if Glob(name).matches(model.name):
            named = f"{quote(f'{name}/{model.branch}')} or {quote(f'{name}/*')}"
            return f"its branch is {model.branch}, not {branch or 'latest'}: write {named}", 0
        if Glob(name.casefold()).matches(model.name.casefold()):
            return "it differs in case, which counts in models", 0
        if alike := _look_alike(name.casefold(), model.name.casefold(), whole=True):
            return alike, 0
        if model.name.startswith(name):
            return f"it begins with it: write {quote(f'{name}*')}", 0
    return NONE


_PARTS = {0: "scheme", 2: "folder", 3: "name", 4: "branch"}


def _other_parts(target: str, full: str) -> str:
    wanted, actual = target.split("/"), full.split("/")
    if len(wanted) != len(actual):
        return ""
    pairs = enumerate(zip(wanted, actual, strict=True))
    return ", ".join(f"its {_PARTS[i]} is {quote(y, width=40)}" for i, (x, y) in pairs if not Glob(x).matches(y))


def members_hint(expected: Sequence[str], members: Sequence[object]) -> Advice:
    """For names looked for in a list of names."""
    import difflib

    names = [member for member in members if isinstance(member, str)][:_MOST_WORDS]
    said = []
    for wanted in expected:
        if wanted in map(str, members):
            continue
        folded = next((name for name in names if name.casefold() == wanted.casefold()), None)
        inside = [] if folded else [name for name in names if wanted and wanted in name][:1]
        near = [folded] if folded else [] if inside else difflib.get_close_matches(wanted, names, 1)
        also = f", but {quote(near[0], width=40)}" if near else ""
        if inside:
            also = f", but {quote(inside[0], width=40)}: use glob {quote(f'*{wanted}*', width=40)}"
        said.append(f"it lacks {quote(wanted, width=40)}{also}")
        if len(said) == 3:
            break
    return "; ".join(said), 0


def _near(expected: Iterable[str], raw: str) -> Advice:
    """The word of `raw` that is another form of what was looked for, or nearly spelt like it."""
    words = list(dict.fromkeys(words_of(raw)))[:_MOST_WORDS]
    close: tuple[int, str] | None = None
    for wanted in expected:
        needle = wanted.strip()
        if not needle or len(needle) > 40 or " " in needle:
            continue
        for word in words:
            folded = fold(word)
            stem = _common(needle, folded)
            if len(stem) >= max(3, len(needle) - 3) and max(len(needle), len(folded)) - len(stem) <= 3:
                return f"it has {quote(word)}: word {quote(stem + '*')} matches both", raw.find(word)
            steps = _distance(needle, folded, _slack(needle))
            if 0 < steps <= _slack(needle) and (close is None or steps < close[0]):
                close = (steps, word)
    if close is None:
        return NONE
    return f"it has {quote(close[1])}, {_letters(close[0])} away", raw.find(close[1])


def _slack(word: str) -> int:
    return 0 if len(word) < 4 else 1 if len(word) < 7 else 2


def _letters(steps: int) -> str:
    return "one letter" if steps == 1 else f"{steps} letters"


def _distance(a: str, b: str, most: int) -> int:
    """How many letters to change, add, drop or swap to get from `a` to `b`; `most` + 1 stands for all above `most`."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        current = [i]
        for j, y in enumerate(b, 1):
            steps = min(row[j] + 1, current[-1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                steps = min(steps, before[j - 2] + 1)
            current.append(steps)
        if min(current) > most and min(row) > most:
            return most + 1
        before, row = row, current
    return min(row[-1], most + 1)


def _look_alike(wanted: str, folded: str, *, whole: bool = False) -> str:
    """Whether they differ only in Latin letters that look like Cyrillic ones; both are folded."""
    a, b = wanted.translate(_ALIKE), folded.translate(_ALIKE)
    at = (0 if a == b else -1) if whole else b.find(a)
    if not wanted or at < 0 or folded.startswith(wanted, at):
        return ""
    ours, theirs = next((x, y) for x, y in zip(wanted, folded[at:], strict=False) if x != y)
    if ours.isascii():
        return f'it only looks the same: the rule has a Latin "{ours}" where the request has a Cyrillic one'
    return f'it only looks the same: the request has a Latin "{theirs}" where the rule has a Cyrillic one'


def _place(wanted: str, raw: str) -> int:
    """Where something folded stands in a raw text, or nearly so."""
    return max(0, raw.casefold().find(fold(wanted)))


def _place_of_alike(wanted: str, raw: str) -> int:
    return max(0, raw.casefold().translate(_ALIKE).find(wanted.translate(_ALIKE)))


def _fork(wanted: str, raw: str) -> int:
    return len(_common(wanted, raw))


def _common(a: str, b: str) -> str:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return a[:i]
    return min(a, b, key=len)


_PUNCTUATION = re.compile(r"[^\w\s]+")


def _bare(folded: str) -> str:
    return " ".join(_PUNCTUATION.sub(" ", folded).split())
