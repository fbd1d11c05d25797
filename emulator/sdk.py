"""Ready clients of the official SDK: at an emulator's address, with a key that is nobody's, and quick to retry.

`Steering.sdk` and `Steering.async_sdk` make them. The SDK is imported when one is asked for; it is no dependency.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio

FOLDER = "b1gtest"
"""The folder that clients name unless told otherwise."""

POLL_INTERVAL = 0.01
"""Real seconds between two Gets of an operation that `wait` waits for; the SDK's own interval is ten seconds."""

PACKAGES = {
    "yandex_ai_studio_sdk": ("AIStudio", "AsyncAIStudio"),
    "yandex_cloud_ml_sdk": ("YCloudML", "AsyncYCloudML"),
}
"""The packages that the SDK comes in, the first installed one is taken, and what its two clients are called there."""


def client(target: str, *, session: str = "", token: str | None = None, **more: Any) -> AIStudio:
    """A client for the emulator at `target`, in the session of that id; `more` is for the SDK's constructor and comes
    before what is set here.

    `token` is the emulator's own, if it asks for one. Raises ImportError if the SDK is not installed.
    """
    made: AIStudio = _made(0, target, session, token, more)
    return made


def async_client(target: str, *, session: str = "", token: str | None = None, **more: Any) -> AsyncAIStudio:
    """The same as `client`, the SDK's asynchronous one."""
    made: AsyncAIStudio = _made(1, target, session, token, more)
    return made


def wait(operation: Any, *, poll_interval: float = POLL_INTERVAL, **more: Any) -> Any:
    """What `operation.wait` of the SDK returns, asking every few milliseconds; to await if the client is asynchronous.

    The SDK sleeps ten seconds between two Gets unless its caller says otherwise, and no clock of an emulator shortens
    that; what is done at the first Get is never slept for.
    """
    return operation.wait(poll_interval=poll_interval, **more)


def _made(which: int, target: str, session: str, token: str | None, more: dict[str, Any]) -> Any:
    package = _installed()
    retries = import_module(f"{package.__name__}.retry")
    options = {
        "folder_id": FOLDER,
        "auth": "test-key",
        "endpoint": target,
        "verify": False,
        "retry_policy": retries.RetryPolicy(max_attempts=5, initial_backoff=0.01, max_backoff=0.05, jitter=0),
        **more,
    }
    if session:
        options["interceptors"] = (*(options.get("interceptors") or ()), *_naming(session, token))
    return getattr(package, PACKAGES[package.__name__][which])(**options)


def _installed() -> ModuleType:
    for name in PACKAGES:
        try:
            return import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:  # it is there, and lacks something itself
                raise
    raise ImportError("the official SDK is not installed: pip install yandex-ai-studio-sdk")


def _naming(session: str, token: str | None) -> tuple[Any, ...]:
    """Interceptors that put the session's name, and the emulator's token, on every call of a client."""
    import grpc.aio

    own = (("x-emulator-session", session), *((("x-emulator-token", token),) if token is not None else ()))

    def named(details: Any) -> Any:
        return details._replace(metadata=grpc.aio.Metadata(*(details.metadata or ()), *own))

    # grpc takes an object for one kind of call alone, whatever else it is.
    class Unary(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return await continuation(named(client_call_details), request)

    class Stream(grpc.aio.UnaryStreamClientInterceptor):
        async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return await continuation(named(client_call_details), request)

    return Unary(), Stream()
