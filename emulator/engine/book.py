"""`Book`: the rules of a set of fixtures, compiled and in the order in which they are tried."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..api import METHODS
from ..calls import ALL_CALLS, CHATS, COMPLETIONS, METHODS_BY_CALL, OPERATIONS, TEXTS, common
from ..chaos import Fault, compile_faults, distinct
from ..datasets.given import Fixture
from ..digests import blake2b
from ..errors import FixtureError, Mistake
from ..quotas import mistakes_in
from ..replies.layers import merged, says_something
from ..replies.measures import ANSWERED
from ..replies.recipe import Recipe, compile_reply
from ..replies.timeline import Plan, compile_operation, uses_batches
from ..rules import model
from ..rules.accounts import Auth, compile_auth
from ..rules.conditions import FIELDS, Compiled, Report, compile_when, names_of
from ..rules.subject import CONTEXT_NAMES, Subject
from ..rules.variables import substituted, variables_of

if TYPE_CHECKING:
    from ..rules.files import Bundle, Inline, Source
    from .index import Index

DESCRIPTORS = {call: METHODS[path].input.DESCRIPTOR for call, path in METHODS_BY_CALL.items()}
DESCRIPTORS["batch_row"] = DESCRIPTORS["completion"]


class Rule(Struct, frozen=True):
    """A compiled rule. `identity` survives reloads and reordering; `label` says where it stands.

    `sequence` holds the running totals of its replies' repeats, empty for a single reply. `for_rows` tells whether it
    names `batch_row`.
    """

    identity: str
    name: str
    file: str
    line: int
    where: str
    calls: frozenset[str]
    when: Compiled
    recipes: tuple[Recipe, ...]
    sequence: tuple[int, ...] = ()
    per: str = "session"
    after_last: str = "repeat"
    plan: Plan | None = None
    times: int | None = None
    priority: int = 0
    states: Mapping[str, str] = field(default_factory=dict)
    expect: model.Expect | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    conditions: model.When | None = None
    for_rows: bool = False
    faults: tuple[Fault, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether what it does to a request depends on calls before."""
        return self.times is not None or bool(self.sequence or self.faults)

    @property
    def label(self) -> str:
        return self.where if self.name == self.where else f"{self.name} ({self.where})"

    def mistake(self, text: str) -> Mistake:
        """Something to tell about this rule, where it stands."""
        return Mistake(self.file, self.line, 0, text if self.line else f"{self.label}: {text}")


class Fallback(Struct, frozen=True):
    """What answers when no rule does; `label` says where it stands."""

    recipe: Recipe
    label: str
    variables: Mapping[str, str]


Snippets = Mapping[str, "tuple[model.Reply, Source]"]
"""Replies by name, each with the file it stands in: what it refers to lies beside that."""


