"""A client of Foundation Models on yandex-cloud-ml-sdk 0.9, the SDK before AI Studio's: python main.py QUESTION

It waits for a batch through OperationService, where later SDKs ask for the batch task. In production and against the
emulator it is the same program; only its environment differs:

    YC_FOLDER_ID, YC_API_KEY            for the emulator any will do
    YC_API_ENDPOINT                     where to ask for the services' addresses; the real service's unless given
    YC_PLAINTEXT                        `yes` speaks without TLS
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH    the certificates to trust, for the emulator's own
    POLL_INTERVAL                       seconds between polls of an operation; the SDK's own 10 unless given
    DATASET_ID                          what the batch reads; without it there is no batch
"""

import os
import sys

from yandex_cloud_ml_sdk import YCloudML

POLL_INTERVAL = float(os.environ.get("POLL_INTERVAL", "10"))


def main(question: str) -> None:
    """Ask for the answer whole, as it grows, and by an operation; then run a batch."""
    sdk = YCloudML(
        folder_id=os.environ["YC_FOLDER_ID"],
        auth=os.environ["YC_API_KEY"],
        verify=os.environ.get("YC_PLAINTEXT") != "yes",
    )
    model = sdk.models.completions("yandexgpt").configure(temperature=0.3, max_tokens=500)
    result = model.run(question)
    print(f"completion: {result[0].text} ({result.usage.total_tokens} tokens)")
    for part in model.run_stream(question):
        print(f"stream: {part[0].text} [{part[0].status.name}]")
    operation = model.run_deferred(question)
    print(f"deferred: {operation.wait(poll_interval=POLL_INTERVAL)[0].text}")
    if dataset := os.environ.get("DATASET_ID"):
        batch = sdk.models.completions("gemma-3-12b-it").batch.run_deferred(dataset)
        print(f"batch: {batch.wait(poll_interval=POLL_INTERVAL).status.name}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
