"""A client of Foundation Models on yandexcloud, the SDK of all services with generated stubs: python main.py QUESTION

In production and against the emulator it is the same program; only its environment differs:

    YC_FOLDER_ID, YC_IAM_TOKEN          for the emulator any will do
    YC_API_ENDPOINT                     where to ask for the services' addresses; the real service's unless given
    YC_PLAINTEXT                        `yes` speaks without TLS, and asks YC_API_ENDPOINT itself for everything
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH    the certificates to trust, for the emulator's own
"""

import os
import sys
import time
from typing import Any

import yandexcloud
from yandex.cloud.ai.foundation_models.v1.text_common_pb2 import Alternative, CompletionOptions, Message
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import (
    CompletionRequest,
    CompletionResponse,
)
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc import (
    TextGenerationAsyncServiceStub,
    TextGenerationServiceStub,
)
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub

ENDPOINT = os.environ.get("YC_API_ENDPOINT")
PLAINTEXT = os.environ.get("YC_PLAINTEXT") == "yes"
SDK = yandexcloud.SDK(iam_token=os.environ["YC_IAM_TOKEN"], endpoint=ENDPOINT)


def client(stub: Any) -> Any:
    """A client of one service. The SDK finds addresses over TLS only, so in plaintext it is told."""
    return SDK.client(stub, endpoint=ENDPOINT, insecure=True) if PLAINTEXT else SDK.client(stub)


def request(question: str, stream: bool = False) -> CompletionRequest:
    """What to complete."""
    return CompletionRequest(
        model_uri=f"gpt://{os.environ['YC_FOLDER_ID']}/yandexgpt/latest",
        completion_options=CompletionOptions(stream=stream, temperature={"value": 0.3}, max_tokens={"value": 500}),
        messages=[Message(role="user", text=question)],
    )


def result(operation: Operation) -> CompletionResponse:
    """What a deferred completion comes to. The SDK's own waiting needs TLS as well."""
    if not PLAINTEXT:
        return SDK.wait_operation_and_get_result(operation, response_type=CompletionResponse).response
    while not operation.done:
        time.sleep(0.1)
        operation = client(OperationServiceStub).Get(GetOperationRequest(operation_id=operation.id))
    response = CompletionResponse()
    operation.response.Unpack(response)
    return response


def main(question: str) -> None:
    """Ask for the answer whole, as it grows, and by an operation."""
    generation = client(TextGenerationServiceStub)
    (whole,) = generation.Completion(request(question))
    print(f"completion: {whole.alternatives[0].message.text} ({whole.usage.total_tokens} tokens)")
    for part in generation.Completion(request(question, stream=True)):
        status = Alternative.AlternativeStatus.Name(part.alternatives[0].status)
        print(f"stream: {part.alternatives[0].message.text} [{status.removeprefix('ALTERNATIVE_STATUS_')}]")
    operation = client(TextGenerationAsyncServiceStub).Completion(request(question))
    print(f"deferred: {result(operation).alternatives[0].message.text}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
