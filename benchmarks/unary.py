"""`unary`: completions that aren't streamed, by rules of different number and place, beside bare servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from . import questions, servers
from .bare import SERVICE
from .results import Figure
from .run import Asked, Run, under_load

ONE, UNARY = f"/{SERVICE}/One", f"/{SERVICE}/Unary"
EMBEDDING = "embedding, unary method"
ROUNDS = 5
REPEATED = 100
"""With so many rules it is measured as well what one request, repeated, costs."""

NEW = "new questions"
"""Ends the names of rows whose questions were never asked before: nothing that was found out earlier is of use."""

ASKED_NEW = (1, 100, 10_000)
"""Numbers of rules that are asked such, too."""


def measured(run: Run) -> list[Figure]:
    """Throughput and the server's CPU a call, of every row, in every layout."""
    with ExitStack() as stack:
        asked = _floor(run, stack)
        for variant in run.variants:
            asked += _emulator(run, stack, variant)
        return under_load(run, "unary", asked, run.times(ROUNDS))


def _floor(run: Run, stack: ExitStack) -> list[Asked]:
    requests = tuple(questions.requests(questions.LAST))
    bare = stack.enter_context(servers.bare(run.folder))
    found = [Asked("constant reply", servers.BARE, layout, bare, ONE, requests) for layout in run.layouts]
    found += [
        Asked("constant reply, unary method", servers.BARE, layout, bare, UNARY, requests, "Unary")
        for layout in run.layouts
    ]
    for name, flags in servers.bare_variants().items():
        other = stack.enter_context(servers.bare(run.folder, *flags, name=name))
        found += [Asked("constant reply", name, layout, other, ONE, requests) for layout in run.layouts]
    return found


def _emulator(run: Run, stack: ExitStack, variant: str) -> list[Asked]:
    found = []
    for fixtures, rows in _served(run.folder, run.rules):
        server = stack.enter_context(servers.emulator(run.folder, fixtures, variant))
        for row, requests, expected in rows:
            kind = (
                {"path": questions.EMBEDDING, "floor": "Unary"} if row == EMBEDDING else {"path": questions.COMPLETION}
            )
            found += [
                Asked(row, variant, layout, server, requests=requests, expected=expected, **kind)
                for layout in run.layouts
            ]
    return found


_Row = tuple[str, tuple[bytes, ...], bytes]


def _served(folder: Path, counts: tuple[int, ...]) -> Iterator[tuple[Path | None, list[_Row]]]:
    """Fixtures, and the rows that are measured with them: name, requests, and what is in the replies."""
    again = questions.AGAIN
    by_key = {
        key: tuple(questions.requests(key, count=again)) for key in (questions.FIRST, questions.LAST, questions.NONE)
    }
    first, last, none = by_key.values()
    reply = questions.REPLY.encode()
    for count in counts:
        name = f"{count:,} rule{'s' if count > 1 else ''}"
        rows = [(f"{name}, first", first, reply), (f"{name}, last", last, reply), (f"{name}, none", none, b"")]
        if count == 1:
            del rows[1]
        if count == REPEATED:
            rows.append((f"{name}, last, one request", last[:1], reply))
        yield questions.fixture(folder, count), rows
        if count in ASKED_NEW:  # by a server of their own, which has been asked nothing else
            which, key = ("last", questions.LAST) if count > 1 else ("first", questions.FIRST)
            new = (f"{name}, {which}, {NEW}", tuple(questions.requests(key, count=questions.NEW)), reply)
            yield questions.fixture(folder, count), [new]
    yield questions.fixture(folder, 100, patterns=10), [("100 rules, 10 bare patterns", last, reply)]
    yield None, [("default reply", none, b"")]
    end = questions.REPLY[-40:].encode()
    yield _written(folder / "templates.yaml", questions.templates()), [("template", first, end)]
    yield _written(folder / "embedding.yaml", questions.embedding()), [(EMBEDDING, tuple(questions.texts()), b"")]


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
