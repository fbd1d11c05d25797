"""Requests as rules see them, and rules that are asked one call after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wire.client import asking, drawing

from emulator.api import BatchCompletionRequest
from emulator.engine.book import Book, load
from emulator.engine.choose import State, apply, choose
from emulator.replies.play import Play
from emulator.rules.subject import Subject
from emulator.seed import Seed


def rules(*given: Mapping[str, Any], **file: Any) -> Book:
    """The book of these rules."""
    return load([{"rules": list(given), **file}])


def of(call: str, request: Any, metadata: Mapping[str, str] | None = None) -> Subject:
    """That request of that call."""
    return Subject(call, request, request.SerializeToString(), metadata or {})


def asked(*texts: str, call: str = "completion", metadata: Mapping[str, str] | None = None, **more: Any) -> Subject:
    """A conversation: texts of the user and the assistant in turn."""
    return of(call, asking(*texts, **more), metadata)


def drawn(prompt: str = "кот", **more: Any) -> Subject:
    return of("generate_image", drawing(prompt, **more))


def batched(dataset: str = "fds1", folder: str = "b1gtest") -> Subject:
    uri = f"gpt://{folder}/qwen2.5-7b-instruct/latest"
    return of("completion_batch", BatchCompletionRequest(model_uri=uri, source_dataset_id=dataset))


def returned(question: str, **results: str) -> Subject:
    """A conversation that ends in what tools returned."""
    request = asking(question)
    called, back = request.messages.add(role="assistant"), request.messages.add(role="user")
    for name, content in results.items():
        request.tools.add().function.name = name
        called.tool_call_list.tool_calls.add().function_call.name = name
        result = back.tool_result_list.tool_results.add().function_result
        result.name, result.content = name, content
    return of("completion", request)


class Session:
    """Calls one after another: each is chosen for and committed."""

    def __init__(self, book: Book, seed: int = 0) -> None:
        self.book, self.state, self.seed = book, State(), Seed(seed)

    def play(self, subject: Subject) -> Play:
        subject.states = self.state.scenario
        play, delta = choose(self.book, self.state, subject, self.seed)
        apply(self.state, delta)
        return play

    def answers(self, *subjects: Subject) -> list[str]:
        """What each gets: a text, the functions that are called, or a status code."""
        return [said(self.play(subject)) for subject in subjects]

    def ask(self, *questions: str) -> list[str]:
        return self.answers(*(asked(question) for question in questions))


def said(play: Play) -> str:
    if play.failure is not None:
        return play.failure.code.name
    message = play.final().alternatives[0].message
    return message.text or "+".join(c.function_call.name for c in message.tool_call_list.tool_calls)
