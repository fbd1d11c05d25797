"""Is a request about datasets one that the real service would take? Bounds are the documented ones; their refusals are
worded as a sister API does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import wording
from ..call import Call
from ..errors import Code, Status
from ..rows.names import FORMATS, TASK_TYPES

_SERVICE = "/yandex.cloud.ai.dataset.v1.DatasetService/"
LONGEST = {"name": 63, "folder_id": 50, "task_type": 50, "upload_format": 50}
"""Characters that a field takes."""

LARGEST_UPLOAD = 5 * 1024**3
LARGEST_PART = 5 * 1024**3
SMALLEST_PART = 5 * 1024**2
MOST_PARTS = 10_000
MOST_A_PAGE = 100


def _wrong(field: str, text: str) -> Status:
    return Status(Code.INVALID_ARGUMENT, wording.validation(field, text))


def _lengths(request: Any, *fields: str) -> None:
    for field in fields:
        if len(getattr(request, field)) > LONGEST[field]:
            raise _wrong(field, wording.at_most_long(LONGEST[field]))


def _required(request: Any, *fields: str) -> None:
    for field in fields:
        if not getattr(request, field):
            raise _wrong(field, wording.REQUIRED)


def _task_type(task_type: str) -> None:
    if task_type not in TASK_TYPES:
        raise _wrong("task_type", f"Value must be one of {', '.join(TASK_TYPES)}")


def _create(call: Call) -> None:
    request = call.message
    _required(request, "folder_id", "task_type", "upload_format")
    _lengths(request, "name", "folder_id", "task_type", "upload_format")
    _task_type(request.task_type)
    if request.upload_format not in FORMATS:
        raise _wrong("upload_format", f"Value must be one of {', '.join(FORMATS)}")


def _named(call: Call) -> None:
    _required(call.message, "dataset_id")


def _update(call: Call) -> None:
    _named(call)
    _lengths(call.message, "name")


def _size(request: Any, *, most: int = LARGEST_UPLOAD) -> None:
    if not 0 < request.size_bytes <= most:
        raise _wrong("size_bytes", wording.in_range(1, most))


def _upload_url(call: Call) -> None:
    _named(call)
    _size(call.message)


def _start_parts(call: Call) -> None:
    _named(call)
    request = call.message
    if not 0 < request.parts <= MOST_PARTS:
        raise _wrong("parts", wording.in_range(1, MOST_PARTS))
    _size(request)
    if request.parts > 1 and request.size_bytes // request.parts < SMALLEST_PART:
        text = f"{request.parts} parts of {request.size_bytes} bytes are too small; each has at least {SMALLEST_PART}"
        raise _wrong("parts", text)


def _finish_parts(call: Call) -> None:
    _named(call)
    for part in call.message.uploaded_parts:
        if not 0 < part.part_num <= MOST_PARTS:
            raise _wrong("part_num", wording.in_range(1, MOST_PARTS))


def _list(call: Call) -> None:
    _required(call.message, "folder_id")
    _lengths(call.message, "folder_id")
    if not 0 <= call.message.page_size <= MOST_A_PAGE:
        raise _wrong("page_size", wording.in_range(0, MOST_A_PAGE))


def _of_type(call: Call) -> None:
    _required(call.message, "task_type")
    _task_type(call.message.task_type)


CHECKS: Mapping[str, Callable[[Call], None]] = {
    _SERVICE + "Create": _create,
    _SERVICE + "Describe": _named,
    _SERVICE + "List": _list,
    _SERVICE + "Update": _update,
    _SERVICE + "Delete": _named,
    _SERVICE + "Validate": _named,
    _SERVICE + "GetUploadDraftUrl": _upload_url,
    _SERVICE + "StartMultipartUploadDraft": _start_parts,
    _SERVICE + "FinishMultipartUploadDraft": _finish_parts,
    _SERVICE + "GetDownloadUrls": _named,
    _SERVICE + "GetPreview": _named,
    _SERVICE + "ListUploadFormats": _of_type,
    _SERVICE + "ListUploadSchemas": _of_type,
}
"""By the path of the method."""
