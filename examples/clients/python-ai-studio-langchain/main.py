"""A client of Foundation Models on LangChain, by the wrapper that yandex-ai-studio-sdk brings: python main.py QUESTION

In production and against the emulator it is the same program; only its environment differs:

    YC_FOLDER_ID, YC_API_KEY            the SDK reads them itself; for the emulator any will do
    YC_API_ENDPOINT                     where to ask for the services' addresses; the real service's unless given
    YC_PLAINTEXT                        `yes` speaks without TLS
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH    the certificates to trust, for the emulator's own
"""

import asyncio
import os
import sys

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio

VERIFY = os.environ.get("YC_PLAINTEXT") != "yes"


def main(question: str) -> None:
    """Ask for the answer whole, as a stream, and at the end of a chain."""
    chat = AIStudio(verify=VERIFY).models.completions("yandexgpt").configure(temperature=0.3).langchain()
    answer = chat.invoke([SystemMessage(content="Отвечай вежливо."), HumanMessage(content=question)])
    print(f"completion: {answer.content} ({answer.usage_metadata['total_tokens']} tokens)")
    print("stream:", "|".join(part.content for part in chat.stream([HumanMessage(content=question)])))
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | chat | StrOutputParser()
    print(f"chain: {chain.invoke({'question': question})}")


async def amain(question: str) -> None:
    """The same, in an event loop."""
    chat = AsyncAIStudio(verify=VERIFY).models.completions("yandexgpt").configure(temperature=0.3).langchain()
    print(f"async completion: {(await chat.ainvoke([HumanMessage(content=question)])).content}")
    print("async stream:", "|".join([part.content async for part in chat.astream([HumanMessage(content=question)])]))


if __name__ == "__main__":
    asked = " ".join(sys.argv[1:])
    main(asked)
    asyncio.run(amain(asked))
