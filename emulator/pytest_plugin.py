"""The pytest plugin: the fixture `fm_emulator`, its options and marker, and the verdict at the end of a test.

pytest loads it wherever the package is installed, so nothing of the emulator is imported, and no thread started, until
a test asks for the fixture. One server lives as long as the pytest session (with pytest-xdist, one a worker), and
begins again for each test: calls left open belong to what was before and count nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .behind import Completed
    from .config import Config
    from .engine.book import Book
    from .recorded import Recorded
    from .reload import Watched
    from .server import Emulator
    from .sessions import Session

INI = {
    "seed": ("string", None, "root of every random choice of the emulator"),
    "now": ("string", None, "when the emulator's clock starts, e.g. 2026-01-31T12:00:00Z"),
    "speed": ("string", None, "how fast scripted time runs: 60 makes a minute take a second"),
    "strict": ("bool", False, "fail calls that no rule matches, and tests in which something differs from the rules"),
    "frozen": ("bool", False, "the emulator's clock stands still until it is moved"),
    "lenient": ("bool", False, "accept requests that the real service would refuse"),
    "quotas": ("string", None, "limits that calls meet where the fixtures name no preset: none or real"),
    "chaos": ("string", None, "share of calls, 0 to 1, that fail with UNAVAILABLE where the fixtures have no chaos"),
    "immediate": ("bool", True, "operations without a timeline are done at the first Get"),
}
"""The options beside the fixtures, in `[pytest]` of an ini file as `fm_emulator_NAME`: type, default, help."""

MARKED = ("fixtures", *INI, "verify")
"""What `@pytest.mark.fm_emulator` takes."""

MOST_CALLS = 20
"""Calls that the report of a failed test shows."""

MOST_BOOKS = 64
"""Sets of fixtures that are kept compiled."""

GRACE = 0.5
"""Real seconds that calls left open by the last test are given: nobody reads what they send any more."""

PATIENCE = 0.5
"""Real seconds that a verdict waits for streams which a client has left, but of which the server doesn't know yet."""

_TEST = "PYTEST_CURRENT_TEST"


class Refused(Exception):
    """A setting that can't be, told in words."""


# -- hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini options."""
    parser.addini(
        "fm_emulator_fixtures", "fm_emulator: fixture files or folders, below rootdir, one a line", "linelist", []
    )
    parser.addini("fm_emulator_engine", "fm_emulator: what speaks gRPC, grpc.aio or native", "string", None)
    for name, (kind, default, text) in INI.items():
        parser.addini(f"fm_emulator_{name}", f"fm_emulator: {text}", kind, default)  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", f"fm_emulator({', '.join(f'{name}=...' for name in MARKED)}): settings of the fixture fm_emulator"
    )


@pytest.fixture(scope="session")
def _fm_emulator_serving(request: pytest.FixtureRequest) -> Iterator[_Serving]:
    """The one server of this process; with TLS where a test runs programs with it."""
    from .errors import UsageError
    from .server import Emulator

    engine = request.config.getini("fm_emulator_engine")
    programs = any("fm_emulator_exec" in getattr(item, "fixturenames", ()) for item in request.session.items)
    with contextlib.ExitStack() as stack:
        try:
            tls = programs and find_spec("cryptography") is not None
            chosen = {} if engine is None else {"engine": engine}
            emulator = stack.enter_context(Emulator(tls=tls, **chosen))
        except UsageError as refused:
            pytest.fail(f"fm_emulator: {refused}", pytrace=False)
        yield _Serving(emulator)
        emulator.place.wait(emulator.stop(GRACE), "stop")


@pytest.fixture
def fm_emulator(request: pytest.FixtureRequest, _fm_emulator_serving: _Serving) -> Iterator[Emulator]:
    """A running emulator of the Foundation Models API (`emulator.Emulator`), as new for every test."""
    item, serving, use, why = request.node, _fm_emulator_serving, None, ""
    try:
        use = serving.begin(item)
    except Refused as refused:
        why = str(refused)
    if use is None:  # failed out here, it is told once and without what led to it
        pytest.fail(f"fm_emulator: {why}", pytrace=False)
    item.stash[_USE] = use
    yield serving.emulator
    del item.stash[_USE]
    serving.end()


