"""A client of Foundation Models on yandex-ai-studio-sdk, synchronous and asynchronous: python main.py QUESTION

In production and against the emulator it is the same program; only its environment differs:

    YC_FOLDER_ID, YC_API_KEY            the SDK reads them itself; for the emulator any will do
    YC_API_ENDPOINT                     where to ask for the services' addresses; the real service's unless given
    YC_PLAINTEXT                        `yes` speaks without TLS
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH    the certificates to trust, for the emulator's own
    POLL_INTERVAL                       seconds between polls of an operation; the SDK's own 10 unless given
"""

import asyncio
import os
import sys

from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio

POLL_INTERVAL = float(os.environ.get("POLL_INTERVAL", "10"))


def main(question: str) -> None:
    """Ask for the answer whole, as it grows, and by an operation."""
    sdk = AIStudio(verify=os.environ.get("YC_PLAINTEXT") != "yes")
    model = sdk.models.completions("yandexgpt").configure(temperature=0.3, max_tokens=500)
    result = model.run(question)
    print(f"completion: {result.text} ({result.usage.total_tokens} tokens)")
    for part in model.run_stream(question):
        print(f"stream: {part.text} [{part.status.name}]")
    operation = model.run_deferred(question)
    print(f"deferred: {operation.wait(poll_interval=POLL_INTERVAL).text}")


async def amain(question: str) -> None:
    """The same, in an event loop."""
    sdk = AsyncAIStudio(verify=os.environ.get("YC_PLAINTEXT") != "yes")
    model = sdk.models.completions("yandexgpt").configure(temperature=0.3, max_tokens=500)
    result = await model.run(question)
    print(f"async completion: {result.text} ({result.usage.total_tokens} tokens)")
    async for part in model.run_stream(question):
        print(f"async stream: {part.text} [{part.status.name}]")
    operation = await model.run_deferred(question)
    print(f"async deferred: {(await operation.wait(poll_interval=POLL_INTERVAL)).text}")


if __name__ == "__main__":
    asked = " ".join(sys.argv[1:])
    main(asked)
    asyncio.run(amain(asked))
