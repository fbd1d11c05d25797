"""The floor: a bare server whose replies are constant. `python -m benchmarks.bare READY [--raw] [--uvloop] [--native]`.

It is grpc.aio with what no server in Python can do without: it parses the request and serializes a reply, as a servicer
of generated code does; with `--raw` not even that. `--native` is the same servicer on pygrpc-native.

Methods of the service `Bare` are of both kinds: `Unary`, and `One` (a stream of one message, which is what a completion
that isn't streamed is on the wire), `Stream` (20 chunks) and `Paced` (the same, 50 ms apart, on an absolute schedule).
READY is the file that its address is written to, as JSON, once it serves.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from emulator.api import CompletionRequest, CompletionResponse

SERVICE = "benchmarks.Bare"
CHUNKS = 20
EVERY = 0.05
"""Seconds between the chunks of a paced stream."""

BYTES = 343
"""Of a whole reply."""

OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
)
_TEXT = (
    "Постоянный ответ, одинаковый для всех: длиной он с обычный короткий ответ модели и ничего не говорит о вопросе. "
    * 2
)


def reply(part: int = CHUNKS) -> Any:
    """The reply, or a chunk with so many twentieths of its text."""
    made = CompletionResponse(model_version="09.02.2025")
    made.usage.input_text_tokens, made.usage.completion_tokens, made.usage.total_tokens = 250, 2 * part, 250 + 2 * part
    alternative = made.alternatives.add(status=3 if part == CHUNKS else 1)
    alternative.message.role, alternative.message.text = "assistant", _TEXT[: 164 * part // CHUNKS]
    if part == CHUNKS:
        alternative.message.text += "." * (BYTES - made.ByteSize())
    return made


def _handlers(raw: bool) -> dict[str, Any]:
    chunks = [reply(n + 1) for n in range(CHUNKS)]
    take: Callable[[bytes], Any] | None = CompletionRequest.FromString
    give: Callable[[Any], bytes] | None = CompletionResponse.SerializeToString
    if raw:
        chunks, take, give = [c.SerializeToString() for c in chunks], None, None
    whole = chunks[-1]

    async def unary(request: Any, context: Any) -> Any:
        return whole

    async def one(request: Any, context: Any) -> AsyncIterator[Any]:
        yield whole

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        for chunk in chunks:
            yield chunk

    async def paced(request: Any, context: Any) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n, chunk in enumerate(chunks):
            if n:
                await asyncio.sleep(max(0.0, began + n * EVERY - loop.time()))
            yield chunk

    made = {"Unary": grpc.unary_unary_rpc_method_handler(unary, take, give)}
    for name, handler in {"One": one, "Stream": stream, "Paced": paced}.items():
        made[name] = grpc.unary_stream_rpc_method_handler(handler, take, give)
    return made


async def _serve(ready: str, raw: bool, native: bool) -> None:
    server: Any
    if native:
        import pygrpc_native.aio

        server = pygrpc_native.aio.server()
    else:
        server = grpc.aio.server(options=OPTIONS)
    handlers = _handlers(raw)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if hasattr(server, "add_registered_method_handlers"):  # as generated code does where grpcio has it
        server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _tell(ready, f'{{"grpc": "127.0.0.1:{port}"}}')
    await server.wait_for_termination()


def _tell(ready: str, address: str) -> None:
    Path(ready + ".new").write_text(address)
    os.replace(ready + ".new", ready)


def main() -> None:
    ready, *flags = sys.argv[1:]
    if "--uvloop" in flags:
        import uvloop

        uvloop.install()
    asyncio.run(_serve(ready, "--raw" in flags, "--native" in flags))


if __name__ == "__main__":
    main()