@pytest.fixture
def fm_emulator_exec(fm_emulator: Emulator) -> Callable[..., Completed]:
    """`fm_emulator_exec(["python", "app.py"])` runs a program as it is, with `fm_emulator` in place of the cloud; see
    `emulator.behind.run`.
    """
    if fm_emulator.ca is None:
        remedy = "name it among the arguments of the test, so that TLS is there"
        if find_spec("cryptography") is None:
            remedy = "certificates need cryptography: pip install 'fm-emulator[tls]'"
        pytest.fail(f"fm_emulator_exec: {remedy}", pytrace=False)
    from .behind import run

    return partial(run, fm_emulator)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Hold what happened against what was expected, once the test itself has passed, so that it is the test that
    fails.
    """
    outcome = yield
    use = item.stash.get(_USE, None)
    differs = use.differs() if use is not None else ""
    if differs:
        pytest.fail(f"fm_emulator: {differs}", pytrace=False)
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the calls of a test that failed."""
    report = yield
    use = item.stash.get(_USE, None)
    if use is not None and report.failed:
        shown = use.calls()
        if shown:
            report.sections.append(("fm-emulator", shown))
    return report


# -- the server and its tests


class _Serving:
    """The server, and the sets of fixtures it has served so far."""

    def __init__(self, emulator: Emulator) -> None:
        from .engine.book import Book

        self.emulator = emulator
        self._blank, self._none = emulator.config, Book()
        self._books = _Books()

    def begin(self, item: pytest.Item) -> _Use:
        """Begin again for this test. Raises Refused."""
        from .errors import FixtureError

        config, given, checks = _settings(item)
        try:
            book = self._books.of(given)
        except FixtureError as error:
            raise Refused(f"mistakes in the fixtures\n{error}") from None
        self.emulator.renew(config, book)
        return _Use(self.emulator, checks)

    def end(self) -> None:
        """The test is over: who waits for ever is let go, and what comes late is lost."""
        self.emulator.renew(self._blank, self._none)


class _Use:
    """A test's use of the emulator; `checks` are what is held against it at its end."""

    def __init__(self, emulator: Emulator, checks: tuple[str, ...]) -> None:
        self._emulator, self._checks = emulator, checks

    def differs(self) -> str:
        """Everything that is not as expected; empty if all is."""
        if not self._checks:
            return ""
        place = self._emulator.place
        told = []
        for session in self._used():
            if "unread" in self._checks:
                place.wait(_settled(session), "verify")
            report = place.do(lambda s=session: s.verify(self._checks))  # type: ignore[misc]
            if report.problems:
                told.append(f"session {session.id}: {report.text()}" if session.id else report.text())
        return "\n".join(told)

    def calls(self) -> str:
        """The last calls, a line each, of each session."""
        return "\n".join(self._emulator.place.do(lambda: [line for s in self._used() for line in _listed(s)]))

    def _used(self) -> list[Session]:
        """The sessions in which something was done; the first one if it was nowhere. All share the rules of the files,
        so a session that nobody used would miss what those expect.
        """
        sessions = list(self._emulator.sessions)
        return [s for s in sessions if len(s.journal) or s.added or s.own is not None] or sessions[:1]


_USE = pytest.StashKey[_Use]()


async def _settled(session: Session) -> None:
    """Return once no stream is open that its client has ended; it takes a moment until the server hears of it."""
    with session.journal.subscribe() as closing:
        while any(entry.code is None and entry.streamed for entry in session.journal):
            try:
                await asyncio.wait_for(closing.__anext__(), PATIENCE)
            except asyncio.TimeoutError:
                return


def _listed(session: Session) -> list[str]:
    from .recorded import Recorded

    entries = list(session.journal)
    n = len(entries) + session.journal.evicted
    lines = [_line(session.id, Recorded(entry)) for entry in entries[-MOST_CALLS:]]
    return lines if n <= MOST_CALLS else [f"the last {len(lines)} of {n} calls", *lines]


def _line(session: str, call: Recorded) -> str:
    rule = f"rule={call.rule}" if call.rule else ""
    remarks = "; ".join((*(f"chaos: {fault}" for fault in call.faults), *call.behaviour, *call.notes))
    method = call.method.rpartition(".")[2]
    words = (session, call.id, method, rule, call.code or "(open)", call.about, f"({remarks})" if remarks else "")
    return " ".join(" ".join(word.split()) for word in words if word)


# -- settings


def _settings(item: pytest.Item) -> tuple[Config, list[_Given], tuple[str, ...]]:
    """How the emulator is to be for this test, its fixtures, and what is held against it at the end. Raises Refused.

    The marker nearest to the test wins, field by field, and any marker over the ini options.
    """
    from .config import from_values

    values = {name: _ini(item.config, name) for name in INI}
    values = {name: value for name, value in values.items() if value is not None}
    values["port"] = 0
    for name, value in values.items():
        _checked(name, value, f"ini option fm_emulator_{name}")
    given = [_Given(item.config.rootpath / path) for path in _ini(item.config, "fixtures")]
    verify: Any = None
    for mark in reversed(list(item.iter_markers("fm_emulator"))):
        if mark.args:
            raise Refused(f"the marker takes no positional arguments; write fm_emulator(fixtures={mark.args[0]!r})")
        for name, value in mark.kwargs.items():
            if name == "fixtures":
                given = list(_given(value, item))
            elif name == "verify":
                verify = value
            elif name in INI:
                values[name] = _checked(name, value, "the marker")
            else:
                raise Refused(f"the marker has no argument {name!r}; there are {', '.join(MARKED)}")
    config = from_values(values)
    return config, given, _checks(verify, config.strict)


