"""What the model may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tool:
    """A function for the model: what it is called, what it is for, its parameters as JSON Schema, and the function."""

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., str]


class Toolbox:
    """The tools of an assistant."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self.tools = {tool.name: tool for tool in tools}

    def use(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
        """The results of calls that the model made at once, in their order; a call that fails says so to the model."""
        with ThreadPoolExecutor(max_workers=max(len(calls), 1)) as pool:
            contents = list(pool.map(self._use, calls))
        return [{"name": name, "content": content} for (name, _), content in zip(calls, contents, strict=True)]

    def _use(self, call: tuple[str, Mapping[str, Any]]) -> str:
        name, arguments = call
        if name not in self.tools:
            return f"Ошибка: инструмента {name} нет, есть {', '.join(self.tools)}"
        try:
            return self.tools[name].function(**arguments)
        except Exception as failed:
            return f"Ошибка: {failed}"


@dataclass
class HelpDesk:
    """The systems behind the tools; here they are kept in memory."""

    weather: dict[str, str] = field(default_factory=lambda: {"Москва": "+20, ясно", "Тверь": "+15, дождь"})
    tickets: list[str] = field(default_factory=list)

    def get_weather(self, city: str) -> str:
        """The weather in a city; LookupError if nobody knows it."""
        if city not in self.weather:
            raise LookupError(f"нет данных о погоде в городе {city}")
        return self.weather[city]

    def create_ticket(self, title: str, priority: str = "normal") -> str:
        """File a ticket; its number."""
        self.tickets.append(f"{title} ({priority})")
        return f"HD-{len(self.tickets)}"

    def toolbox(self) -> Toolbox:
        """All this as tools."""
        city = {"type": "string", "description": "Город в именительном падеже"}
        title = {"type": "string", "description": "Суть обращения в нескольких словах"}
        priority = {"type": "string", "enum": ["low", "normal", "high"]}
        return Toolbox(
            [
                Tool("get_weather", "Погода в городе сейчас", _object({"city": city}), self.get_weather),
                Tool(
                    "create_ticket",
                    "Заводит обращение, возвращает его номер",
                    _object({"title": title}, {"priority": priority}),
                    self.create_ticket,
                ),
            ]
        )


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}
