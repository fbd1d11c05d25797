"""The assistant: questions that are answered with tools, deferred jobs, pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from yandex_ai_studio_sdk import AIStudio
from yandex_ai_studio_sdk.exceptions import AioRpcError

from .failures import Failure, told
from .settings import Settings
from .tools import HelpDesk, Toolbox

Show = Callable[[str], object]
SYSTEM = "Ты помощник службы поддержки. Отвечай кратко. Если нужны данные, вызывай инструменты."


class Assistant:
    """One user's assistant."""

    def __init__(self, settings: Settings, toolbox: Toolbox | None = None) -> None:
        self.settings = settings
        self.toolbox = toolbox or HelpDesk().toolbox()
        self.sdk = AIStudio(
            folder_id=settings.folder_id,
            auth=settings.api_key,
            endpoint=settings.endpoint,
            verify=settings.verify_tls,
            retry_policy=settings.retries,
        )
        self.model = self.sdk.models.completions(settings.model)

    def ask(self, question: str, show: Show = lambda piece: None) -> str:
        """The answer to a question, after as many rounds of tools as it needs; `show` gets it piece by piece.

        Raises Failure.
        """
        tools = [
            self.sdk.tools.function(tool.parameters, name=tool.name, description=tool.description)
            for tool in self.toolbox.tools.values()
        ]
        model = self.model.configure(tools=tools, parallel_tool_calls=True, temperature=0.3)
        messages: list[Any] = [{"role": "system", "text": SYSTEM}, {"role": "user", "text": question}]
        for _ in range(self.settings.rounds):
            result = self._streamed(model, messages, show)
            if not result.tool_calls:
                return str(result.text)
            calls = [(call.function.name, call.function.arguments) for call in result.tool_calls if call.function]
            messages += [result, {"tool_results": self.toolbox.use(calls)}]
        raise Failure(f"Модель вызывала инструменты {self.settings.rounds} раз и не дала ответа")

    def _streamed(self, model: Any, messages: list[Any], show: Show) -> Any:
        """The last message of a stream, whose growing text is shown."""
        fresh, result = Fresh(show), None
        with told():
            try:
                for result in model.run_stream(messages, timeout=self.settings.answer_within):
                    if result.status.name != "CONTENT_FILTER":
                        fresh.see(result.text)
            except AioRpcError as failed:
                if not fresh.shown:
                    raise
                raise Failure("Ответ оборвался на полуслове, спросите ещё раз") from failed
        if result is None:
            raise Failure("Сервис прислал пустой ответ")
        if result.status.name == "CONTENT_FILTER":
            raise Failure("Модель отказалась отвечать на этот вопрос")
        return result

    # -- deferred jobs: cheaper, and as slow as the service likes

    def begin(self, question: str) -> str:
        """Begin a job that answers a question, and return its id. Raises Failure."""
        with told():
            return str(self.model.run_deferred(question).id)

    def look(self, job: str) -> str | None:
        """The job's answer, None while there is none. Raises Failure for one that failed."""
        with told():
            operation = self.model.attach_deferred(job)
            return None if operation.get_status().is_running else str(operation.get_result().text)

    def wait(self, job: str) -> str:
        """The job's answer, once it is there. A job that takes too long is cancelled. Raises Failure."""
        operation = self.model.attach_deferred(job)
        with told():
            try:
                result = operation.wait(poll_interval=self.settings.poll_every, poll_timeout=self.settings.job_within)
            except asyncio.TimeoutError as failed:
                operation.cancel()
                raise Failure(f"Задание {job} не готово за {self.settings.job_within} с и отменено") from failed
        return str(result.text)

    def draw(self, prompt: str, seed: int = 0) -> bytes:
        """A picture, as JPEG. Raises Failure."""
        model = self.sdk.models.image_generation("yandex-art").configure(width_ratio=16, height_ratio=9, seed=seed)
        with told():
            return model.run_deferred(prompt).wait(poll_interval=self.settings.poll_every).image_bytes


class Fresh:
    """Shows only what is new of a text that comes whole each time."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.shown = ""

    def see(self, text: str) -> None:
        """The text as it is now."""
        if self.shown.startswith(text):  # the SDK has begun the stream again: this much is there already
            return
        if not text.startswith(self.shown):  # it has, and the model answers otherwise now
            self._show("\n")
            self.shown = ""
        self._show(text[len(self.shown) :])
        self.shown = text
