"""`unary`: completions that aren't streamed, by rules of different number and place, beside bare servers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from . import questions, servers
from .bare import SERVICE
from .results import Figure
from .run import Asked, Run, under_load

ONE, UNARY = f"/{SERVICE}/One", f"/{SERVICE}/Unary"
ROUNDS = 5


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
    found = [
        Asked("constant reply", servers.BARE, layout, bare, f"/{SERVICE}/{method}", requests, method)
        for layout in run.layouts
        for method in ("One",)
    ]
    found += [
        Asked("constant reply, unary method", servers.BARE, layout, bare, UNARY, _texts(), "Unary")
        for layout in run.layouts
    ]
    for name, flags in servers.bare_variants().items():
        other = stack.enter_context(servers.bare(run.folder, *flags, name=name))
        found += [Asked("constant reply", name, layout, other, ONE, requests) for layout in run.layouts]
    return found


def _emulator(run: Run, stack: ExitStack, variant: str) -> list[Asked]:
    found = []

    def ask(fixtures: Path | None, **keys: str) -> None:
        server = stack.enter_context(servers.emulator(run.folder, fixtures, variant))
        for row, key in keys.items():
            requests = tuple(questions.requests(key))
            for layout in run.layouts:
                found.append(Asked(row, variant, layout, server, questions.COMPLETION, requests))
                if row.startswith("100 rules, last"):
                    once = requests[:1]
                    found.append(Asked(f"{row}, one request", variant, layout, server, questions.COMPLETION, once))

    for count in run.rules:
        name = f"{count:,} rule{'s' if count > 1 else ''}"
        keys = {f"{name}, first": questions.FIRST, f"{name}, last": questions.LAST, f"{name}, none": questions.NONE}
        if count == 1:
            del keys[f"{name}, last"]
        ask(questions.fixture(run.folder, count), **keys)
    ask(questions.fixture(run.folder, 100, patterns=10), **{"100 rules, 10 bare patterns": questions.LAST})
    ask(None, **{"default reply": questions.NONE})
    ask(_written(run.folder / "templates.yaml", questions.templates()), template=questions.FIRST)
    embedding = _written(run.folder / "embedding.yaml", questions.embedding())
    server = stack.enter_context(servers.emulator(run.folder, embedding, variant))
    for layout in run.layouts:
        found.append(Asked("embedding, unary method", variant, layout, server, questions.EMBEDDING, _texts(), "Unary"))
    return found


def _texts() -> tuple[bytes, ...]:
    return tuple(questions.texts())


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