class Book(Struct, frozen=True, weakref=True):
    """Rules in the order they are tried, for each call those that can answer it.

    `snippets` are for rules that are laid over these. `given` is what the book was loaded from, as data, and `lent`
    what held the snippets that its rules took from the book under it; `layers.dumped` makes JSON of them. `layers` is
    there for a book that is stacked of several: for each rule the id of the layer it stands in. `datasets` are by id.
    `quotas` and `chaos` are None where the files say nothing of them. `indexes` are made when they are needed, by call.
    """

    rules: tuple[Rule, ...] = ()
    fallback: Fallback | None = None
    warnings: tuple[Mistake, ...] = ()
    files: int = 0
    by_call: Mapping[str, tuple[Rule, ...]] = field(default_factory=lambda: dict.fromkeys(ALL_CALLS, ()))
    snippets: Snippets = field(default_factory=dict)
    given: tuple[Bundle | Inline, ...] = ()
    lent: tuple[Bundle | Inline, ...] = ()
    layers: tuple[str, ...] = ()
    auth: Auth | None = None
    quotas: model.Quotas | None = None
    chaos: tuple[Fault, ...] | None = None
    datasets: Mapping[str, Fixture] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)

    @property
    def pausing(self) -> bool:
        """Whether a stream may end apart from its last message: after a pause, or without any message."""
        faults = (*(self.chaos or ()), *(fault for rule in self.rules for fault in rule.faults))
        fallback = () if self.fallback is None else (self.fallback.recipe,)
        recipes = (*(recipe for rule in self.rules for recipe in rule.recipes), *fallback)
        pauses = any(r.reply.stream is not None and r.reply.stream.stall is not None for r in recipes)
        return pauses or any(fault.end == "truncate" for fault in faults)

    def among(self, subject: Subject) -> Iterable[Rule]:
        """The rules that may match `subject`, the first tried first; others can't."""
        return (self.indexes.get(subject.call) or self._index(subject.call)).among(subject)

    def limited(self, subject: Subject) -> Iterable[Rule]:
        """Those of them that `times` limits."""
        index = self.indexes.get(subject.call) or self._index(subject.call)
        return [rule for rule in index.among(subject) if rule.times is not None] if index.limited else ()

    def _index(self, call: str) -> Index:
        """Each call's index is made when its first request comes."""
        from .index import Index  # what it takes is not needed before the first call

        index = self.indexes[call] = Index(self.by_call[call])
        return index

    def looks_beyond(self, call: str, rule: Rule | None) -> bool:
        """Whether `among` has left out rules that come before `rule`, any if it is None, for more than the request."""
        index = self.indexes.get(call)
        return index is not None and index.looks_beyond(rule)


def load(fixtures: Iterable[Any], under: Book | None = None, elsewhere: bool = False) -> Book:
    """The book of these files, folders, bundles or plain mappings.

    Its rules may use the snippets of the book `under`, unless a snippet of their own has the name. `elsewhere`: they
    are sent to an emulator that may have the snippets which are nowhere here; what uses those is checked there. Raises
    FixtureError with everything that is wrong.
    """
    given = tuple(fixtures)
    if not given:
        return Book()
    from ..rules.files import kept, load_sources  # YAML is slow to import, and not needed without fixtures

    sources = load_sources(given)
    rules: list[Rule] = []
    named: list[_Named] = []
    own = _snippets(sources)
    beneath = {name: lent for name, lent in (under.snippets if under is not None else {}).items() if name not in own}
    snippets, used = {**own, **beneath}, set[str]()
    fallbacks: list[Fallback] = []
    sections: list[Auth] = []
    quotas: list[model.Quotas] = []
    faults: list[tuple[Fault, ...]] = []
    for source in sources:
        if source.file is None:
            continue
        compiler = _FileCompiler(source, source.file, snippets, elsewhere)
        rules.extend(compiler.rules())
        fallbacks.extend(compiler.fallback(bool(fallbacks)))
        sections.extend(compiler.auth(bool(sections)))
        quotas.extend(compiler.quotas(bool(quotas)))
        faults.extend(compiler.chaos({fault.identity for section in faults for fault in section}))
        named.extend(compiler.named)
        used |= compiler.used
    datasets = _datasets(sources)
    _check_names(named)
    mistakes = [mistake for source in sources for mistake in source.problems.mistakes]
    if mistakes:
        raise FixtureError(mistakes)
    ordered = tuple(sorted(_distinct(rules), key=lambda rule: -rule.priority))
    by_call = {call: _in_turn(call, ordered) for call in ALL_CALLS}
    warnings = [warning for source in sources for warning in source.problems.warnings]
    lenders = {id(source): source for name, (_, source) in beneath.items() if name in used}
    return Book(
        ordered,
        fallbacks[0] if fallbacks else None,
        tuple(sorted(warnings)),
        len(sources),
        by_call,
        _to_lend(own),
        kept(sources),
        kept(lenders.values()),
        auth=sections[0] if sections else None,
        quotas=quotas[0] if quotas else None,
        chaos=distinct([fault for section in faults for fault in section]) if faults else None,
        datasets=datasets,
    )


