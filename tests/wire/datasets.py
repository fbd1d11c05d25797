"""Datasets over a socket: DatasetService with raw messages, and HTTP with httpx as `curl` would."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from emulator import Emulator
from emulator.api import GetOperationRequest, message_class

from .client import FOLDER, Client, Reply

PACKAGE = "yandex.cloud.ai.dataset.v1"
REQUESTS = "TextToTextGenerationRequest"


def lines(*texts: str) -> bytes:
    """JSON lines of requests, one question each."""
    rows = ({"request": [{"role": "user", "text": text}]} for text in texts)
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


class Datasets:
    """DatasetService of an emulator, and its object storage."""

    def __init__(self, emulator: Emulator, client: Client, metadata: Iterable[tuple[str, str]] = ()) -> None:
        self.emulator, self.client, self.metadata = emulator, client, tuple(metadata)

    def call(self, method: str, /, **fields: Any) -> Reply:
        """The whole call of one of its methods."""
        name = "GetDatasetPreview" if method == "GetPreview" else method
        name = {"Create": "CreateDataset", "Describe": "DescribeDataset", "Update": "UpdateDataset"}.get(name, name)
        name = {"Delete": "DeleteDataset", "Validate": "ValidateDataset", "List": "ListDatasets"}.get(name, name)
        request = message_class(f"{PACKAGE}.{name}Request")(**fields)
        return self.client.call(f"/{PACKAGE}.DatasetService/{method}", request, metadata=self.metadata)

    def ask(self, method: str, /, **fields: Any) -> Any:
        """The response of a call that goes well."""
        return self.call(method, **fields).only

    def refused(self, method: str, /, **fields: Any) -> str:
        """Status and message of a call that does not."""
        reply = self.call(method, **fields)
        assert reply.code != "OK"
        return f"{reply.code}: {reply.text}"

    def create(self, **more: Any) -> str:
        """The id of a new dataset."""
        fields = {"name": "вопросы", "folder_id": FOLDER, "task_type": REQUESTS, "upload_format": "jsonlines", **more}
        return str(self.ask("Create", **fields).dataset_id)

    def upload_url(self, id: str, size: int) -> str:
        return str(self.ask("GetUploadDraftUrl", dataset_id=id, size_bytes=size).upload_url)

    def upload(self, id: str, body: bytes) -> httpx.Response:
        """PUT the body where the emulator says."""
        response = put(self.upload_url(id, len(body)), body)
        assert response.status_code == 200, response.text
        return response

    def validate(self, id: str) -> Any:
        """The operation of a new validation."""
        return self.ask("Validate", dataset_id=id)

    def operation(self, id: str) -> Any:
        reply = self.client.call("OperationService/Get", GetOperationRequest(operation_id=id), metadata=self.metadata)
        return reply.only

    def info(self, id: str) -> Any:
        """Its DatasetInfo."""
        return self.ask("Describe", dataset_id=id).dataset

    def status(self, id: str) -> str:
        info = self.info(id)
        return str(info.Status.Name(info.status))

    def ready(self, *texts: str, **more: Any) -> str:
        """The id of a dataset with these questions, validated; the clock stands still, so it is moved."""
        id_ = self.create(**more)
        self.upload(id_, lines(*texts))
        self.validate(id_)
        self.emulator.clock.advance("3s")
        assert self.status(id_) == "READY"
        return id_

    def download_url(self, id: str) -> str:
        (told,) = self.ask("GetDownloadUrls", dataset_id=id).download_urls
        assert told.key == "main"
        return str(told.url)


def put(url: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.put(url, content=body, headers=headers, timeout=30)


def error(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of a refusal of object storage."""
    from xml.etree import ElementTree

    assert response.headers["content-type"].startswith("application/xml")
    root = ElementTree.fromstring(response.text)
    assert root.tag == "Error"
    assert root.findtext("RequestId")
    assert root.findtext("Resource") == response.url.path
    return response.status_code, root.findtext("Code") or "", root.findtext("Message") or ""
