"""What went wrong, in words for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from yandex_ai_studio_sdk.exceptions import AioRpcError, RunError

WORDS = {
    "RESOURCE_EXHAUSTED": "Исчерпана квота, попробуйте позже",
    "UNAVAILABLE": "Сервис недоступен, попробуйте позже",
    "DEADLINE_EXCEEDED": "Сервис не ответил вовремя",
    "UNAUTHENTICATED": "Ключ не принят, проверьте YC_API_KEY",
    "PERMISSION_DENIED": "Нет доступа, проверьте YC_FOLDER_ID и роли ключа",
}


class Failure(Exception):
    """Something the user has to be told of; its text is what to say."""


@contextmanager
def told() -> Iterator[None]:
    """Make a Failure of what the SDK raises."""
    try:
        yield
    except AioRpcError as failed:
        code = failed.code().name
        raise Failure(WORDS.get(code, f"Ошибка сервиса ({code}): {failed.details()}")) from failed
    except RunError as failed:
        raise Failure(f"Задание не выполнено: {failed.message}") from failed