def _ini(config: pytest.Config, name: str) -> Any:
    """The value of an ini option: numbers as numbers, where they are."""
    try:
        value = config.getini(f"fm_emulator_{name}")
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise Refused(f"ini option fm_emulator_{name}: {error}") from None
    if name in INI and INI[name][0] == "string" and not value:
        return None  # pytest before 8 gives an empty list for what is not set
    kind = {"seed": int, "speed": float, "chaos": float}.get(name)
    if kind is not None and isinstance(value, str):
        with contextlib.suppress(ValueError):  # what is no number is refused with all other values
            return kind(value)
    return value


def _checked(name: str, value: Any, where: str) -> Any:
    from .config import from_values
    from .errors import UsageError

    try:
        from_values({name: value})
    except UsageError as error:
        raise Refused(f"{where}: {error}") from None
    return value


def _checks(verify: Any, strict: bool) -> tuple[str, ...]:
    """The checks of `engine.verify` that are held: a rule's `expect` always, unless `verify` says otherwise."""
    from .engine.verify import CHECKS

    if verify is None:
        return CHECKS if strict else ("expect",)
    if isinstance(verify, bool):
        return CHECKS if verify else ()
    checks = (verify,) if isinstance(verify, str) else tuple(verify) if isinstance(verify, Iterable) else None
    if checks is None:
        raise Refused(f"the marker: verify: {verify!r} is neither True nor False nor a list of {', '.join(CHECKS)}")
    for check in checks:
        if check not in CHECKS:
            raise Refused(f"the marker: verify: no such check: {check}; there are {', '.join(CHECKS)}")
    return checks


# -- fixtures


class _Given:
    """One thing that fixtures are loaded from: a path, or `content` (a mapping or YAML) that is told as `path`."""

    def __init__(self, path: Path, content: Any = None) -> None:
        self.path, self.content = path, content

    def source(self) -> Any:
        """What `engine.book.load` takes. Paths are short, since mistakes and rules are told by them."""
        here = Path.cwd()
        path = self.path.relative_to(here) if self.path.is_relative_to(here) else self.path
        if self.content is None:
            return path
        from .rules.files import Bundle, Inline

        name = f"{path}::fm_emulator"
        if isinstance(self.content, str):
            return Bundle({"fixtures.yaml": self.content.encode()}, os.environ, name)
        return Inline(self.content, name, os.environ)


def _given(value: Any, item: pytest.Item) -> Iterator[_Given]:
    for one in value if isinstance(value, (list, tuple)) else () if value is None else (value,):
        if isinstance(one, Mapping) or (isinstance(one, str) and ("\n" in one or ": " in one)):
            yield _Given(item.path, one)
        elif isinstance(one, (str, os.PathLike)):
            yield _Given(_found(Path(one), item))
        else:
            raise Refused(f"the marker: fixtures: {one!r} is neither a path nor a mapping nor YAML")


def _found(path: Path, item: pytest.Item) -> Path:
    """The file or folder that a marker names: beside the test's file, or below rootdir."""
    places = (item.path.parent, item.config.rootpath)
    for place in places:
        if (place / path).exists():
            return place / path
    there = " and ".join(str(place) for place in dict.fromkeys(places))
    raise Refused(f"the marker: fixtures: no such file or folder: {path}; looked in {there}")


class _Books:
    """Compiled fixtures, by what they are made of: a set is compiled again when one of its files has changed."""

    def __init__(self) -> None:
        self._books: dict[object, Book] = {}
        self._watched: dict[Path, Watched] = {}

    def of(self, given: list[_Given]) -> Book:
        """The rules of `given`. Raises FixtureError."""
        from .engine.book import load

        key = (*map(self._key, given), tuple(sorted((k, v) for k, v in os.environ.items() if k != _TEST)))
        book = self._books.pop(key, None)
        if book is None:
            book = load([one.source() for one in given])
        self._books[key] = book
        if len(self._books) > MOST_BOOKS:
            del self._books[next(iter(self._books))]
        return book

    def _key(self, one: _Given) -> object:
        if one.content is not None:
            return one.path, repr(one.content)
        if one.path not in self._watched:
            from .reload import Watched

            self._watched[one.path] = Watched((one.path,))
        return one.path, tuple(sorted(self._watched[one.path].look().items()))
