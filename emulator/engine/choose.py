"""`choose` is pure, `apply` is one step, and nothing awaits between them.

So counters and scenario states move exactly when a rule is chosen, whatever else is under way, and a choice can be made
without committing it (`fm-emulator try`, `explain`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from ..calls import CHATS, CONVERSATIONS, MEASURES, OPERATIONS
from ..digests import blake2b
from ..errors import Code, Status
from ..replies import defaults
from ..replies.play import Play
from ..replies.recipe import Recipe
from ..replies.statuses import ScriptedStatus
from ..replies.streams import PLAIN, Cutting
from ..replies.timeline import Plan, Timeline, default_timeline
from ..rules.conditions import all_hold
from ..rules.matcher import Overrun
from ..rules.operators import Difference
from ..rules.subject import Context, Subject
from ..seed import Seed
from .book import Book, Rule

_FALLBACK = "\0fallback"  # no rule can have such a name
_DEFAULT = "\0default:"
_OVERRUN = "\0overrun"

MOST_OVERRUNS = 5
"""Patterns that may take too long on one request: the whole server waits for each."""

MOST_COUNTED = 100_000
"""Questions, folders, requests and keys that sequences count by, over all rules of a session (our choice)."""

_LONGEST_COUNTER = 64


class State(Struct):
    """What the rules of a session have counted. `chosen` is by rule identity, `given` by identity and what the sequence
    counts by, `scenario` the states that `then` sets. `met` is how many calls each fault of chaos has met, by what it
    counts by.
    """

    chosen: dict[str, int] = field(default_factory=dict)
    given: dict[tuple[str, str], int] = field(default_factory=dict)
    scenario: dict[str, str] = field(default_factory=dict)
    met: dict[tuple[str, str], int] = field(default_factory=dict)

    def give(self, identity: str, counter: str) -> None:
        """Count a reply of a sequence. What nobody has asked for longest is forgotten beyond `MOST_COUNTED`."""
        key = (identity, counter)
        self.given[key] = self.given.pop(key, 0) + 1
        if len(self.given) > MOST_COUNTED:
            del self.given[next(iter(self.given))]


class Delta(Struct, frozen=True):
    """What choosing changes: which rule was chosen, for which counter of its sequence, and the states it sets."""

    identity: str
    counter: str = ""
    states: Mapping[str, str] = field(default_factory=dict)


def apply(state: State, delta: Delta) -> None:
    """Commit a choice."""
    state.chosen[delta.identity] = state.chosen.get(delta.identity, 0) + 1
    if delta.counter:
        state.give(delta.identity, delta.counter)
    state.scenario.update(delta.states)


def choose(book: Book, state: State, subject: Subject, seed: Seed) -> tuple[Play, Delta]:
    """What answers `subject`: the first rule that matches, else the fallback, else the defaults.

    A play whose `unmatched` is set came from no rule; under strictness the caller refuses it.
    """
    overruns: list[str] = []
    for rule in book.among(subject):
        try:
            if not all_hold(rule.when.checks, subject):
                continue
        except Overrun as overrun:
            overruns.append(f"{rule.label}: {overrun}")
            subject.beyond = True
            if len(overruns) == MOST_OVERRUNS:
                return _overrun(overruns), Delta(_OVERRUN)
            continue
        subject.beyond |= rule.counted or book.looks_beyond(subject.call, rule)
        turn = turn_of(rule, state, subject)
        if not isinstance(turn, str):
            return _noted(_played(rule, turn, state, subject, seed), overruns)
    return _noted(_unmatched(book, state, subject, seed), overruns)


def _noted(chosen: tuple[Play, Delta], overruns: list[str]) -> tuple[Play, Delta]:
    if overruns:
        chosen[0].notes = [*overruns, *chosen[0].notes]
    return chosen


def _overrun(overruns: list[str]) -> Play:
    text = f"{len(overruns)} patterns took too long on this request, and the rest were not tried: {overruns[0]}"
    return Play("", failure=Status(Code.FAILED_PRECONDITION, text), notes=overruns)


def differences(rule: Rule, state: State, subject: Subject) -> tuple[Difference, ...]:
    """Everything that keeps `rule` from answering `subject`; nothing if it would."""
    found = tuple(d for check in rule.when.checks for d in check.check(subject))
    turn = turn_of(rule, state, subject)
    return (*found, Difference("", "", "", turn)) if isinstance(turn, str) else found


def turn_of(rule: Rule, state: State, subject: Subject) -> Recipe | Status | str:
    """Which reply of `rule` is due: a recipe, a status where its sequence has ended in an error, or why it passes."""
    recipe = rule.recipes[0]
    if rule.times is None and not rule.sequence and not recipe.calls_tools:
        return recipe
    if _used_up(rule, state):
        return f"it has answered {rule.times} times already (times)"
    return _due(rule, state, subject)


def _used_up(rule: Rule, state: State) -> bool:
    return rule.times is not None and state.chosen.get(rule.identity, 0) >= rule.times


def _due(rule: Rule, state: State, subject: Subject) -> Recipe | Status | str:
    """`turn_of` without a look at `times`."""
    recipe = rule.recipes[0]
    if rule.sequence:
        given = state.given.get((rule.identity, counter_key(rule, subject)), 0)
        total = rule.sequence[-1]
        if given >= total and rule.after_last == "pass":
            return f"its {total} replies have been given (after_last: pass)"
        if given >= total and rule.after_last == "error":
            return Status(
                Code.FAILED_PRECONDITION, f"{rule.label}: its {total} replies have been given (after_last: error)"
            )
        given = given % total if rule.after_last == "cycle" else min(given, total - 1)
        recipe = rule.recipes[next(i for i, end in enumerate(rule.sequence) if given < end)]
    if not rule.when.looks_at_tool_results and _would_loop(recipe, subject):
        return "the conversation ends in tool results, and it answers with tool_calls without looking at tool_results"
    return recipe


def _would_loop(recipe: Recipe, subject: Subject) -> bool:
    """Whether an agent would be sent back to its tools with what they have just returned."""
    return recipe.calls_tools and subject.call in CHATS and subject.ends_in_tool_results


def counter_key(rule: Rule, subject: Subject) -> str:
    """What the sequence of `rule` counts by, for this request."""
    if rule.per == "folder":
        return "folder:" + (subject.folder.raw if subject.folder is not None else "")
    if rule.per == "question" and subject.call in CONVERSATIONS:
        return "question:" + _short(subject.question.raw if subject.question is not None else "")
    if rule.per in ("question", "request"):
        return "request:" + blake2b(subject.raw, digest_size=16).hexdigest()
    if rule.per == "idempotency-key":
        return "key:" + _short(subject.headers.get("idempotency-key", ""))
    return "session"


def _short(text: str) -> str:
    """`text`, or where it is long what tells it from others."""
    if len(text) <= _LONGEST_COUNTER:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _played(rule: Rule, turn: Recipe | Status, state: State, subject: Subject, seed: Seed) -> tuple[Play, Delta]:
    counter = counter_key(rule, subject) if rule.sequence else ""
    delta = Delta(rule.identity, counter, rule.states)
    if isinstance(turn, Status):
        return Play(rule.name, failure=turn), delta
    play, drawn = turn.at_once(rule.name, subject), False
    if play is None:
        count = state.chosen.get(rule.identity, 0)
        own = seed.at(rule.identity, count)
        context = Context(subject, rule.variables, count + 1)
        play = _made(turn, rule.plan, rule.name, rule.label, subject, context, own)
        drawn = own.drawn
    play.faults = rule.faults
    return _lasting(play, delta, subject, drawn)


def _lasting(play: Play, delta: Delta, subject: Subject, drawn: bool) -> tuple[Play, Delta]:
    """Tell the play where nothing but the request has decided, so that its like gets the same; `drawn` is chance."""
    if not subject.beyond and not drawn and play.failure is None:
        play.lasting = delta
    return play, delta


def _made(
    recipe: Recipe, plan: Plan | None, name: str, label: str, subject: Subject, context: Mapping[str, Any], seed: Seed
) -> Play:
    """The play of a recipe, with its timeline if it starts an operation; a template that fails fails the call."""
    try:
        play = recipe.play(name, subject, context, seed)
        if subject.call in OPERATIONS:
            play.timeline = _timeline(recipe, plan, subject, context, seed)
    except (ValueError, OverflowError) as failed:
        return Play(name, failure=_unrenderable(label, failed))
    return play


def _timeline(recipe: Recipe, plan: Plan | None, subject: Subject, context: Mapping[str, Any], seed: Seed) -> Timeline:
    def settled(error: ScriptedStatus, call: str = subject.call) -> ScriptedStatus:
        folder = subject.folder.raw if subject.folder is not None else ""
        return error.settled(context, folder=folder, call=call)

    timeline = default_timeline(subject.call) if plan is None else plan.timeline(subject.call, seed, settled)
    # A stream that breaks off leaves no message on a call that does not stream: the operation fails.
    return timeline if recipe.stop is None else timeline.failing(settled(recipe.stop))


def _unmatched(book: Book, state: State, subject: Subject, seed: Seed) -> tuple[Play, Delta]:
    fallback = book.fallback
    if fallback is not None and subject.call in fallback.recipe.calls and not _would_loop(fallback.recipe, subject):
        count = state.chosen.get(_FALLBACK, 0)
        own = seed.at(_FALLBACK, count)
        context = Context(subject, fallback.variables, count + 1)
        play = _made(fallback.recipe, None, "fallback", fallback.label, subject, context, own)
        delta, drawn = Delta(_FALLBACK), own.drawn
    else:
        play, delta = _default(subject, seed), Delta(_DEFAULT + subject.call)
        drawn = subject.call in CHATS and subject.schema is not None
        if subject.call in OPERATIONS:
            play.timeline = default_timeline(subject.call)
    play.unmatched = True
    subject.beyond |= book.looks_beyond(subject.call, None)
    play.spent = tuple(rule.label for rule in book.limited(subject) if _spent(rule, state, subject))
    return _lasting(play, delta, subject, drawn)


def _spent(rule: Rule, state: State, subject: Subject) -> bool:
    """Whether nothing but its `times` keeps `rule` from answering."""
    subject.beyond |= rule.times is not None
    try:
        if not _used_up(rule, state) or not all_hold(rule.when.checks, subject):
            return False
    except Overrun:
        return False
    return not isinstance(_due(rule, state, subject), str)


def _default(subject: Subject, seed: Seed) -> Play:
    if subject.call == "generate_image":
        return Play("default", final=defaults.picture(subject, seed), slow=True)
    if subject.call not in CHATS | MEASURES:
        return Play("default")
    try:
        final = defaults.message(subject, seed)
    except ValueError as failed:
        return Play("default", failure=_unrenderable("default", failed))
    cutting = Cutting(PLAIN, seed, None, subject.stream) if subject.call in CHATS else None
    return Play("default", final=lambda: final, cutting=cutting)


def _unrenderable(rule: str, failed: Exception) -> Status:
    """The status of a call whose rule could not make its reply."""
    return Status(Code.FAILED_PRECONDITION, f"{rule}: the reply can't be made: {failed}")