def _in_turn(call: str, ordered: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules that can answer `call`, the first tried first: for a row, those of a priority that name it come before
    those that are about every completion.
    """
    found = (rule for rule in ordered if call in rule.calls)
    if call != "batch_row":
        return tuple(found)
    return tuple(sorted(found, key=lambda rule: (-rule.priority, not rule.for_rows)))


def _datasets(sources: list[Source]) -> Mapping[str, Fixture]:
    """The datasets of these files, by id."""
    found: dict[str, Fixture] = {}
    holders: dict[str, Source] = {}
    for source in sources:
        for name, spec in ((source.file and source.file.datasets) or {}).items():
            from .given import compile_dataset, id_of  # few fixtures have datasets

            id_ = id_of(name)
            if id_ in holders:
                source.problems.at(("datasets", name), f"this name is taken: {holders[id_].name} has it already")
                continue
            holders[id_] = source
            fixture = compile_dataset(name, spec, source)
            if fixture is not None:
                found[id_] = fixture
    return found


def lending(given: Iterable[Bundle | Inline]) -> Book:
    """A book of nothing but the snippets in what another book has as `lent`."""
    from ..rules.files import load_sources

    return Book(snippets=_to_lend(_snippets(load_sources(given))))


def _to_lend(snippets: Snippets) -> Snippets:
    lenders: dict[int, Source] = {}
    for _, source in snippets.values():
        if id(source) not in lenders:
            lenders[id(source)] = source.lender()
    return {name: (reply, lenders[id(source)]) for name, (reply, source) in snippets.items()}


def _snippets(sources: list[Source]) -> Snippets:
    found: dict[str, tuple[model.Reply, Source]] = {}
    for source in sources:
        for name, reply in ((source.file and source.file.snippets) or {}).items():
            if name in found:
                source.problems.at(("snippets", name), f"this name is taken: {found[name][1].name} has it already")
            if reply.use is not None:
                source.problems.at(("snippets", name, "use"), "a snippet can't use another; write its fields out")
            found.setdefault(name, (reply, source))
    return found


def _warn_of_stars(conditions: model.When | None, warn: Report) -> None:
    """A `*` in a plain comparison of texts is just a star, and hardly ever meant so."""
    for name, value in () if conditions is None else model.given(conditions).items():
        kind = FIELDS.get(name, ("text" if name in ("metadata", "state", "tool_results") else "", ALL_CALLS))[0]
        for key, spec in value.items() if isinstance(value, dict) else ((None, value),):
            if kind in ("text", "texts") and isinstance(spec, str) and "*" in spec:
                text = "`*` stands for itself in a plain comparison; use word: [погод*] for endings, glob for patterns"
                warn((name,) if key is None else (name, key), text)


class _Named(Struct):
    """A rule that has a name, sound or not."""

    name: str
    where: str
    line: int
    source: Source


def _check_names(named: Iterable[_Named]) -> None:
    seen: dict[str, _Named] = {}
    for rule in named:
        first = seen.setdefault(rule.name, rule)
        if first is rule:
            continue
        text = f"name: this name is taken: the rule at {first.where} is called {rule.name} already"
        text = text if rule.line else f"{rule.name} ({rule.where}): {text}"
        rule.source.problems.mistakes.append(Mistake(rule.source.name, rule.line, 0, text))


def _distinct(rules: list[Rule]) -> list[Rule]:
    """Unnamed rules of the same content are told apart by their order."""
    seen: dict[str, int] = {}
    out = []
    for rule in rules:
        n = seen[rule.identity] = seen.get(rule.identity, 0) + 1
        out.append(rule if n == 1 else replace(rule, identity=f"{rule.identity}#{n}"))
    return out


_PLAIN_RULE = model.Rule()


class _FileCompiler:
    """One fixture file being compiled."""

    def __init__(self, source: Source, file: model.File, snippets: Snippets, elsewhere: bool = False) -> None:
        self.source, self.file, self.snippets, self.elsewhere = source, file, snippets, elsewhere
        self.named: list[_Named] = []
        self.begun: set[int] = set()
        self.used: set[str] = set()
        self.problems = source.problems
        self.variables = variables_of(file.vars or {}, source.environment, self._report("vars"))
        self.known = CONTEXT_NAMES | {"vars.", *(f"vars.{name}" for name in self.variables)}
        if file.defaults is not None and file.defaults.operation is not None:
            compile_operation(file.defaults.operation, self.known, self._report("defaults", "operation"))
        for name, snippet in (file.snippets or {}).items():
            compile_reply(snippet, source.read_file, self._report("snippets", name))  # vars are those of its users

    def _report(self, *steps: str | int) -> Any:
        return lambda path, text: self.problems.at((*steps, *path), text)

    def rules(self) -> list[Rule]:
        out = []
        for i, spec in enumerate(self.file.rules or []):
            if i in self.source.broken:
                self._check_parts(spec, i)
            else:
                out.append(self._rule(spec, i))
        return out

    def _check_parts(self, spec: model.Rule, i: int) -> None:
        """Check what is sound of a rule that is not, so that all its mistakes are told in one go."""
        at = ("rules", i)
        self._place(spec, i)
        conditions = substituted(spec.when, self.variables, self._report(*at, "when"))
        compile_when(conditions, DESCRIPTORS, self._report(*at, "when"))
        if spec.reply is not None:
            self._recipe(spec.reply, (*at, "reply"))
        for n, turn in enumerate(spec.replies or ()):
            self._recipe(turn, (*at, "replies", n))
        if spec.operation is not None:
            compile_operation(spec.operation, self.known, self._report(*at, "operation"))
        self._faults(spec.chaos, (*at, "chaos"))

    def fallback(self, taken: bool) -> list[Fallback]:
        if self.file.fallback is None:
            return []
        if taken:
            self.problems.at(("fallback",), "another file has a fallback already, and there is one for all files")
        recipe = self._recipe(self.file.fallback, ("fallback",))
        where = f"{self.source.name}:{self.problems.mark(('fallback',))[0]}"
        return [Fallback(recipe, f"fallback ({where})", self.variables)]

    def auth(self, taken: bool) -> list[Auth]:
        if self.file.auth is None:
            return []
        if taken:
            self.problems.at(("auth",), "another file has an auth section already, and there is one for all files")
        report = self._report("auth")
        spec = substituted(self.file.auth, self.variables, report)
        warn = partial(self._warn, "auth")
        return [compile_auth(spec, self.source.read_file, report, warn)]

    def _warn(self, section: str, path: tuple[str | int, ...], text: str) -> None:
        self.problems.warn((section, *path), text)

    def quotas(self, taken: bool) -> list[model.Quotas]:
        if self.file.quotas is None:
            return []
        if taken:
            self.problems.at(("quotas",), "another file has quotas already, and they are for all files")
        for path, text in mistakes_in(self.file.quotas):
            self.problems.at(("quotas", *path), text)
        return [self.file.quotas]

    def chaos(self, taken: set[str]) -> list[tuple[Fault, ...]]:
        spec = self.file.chaos
        if spec is None:
            return []
        report = self._report("chaos")
        faults = self._faults(substituted(spec, self.variables, report), ("chaos",))
        for fault in faults:
            if fault.identity == fault.label and fault.identity in taken:
                report((), f"another file has a fault that is called {fault.label} already")
        return [faults]

    def _faults(self, spec: model.Fault | Sequence[model.Fault] | None, at: tuple[str | int, ...]) -> tuple[Fault, ...]:
        if spec is None:
            return ()
        from ..rules.problems import dotted  # which takes YAML, as whoever has fixtures does

        def where(i: int) -> str:
            place = at if isinstance(spec, model.Fault) else (*at, i)
            line = self.problems.mark(place)[0]
            return f"{self.source.name}:{line}" if line else f"{self.source.name} {dotted(place, with_line=False)}"

        return compile_faults(spec, where, DESCRIPTORS, self._report(*at))

    def _place(self, spec: model.Rule, i: int) -> tuple[int, str]:
        """The line of a rule, and where it stands in words; its name is noted."""
        line = self.problems.mark(("rules", i))[0]
        where = f"{self.source.name}:{line}" if line else self.source.name
        if not line or line in self.begun:  # several may begin in one line
            where = f"{where} rules[{i}]"
        self.begun.add(line)
        if spec.name:
            self.named.append(_Named(spec.name, where, line, self.source))
        return line, where

    def _rule(self, spec: model.Rule, i: int) -> Rule:
        at = ("rules", i)
        report = self._report(*at)
        line, where = self._place(spec, i)
        conditions = substituted(spec.when, self.variables, self._report(*at, "when"))
        when = compile_when(conditions, DESCRIPTORS, self._report(*at, "when"))
        _warn_of_stars(conditions, lambda path, text: self.problems.warn((*at, "when", *path), text))
        recipes, sequence = self._replies(spec, i)
        plan, operation = None, self._operation(spec)
        if operation is not None:
            below = "operation" if spec.operation is not None else None
            plan = compile_operation(operation, self.known, self._report(*at, below) if below else _ignore)
        calls = self._calls(spec, when, recipes, report)
        if spec.name is not None and not spec.name.strip():
            report(("name",), "an empty name names nothing; leave it out")
        expect = model.Expect(exactly=spec.expect) if isinstance(spec.expect, int) else spec.expect
        if expect is not None:
            _check_expect(expect, self._report(*at, "expect"))
        name = spec.name or where
        identity = spec.name or "rule-" + blake2b(msgspec.json.encode(_plain(spec)), digest_size=8).hexdigest()
        return Rule(
            identity,
            name,
            self.source.name,
            line,
            where,
            calls,
            when,
            recipes,
            sequence,
            spec.per,
            spec.after_last,
            plan,
            spec.times,
            spec.priority,
            dict(spec.then.state) if spec.then is not None else {},
            expect,
            self.variables,
            conditions,
            "batch_row" in _named_calls(spec),
            self._faults(spec.chaos, (*at, "chaos")),
        )

    def _operation(self, spec: model.Rule) -> model.Operation | None:
        if spec.operation is not None:
            return spec.operation
        return self.file.defaults.operation if self.file.defaults is not None else None

    def _replies(self, spec: model.Rule, i: int) -> tuple[tuple[Recipe, ...], tuple[int, ...]]:
        at = ("rules", i)
        if spec.reply is not None and spec.replies is not None:
            self.problems.at((*at, "replies"), "a rule has reply or replies, not both")
        if spec.replies is not None:
            recipes = tuple(self._recipe(turn, (*at, "replies", n)) for n, turn in enumerate(spec.replies))
            return recipes, tuple(itertools.accumulate(turn.repeat for turn in spec.replies))
        if spec.reply is None and spec.operation is None and spec.then is None and spec.chaos is None:
            self.problems.at(at, "the rule says when, but not what: it needs reply, replies or operation")
        for name in ("per", "after_last"):
            if getattr(spec, name) != getattr(_PLAIN_RULE, name):
                self.problems.at((*at, name), "this is about a sequence; it goes with replies")
        return (self._recipe(spec.reply or model.Reply(), (*at, "reply")),), ()

    def _recipe(self, reply: model.Reply, at: tuple[str | int, ...]) -> Recipe:
        names = [reply.use] if isinstance(reply.use, str) else list(reply.use or ())
        layers: list[tuple[model.Reply, Source]] = [(reply, self.source)]
        if self.elsewhere and not self.snippets.keys() >= set(names):
            compile_reply(reply, self.source.read_file, _ignore, self.file.defaults, self.known)  # reads its files
            return compile_reply(model.Reply(), self.source.read_file, _ignore)
        for name in reversed(names):
            if name in self.snippets:
                self.used.add(name)
                layers.append(self.snippets[name])
                continue
            there = f"there are {', '.join(self.snippets)}" if self.snippets else "there is none in any file"
            self.problems.at((*at, "use"), f"no such snippet: {name}; {there}")
        own = merged(*(layer for layer, _ in layers))
        supplier = next((source for layer, source in layers if says_something(layer)), self.source)
        return compile_reply(own, supplier.read_file, self._report(*at), self.file.defaults, self.known)

    def _calls(self, spec: model.Rule, when: Compiled, recipes: tuple[Recipe, ...], report: Any) -> frozenset[str]:
        """The calls a rule answers: those it names, else every completion it fits, else whatever it fits."""
        fits = when.calls
        for recipe in recipes:
            fits = common(fits, recipe.calls)
        if spec.operation is not None and (spec.reply is None and spec.replies is None):
            fits &= OPERATIONS
        if spec.operation is not None and uses_batches(spec.operation):
            fits &= frozenset({"completion_batch"})
        if spec.call is None:
            calls = common(fits, COMPLETIONS) or fits
            if not calls:
                report((), _misfits(when, recipes))
            elif spec.operation is not None and not calls & OPERATIONS:
                report(("operation",), f"{' and '.join(sorted(calls))} has no operation; leave it out")
            return calls
        named = _named_calls(spec)
        if not named:
            report(("call",), "an empty list names no call; leave it out for every completion the rule fits")
        for call in sorted(named - fits):
            report(("call",), _misfit(call, spec, when, recipes))
        if spec.operation is not None and not named & OPERATIONS:
            report(("operation",), f"{' and '.join(sorted(named))} answers at once and has no operation; leave it out")
        return named


def _named_calls(spec: model.Rule) -> frozenset[str]:
    return frozenset([spec.call] if isinstance(spec.call, str) else spec.call or ())


CONTENT_OF = {
    "generate_image": "image",
    **{call: content for content, calls in ANSWERED.items() for call in calls},
}
"""What a reply says to calls that are no completions."""


def _misfits(when: Compiled, recipes: tuple[Recipe, ...]) -> str:
    """Why a rule that names no call fits none."""
    told = "fits no call; it needs conditions and a reply that go together"
    answered = frozenset(ALL_CALLS).intersection(*(recipe.calls for recipe in recipes))
    if not when.calls or not answered:
        return told
    remedy = "; what is said in a completion is question" if when.calls <= TEXTS and answered & CHATS else ""
    return f"{told}: {_listed(when.calls)} against {_listed(answered)}{remedy}"


def _listed(calls: frozenset[str]) -> str:
    return ", ".join(sorted(calls))


def _misfit(call: str, spec: model.Rule, when: Compiled, recipes: tuple[Recipe, ...]) -> str:
    """Why a rule can't answer a call that it names."""
    for name in names_of(spec.when) if spec.when is not None else ():
        if name in FIELDS and call not in FIELDS[name][1]:
            return f"{call} has no {name}; that is there in {', '.join(sorted(FIELDS[name][1]))}"
    if call not in when.calls:
        return (
            f"{call} does not have what the conditions look at; they fit {', '.join(sorted(when.calls)) or 'no call'}"
        )
    for recipe in recipes:
        if call not in recipe.calls:
            what = recipe.content or "its reply"
            own = f", and {call} takes {CONTENT_OF[call]}" if call in CONTENT_OF else ""
            return f"{call} can't be answered with {what}; that fits {', '.join(sorted(recipe.calls))}{own}"
    return f"{call} has no operation with such a timeline"


def _check_expect(expect: model.Expect, report: Any) -> None:
    if expect.exactly is not None and (expect.at_least is not None or expect.at_most is not None):
        report(("exactly",), "exactly says it all; leave at_least and at_most out")
    if expect.at_least is not None and expect.at_most is not None and expect.at_least > expect.at_most:
        report(("at_least",), f"at least {expect.at_least} and at most {expect.at_most} can't both be")


def _plain(spec: model.Rule) -> Any:
    return msgspec.to_builtins(spec, enc_hook=lambda value: repr(getattr(value, "ns", value)), str_keys=True)


def _ignore(path: tuple[str | int, ...], text: str) -> None:
    """The mistakes are told elsewhere: the defaults' own where they stand, those of a snippet where it is known."""
