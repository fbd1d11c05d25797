"""Settings, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yandex_ai_studio_sdk.retry import RetryPolicy

from .failures import Failure


@dataclass(frozen=True)
class Settings:
    """What the assistant needs to know; times are in seconds."""

    folder_id: str
    api_key: str
    endpoint: str = "api.cloud.yandex.net:443"
    verify_tls: bool = True
    model: str = "yandexgpt"
    rounds: int = 5
    """How often the model may ask for tools before it is told to stop."""
    answer_within: float = 60
    """How long one call of the model may take, its retries included."""
    poll_every: float = 10
    """How often a deferred job is asked for."""
    job_within: int = 3600
    """How long a deferred job is waited for before it is cancelled."""
    attempts: int = 5
    backoff: float = 1
    """How long the first retry is waited for; later ones wait longer."""

    @property
    def retries(self) -> RetryPolicy:
        """The SDK's retries: when the service is unavailable, and when a quota is used up."""
        return RetryPolicy(max_attempts=self.attempts, initial_backoff=self.backoff, jitter=self.backoff)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings as the environment gives them. Raises Failure for one that is missing or wrong."""
        missing = [name for name in ("YC_FOLDER_ID", "YC_API_KEY") if not environment.get(name)]
        if missing:
            raise Failure(f"Не заданы переменные окружения: {', '.join(missing)}")
        try:
            return cls(
                folder_id=environment["YC_FOLDER_ID"],
                api_key=environment["YC_API_KEY"],
                endpoint=environment.get("YC_API_ENDPOINT", cls.endpoint),
                verify_tls=environment.get("ASSISTANT_VERIFY_TLS", "yes") != "no",
                model=environment.get("ASSISTANT_MODEL", cls.model),
                answer_within=float(environment.get("ASSISTANT_ANSWER_WITHIN", cls.answer_within)),
                poll_every=float(environment.get("ASSISTANT_POLL_EVERY", cls.poll_every)),
                job_within=int(environment.get("ASSISTANT_JOB_WITHIN", cls.job_within)),
                attempts=int(environment.get("ASSISTANT_ATTEMPTS", cls.attempts)),
                backoff=float(environment.get("ASSISTANT_BACKOFF", cls.backoff)),
            )
        except ValueError as wrong:
            raise Failure(f"Неверное значение в переменных окружения: {wrong}") from wrong
