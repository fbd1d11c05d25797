"""What is answered where no rule says anything: deterministic, valid, and recognisably about the request."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgspec import Struct

from ..api import ImageGenerationResponse, plain_struct
from ..calls import MEASURES
from ..rules.subject import Subject
from ..seed import Seed
from . import completion, measures

_CYRILLIC = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ")
_SHOWN = 200


def message(subject: Subject, seed: Seed, status: str = completion.FINAL, **more: Any) -> Any:
    """What answers a completion or a call that measures. Raises ValueError for what one message can't hold."""
    return measures.default(subject, **more) if subject.call in MEASURES else chat(subject, seed, status, **more)


def chat(subject: Subject, seed: Seed, status: str = completion.FINAL, **more: Any) -> Any:
    """A CompletionResponse: a tool call where the choice asks for one, JSON where the format does, else text."""
    called = forced_tool(subject)
    if called is not None:
        return completion.tool_reply(subject, [called], **more)
    return completion.text_reply(subject, text(subject, seed), status, **more)


def forced_tool(subject: Subject) -> completion.ToolCall | None:
    """The call that tool_choice demands, with arguments valid for the tool; None once its result is there."""
    choice = subject.tool_choice.raw if subject.tool_choice is not None else ""
    if choice in ("", "NONE", "AUTO") or subject.ends_in_tool_results:
        return None
    tools = {tool.function.name: tool.function for tool in subject.request.tools}
    function = next(iter(tools.values()), None) if choice == "REQUIRED" else tools.get(choice)
    if function is None:
        return None
    from .schema import object_for

    return function.name, object_for(plain_struct(function.parameters), Seed(0).at("tool", function.name))


def text(subject: Subject, seed: Seed) -> str:
    """The default reply's text, in the language of the question, or JSON where JSON was asked for."""
    question = subject.question.raw if subject.question is not None else ""
    if subject.schema is not None or subject.response_format is not None:
        return _json(subject, question, seed)
    results = subject.tool_results if subject.ends_in_tool_results else {}
    russian = not question.isascii() and not _CYRILLIC.isdisjoint(question)
    return (_russian if russian else _english)(subject, _excerpt(question), {k: v[-1].raw for k, v in results.items()})


def _json(subject: Subject, question: str, seed: Seed) -> str:
    import json

    if subject.schema is None:
        return json.dumps({"answer": _excerpt(question)}, ensure_ascii=False)
    from .schema import value_for

    return json.dumps(value_for(subject.schema, seed.at("schema")), ensure_ascii=False)


def _russian(subject: Subject, question: str, results: dict[str, str]) -> str:
    if results:
        found = "; ".join(f"{name} — {_excerpt(value)}" for name, value in results.items())
        return f"Вот что вернули инструменты: {found}. На вопрос «{question}» эмулятор отвечает этими данными."
    return (
        f"Вы спросили: «{question}». Это ответ эмулятора вместо модели {_model(subject)}: ни одно правило не "
        f"говорит, что ответить, поэтому текст составлен из самого запроса. Номер реплики в беседе — {subject.turn}. "
        "Чтобы получить свой ответ, опишите его в файле YAML и передайте этот файл параметром --fixtures."
    )


def _english(subject: Subject, question: str, results: dict[str, str]) -> str:
    if results:
        found = "; ".join(f"{name}: {_excerpt(value)}" for name, value in results.items())
        return f'The tools returned this: {found}. The emulator answers "{question}" with it.'
    asked = f'You asked: "{question}".' if question else "You asked nothing in words."
    return (
        f"{asked} This is the emulator speaking in place of {_model(subject)}: no rule says what to answer, so this "
        f"text was made from the request itself. It is turn {subject.turn} of the conversation. To get a reply of your "
        "own, write it into a YAML file and pass that file with --fixtures."
    )


def _excerpt(value: str) -> str:
    line = " ".join(value[: 4 * _SHOWN].split())
    if len(line) <= _SHOWN:
        line = " ".join(value.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


class Drawing(Struct, frozen=True, gc=False):
    """A picture that is not drawn yet, which takes a while: called, it gives the ImageGenerationResponse. `prompt` is
    UTF-8, which is shorter than text where there are many of them, and `sides`, the ratio of width and height, is one
    for all that have the same.
    """

    prompt: bytes
    number: int
    sides: tuple[int, int]

    def __call__(self) -> Any:
        from .images import picture as drawn

        width, height = self.sides
        image = drawn(self.prompt.decode(), seed=self.number, width_ratio=width, height_ratio=height)
        return ImageGenerationResponse(image=image)


def picture(subject: Subject, seed: Seed) -> Drawing:
    """The picture that is drawn where no rule has one."""
    prompt = subject.prompt.raw if subject.prompt is not None else ""
    number = subject.seed if subject.seed is not None else seed.integer(1, 2**31, "picture")
    ratio = subject.request.generation_options.aspect_ratio
    sides = _sides(ratio.width_ratio, ratio.height_ratio) if subject.ratio is not None else _sides(1, 1)
    return Drawing(prompt.encode(), number, sides)


@lru_cache(64)
def _sides(width: int, height: int) -> tuple[int, int]:
    return width, height


def _model(subject: Subject) -> str:
    return subject.model.name or "…"
