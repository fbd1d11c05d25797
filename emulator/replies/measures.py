"""Replies of the calls that measure a text: its tokens, its vector, its classes. Each is one small message.

A rule gives `tokens`, `embedding` or `predictions`, which are sent as written; without them the emulator works them out
from the request. Either way `model_version` and the count of input tokens are filled in. What the service counts is not
known but for TokenizeCompletion, which agrees with a completion's usage (recorded); the others count what Tokenize
makes of the texts that they get, which is our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..api import (
    FewShotTextClassificationResponse,
    TextClassificationResponse,
    TextEmbeddingResponse,
    TokenizeResponse,
)
from ..rules import model
from ..rules.subject import Subject
from . import classes, embedding, tokenized, tokens
from .completion import model_version
from .statuses import Report

RESPONSES: Mapping[str, type[Any]] = {
    "tokenize": TokenizeResponse,
    "tokenize_completion": TokenizeResponse,
    "text_embedding": TextEmbeddingResponse,
    "classify": TextClassificationResponse,
    "few_shot_classify": FewShotTextClassificationResponse,
}
ANSWERED: Mapping[str, frozenset[str]] = {
    "tokens": frozenset({"tokenize", "tokenize_completion"}),
    "embedding": frozenset({"text_embedding"}),
    "predictions": frozenset({"classify", "few_shot_classify"}),
}
"""The contents that a reply may have here, and the calls that each answers."""

COUNTED = ANSWERED["embedding"] | ANSWERED["predictions"]
"""Calls whose reply tells how many tokens the request had."""

_FAR = 0.05


def compiled(content: str, reply: model.Reply, report: Report) -> Callable[[Subject], Any]:
    """A way to the reply of a rule that says `content`; every mistake goes to `report(path below reply, text)`."""
    if content == "tokens":
        given = [t if isinstance(t, model.Token) else model.Token(text=t) for t in reply.tokens or ()]
        made = [tokenized.token(t.text, t.id, t.special) for t in given]
        return lambda subject: _finished(subject, reply, tokens=made)
    if content == "embedding":
        numbers = reply.embedding or []
        if not numbers:
            report(("embedding",), "a vector without numbers compares with nothing; list some")
        return lambda subject: _finished(subject, reply, embedding=numbers)
    sure = reply.predictions or {}
    predictions = [{"label": label, "confidence": confidence} for label, confidence in sure.items()]
    return lambda subject: _finished(subject, reply, predictions=predictions)


def counts_input_only(usage: model.Usage) -> bool:
    """Whether `usage` tells nothing but how many tokens the request had."""
    return usage == model.Usage(input_text_tokens=usage.input_text_tokens)


def check_usage(content: str, usage: model.Usage | None, report: Report) -> None:
    """Tell what a reply of `content` has no place for of the usage that it is given."""
    if usage is not None and content == "tokens":
        report((), "the tokens themselves are the count; leave usage out")
    elif usage is not None and not counts_input_only(usage):
        report((), f"a reply of {content} tells input_text_tokens and no other count; leave the rest out")


def default(subject: Subject, usage: model.Usage | None = None, version: str | None = None) -> Any:
    """What is answered where no rule says anything. Raises ValueError for what one message can't hold."""
    given = model.Reply(usage=usage, model_version=version)
    request, text = subject.request, subject.text.raw if subject.text is not None else ""
    if subject.call == "tokenize":
        return _finished(subject, given, tokens=map(tokenized.token, tokenized.of_text(text)))
    if subject.call == "tokenize_completion":
        texts = tokenized.of_conversation(request.messages, request.tools)
        return _finished(subject, given, tokens=map(tokenized.token, texts))
    if subject.call == "text_embedding":
        return _finished(subject, given, embedding=embedding.vector(text, subject.dim))
    labels: list[str] = list(subject.labels)
    samples = [(sample.text, sample.label) for sample in getattr(request, "samples", ())]
    if subject.call == "classify":
        labels, samples = list(classes.LABELS), [(words, label) for label, words in classes.LABELS.items()]
    sure = zip(labels, classes.confidences(text, labels, samples), strict=True)
    return _finished(subject, given, predictions=[{"label": label, "confidence": figure} for label, figure in sure])


def input_tokens(subject: Subject) -> int:
    """How many tokens the request has: a start mark, and all of its texts."""
    request = subject.request
    texts = [request.text, getattr(request, "task_description", ""), *getattr(request, "labels", ())]
    for sample in getattr(request, "samples", ()):
        texts += [sample.text, sample.label]
    return 1 + sum(map(tokens.count, texts))


def notes_on(final: Any, subject: Subject, content: str | None) -> list[str]:
    """Remarks on a scripted vector or on scripted classes that are not what the request asked for."""
    if content == "embedding" and subject.dim is not None and len(final.embedding) != subject.dim:
        return [f"sent {len(final.embedding)} numbers although dim is {subject.dim}"]
    if content != "predictions":
        return []
    notes = [
        f"sent a confidence of {p.confidence:g} for {p.label}, which is outside the range of 0 to 1"
        for p in final.predictions
        if not 0 <= p.confidence <= 1
    ]
    if subject.call == "few_shot_classify":
        total = sum(p.confidence for p in final.predictions)
        if abs(total - 1) > _FAR:
            notes.append(f"sent confidences that add up to {total:g}, and not to 1")
        notes += [
            f"predicted {p.label}, which is none of the labels"
            for p in final.predictions
            if p.label not in subject.labels
        ]
    return notes


def _finished(subject: Subject, reply: model.Reply, **content: Any) -> Any:
    response = RESPONSES[subject.call](**content)
    response.model_version = model_version(subject) if reply.model_version is None else reply.model_version
    if subject.call in COUNTED:
        given = reply.usage.input_text_tokens if reply.usage is not None else None
        count = input_tokens(subject) if given is None else given
        if subject.call == "text_embedding":
            response.num_tokens = count
        else:
            response.input_tokens = count
    return response
