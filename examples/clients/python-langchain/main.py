"""A client of Foundation Models on langchain-community's ChatYandexGPT and YandexGPT: python main.py QUESTION

They speak TLS only. In production and against the emulator it is the same program; only its environment differs:

    YC_FOLDER_ID, YC_API_KEY            the classes read them themselves; for the emulator any will do
    YC_LLM_ENDPOINT                     where completions are; the real service's unless given
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH    the certificates to trust, for the emulator's own

The asynchronous methods defer a completion and poll `operation.api.cloud.yandex.net:443` for it, whatever `url` says,
so they are tried only where YC_LLM_ENDPOINT is not given. A stream comes as one piece: the classes have none.
"""

import asyncio
import os
import sys

from langchain_community.chat_models import ChatYandexGPT
from langchain_community.llms import YandexGPT
from langchain_core.messages import HumanMessage, SystemMessage

WHERE = {"url": os.environ["YC_LLM_ENDPOINT"]} if "YC_LLM_ENDPOINT" in os.environ else {}


def main(question: str) -> None:
    """Ask for the answer whole, and as a stream."""
    chat = ChatYandexGPT(model_name="yandexgpt", temperature=0.3, max_tokens=500, **WHERE)
    answer = chat.invoke([SystemMessage(content="Отвечай вежливо."), HumanMessage(content=question)])
    print(f"completion: {answer.content}")
    for part in chat.stream([HumanMessage(content=question)]):
        print(f"stream: {part.content}")
    print(f"text completion: {YandexGPT(model_name='yandexgpt', **WHERE).invoke(question)}")


async def amain(question: str) -> None:
    """Ask by operations, which is what the asynchronous methods do."""
    chat = ChatYandexGPT(model_name="yandexgpt", temperature=0.3, max_tokens=500)
    print(f"deferred: {(await chat.ainvoke([HumanMessage(content=question)])).content}")
    print(f"deferred text: {await YandexGPT(model_name='yandexgpt').ainvoke(question)}")


if __name__ == "__main__":
    asked = " ".join(sys.argv[1:])
    main(asked)
    if not WHERE:
        asyncio.run(amain(asked))
