"""DatasetService: datasets are created, uploaded over HTTP, validated, described and deleted.

Shapes are those of recorded traffic. What a client may do in which state, and the words that refuse it, are our choice:
each says what to do instead.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from .. import wording
from ..api import METHODS, DatasetInfo
from ..call import Call, parsed
from ..content import Content
from ..datasets import UPLOADABLE, VALIDATION, Dataset, Parts, Stand, Upload, described
from ..errors import Code, Status
from ..gates import Handler
from ..gates.datasets import MOST_PARTS, SMALLEST_PART
from ..operations import PREFIXES
from ..presigned import SESSION, presigned
from ..replies.play import Play
from ..replies.timeline import default_timeline
from ..rows.names import FORMATS, TASK_TYPES
from .paging import position, token_after

SERVICE = "/yandex.cloud.ai.dataset.v1.DatasetService/"
DRAFTS, STORED = "ai-fomo-drafts-prod", "ai-fomo-datasets-prod"
"""Buckets: what is uploaded (recorded), and what is downloaded (our choice)."""

PREVIEWED = 10
MOST_DESCRIBED = 64 * 1024
"""Characters of what is said about a dataset: description, metadata and labels (our choice)."""

MOST_PREVIEWED = 1 << 20
"""Rows, and bytes of them, that a preview shows (our choice)."""

PAGE = 100
CHANGEABLE = ("name", "description", "labels")


class Web(Protocol):
    """Where HTTP is served."""

    def __call__(self, peer: str) -> str:
        """`http://HOST:PORT`, as `peer` reaches it. Raises FAILED_PRECONDITION where HTTP isn't served."""


def handlers(web: Web) -> Mapping[str, Handler]:
    """The service's methods by path."""
    service = _Service(web)
    answers: Mapping[str, Callable[[Call, Any, Any], Any]] = {
        "Create": _create,
        "Describe": _describe,
        "List": _list,
        "Update": _update,
        "Delete": _delete,
        "GetUploadDraftUrl": service.upload_url,
        "StartMultipartUploadDraft": service.start_parts,
        "FinishMultipartUploadDraft": _finish_parts,
        "Validate": _validate,
        "GetDownloadUrls": service.download_urls,
        "GetPreview": _preview,
        "ListTypes": _types,
        "ListUploadFormats": _formats,
        "ListUploadSchemas": _schemas,
        "ListOperationsIds": _operations_ids,
    }
    return {SERVICE + name: _unary(SERVICE + name, answer) for name, answer in answers.items()}


def _unary(path: str, answer: Callable[[Call, Any, Any], Any]) -> Handler:
    """A handler from a function that fills the response in."""
    output = METHODS[path].output

    async def unary(call: Call) -> AsyncIterator[bytes]:
        response = output()
        await answer(call, parsed(call), response)
        yield response.SerializeToString(deterministic=True)

    return unary


# -- what is there


async def _create(call: Call, request: Any, response: Any) -> None:
    session = call.session
    datasets, now = session.datasets, session.clock.now()
    _check_described(request.description, request.metadata, *request.labels, *request.labels.values())
    dataset = Dataset(
        id=datasets.fresh(session.seed, "dataset", datasets.made),
        folder=request.folder_id,
        name=request.name,
        created=now,
        account=call.account or session.account,
        task_type=request.task_type,
        origin=Upload(request.task_type, now, datasets.store),
        upload_format=request.upload_format,
        description=request.description,
        metadata=request.metadata,
        labels=dict(request.labels),
        allow_data_log=request.allow_data_log,
    )
    datasets.add(dataset)
    response.dataset_id = dataset.id
    response.dataset.CopyFrom(await _described(call, dataset.id))


async def _describe(call: Call, request: Any, response: Any) -> None:
    response.dataset.CopyFrom(await _described(call, request.dataset_id))


async def _described(call: Call, dataset_id: str) -> Any:
    """The dataset as clients see it. Raises NOT_FOUND."""
    return described(*await call.session.datasets.look(dataset_id))


async def _list(call: Call, request: Any, response: Any) -> None:
    size = request.page_size if 0 < request.page_size <= PAGE else PAGE
    after = position(request.page_token)
    statuses, shown = set(request.status), 0
    datasets = call.session.datasets
    for dataset in datasets:
        if (after is not None and dataset.number <= after) or not _fits(dataset, request):
            continue
        stand = await _listed(call, dataset)
        if stand is None or (statuses and DatasetInfo.Status.Value(stand.status) not in statuses):
            continue
        if shown == size:
            response.next_page_token = token_after(after or 0)
            return
        info = response.datasets.add()
        info.CopyFrom(described(dataset, stand))
        info.folder_id = info.folder_id or request.folder_id
        shown, after = shown + 1, dataset.number


async def _listed(call: Call, dataset: Dataset) -> Stand | None:
    """What it is now; one of which that can't be found out, since the disk is full, must not keep others from being
    listed.
    """
    now = call.session.clock.now()
    try:
        return await call.session.datasets.stand(dataset, now)
    except Status:
        return dataset.origin.stand(now)


def _fits(dataset: Dataset, request: Any) -> bool:
    if request.folder_id and dataset.folder not in ("", request.folder_id):
        return False
    if request.dataset_ids and dataset.id not in request.dataset_ids:
        return False
    if request.task_type_filter and dataset.task_type not in request.task_type_filter:
        return False
    pattern = request.dataset_name_pattern
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(dataset.name, pattern.replace("[", "[[]"))
    return pattern in dataset.name


async def _update(call: Call, request: Any, response: Any) -> None:
    datasets = call.session.datasets
    dataset = datasets.get(request.dataset_id)
    paths = list(request.update_mask.paths) or list(CHANGEABLE)
    unknown = [path for path in paths if path not in CHANGEABLE]
    if unknown:
        text = f"{unknown[0][:60]} can't be changed; there are {', '.join(CHANGEABLE)}"
        raise Status(Code.INVALID_ARGUMENT, wording.validation("update_mask", text))
    _check_described(request.description, *request.labels, *request.labels.values())
    changes = {"name": request.name, "description": request.description, "labels": dict(request.labels)}
    dataset = datasets.change(dataset.id, {name: changes[name] for name in paths})
    response.dataset.CopyFrom(await _described(call, dataset.id))


def _check_described(*texts: str) -> None:
    """Raise RESOURCE_EXHAUSTED where so much is said about a dataset that it can't be kept."""
    size = sum(map(len, texts))
    if size > MOST_DESCRIBED:
        text = f"description, metadata and labels have {size} characters together, and {MOST_DESCRIBED} are kept"
        raise Status(Code.RESOURCE_EXHAUSTED, f"{text}; shorten them")


async def _delete(call: Call, request: Any, response: Any) -> None:
    session, found_out = call.session, True
    dataset = session.datasets.get(request.dataset_id)
    try:
        await session.datasets.look(dataset.id)
    except Status:  # where the disk is full, deleting is what helps
        found_out = False
    session.datasets.delete(dataset.id)
    validation = dataset.origin.validation if isinstance(dataset.origin, Upload) else None
    if validation is None or validation.id not in session.operations:
        return
    session.operations.cancel(validation.id)
    if not found_out:
        session.operations.remove(validation.id)


# -- uploads and downloads


class _Service:
    """The methods that tell where to go with HTTP."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def upload_url(self, call: Call, request: Any, response: Any) -> None:
        dataset, upload = await _to_upload(call, request.dataset_id)
        upload.declared = request.size_bytes
        response.dataset_id = dataset.id
        response.upload_url = self._url(call, "PUT", _draft(dataset), request.size_bytes)

    async def start_parts(self, call: Call, request: Any, response: Any) -> None:
        dataset, upload = await _to_upload(call, request.dataset_id)
        if not 0 < request.parts <= MOST_PARTS:
            raise Status(Code.INVALID_ARGUMENT, wording.validation("parts", wording.in_range(1, MOST_PARTS)))
        session = call.session
        session.datasets.uploads += 1
        id_ = session.seed.identifier("", "upload", dataset.id, session.datasets.uploads)
        upload.start_parts(Parts(id_, request.parts, request.size_bytes))
        response.dataset_id = dataset.id
        for number in range(1, request.parts + 1):
            more = {"partNumber": str(number), "uploadId": id_}
            response.multipart_upload_urls.append(self._url(call, "PUT", _draft(dataset), None, more))

    async def download_urls(self, call: Call, request: Any, response: Any) -> None:
        dataset, stand = await call.session.datasets.look(request.dataset_id)
        if stand.status != "READY":
            raise Status(Code.FAILED_PRECONDITION, _in_the_way(dataset, stand))
        url = self._url(call, "GET", f"/{STORED}/{dataset.folder or '-'}/{dataset.id}/main")
        if await dataset.origin.file() is not None:
            response.download_urls.add(key="main", url=url)
        response.dataset_id = dataset.id

    def _url(
        self, call: Call, method: str, path: str, size: int | None = None, more: Mapping[str, str] | None = None
    ) -> str:
        session = call.session
        more = {**(more or {}), SESSION: session.id} if session.id else more
        return self._web(call.peer) + presigned(session.seed, method, path, session.clock.now(), size, more)


_NEXT = {
    "DRAFT": "upload its rows and validate it first",
    "VALIDATING": "wait until its validation is done",
    "INVALID": "upload sound rows and validate it again",
    "READY": "its rows are fixed; create another dataset for others",
}
"""What to do with a dataset that is in the way."""


def _in_the_way(dataset: Dataset, stand: Stand, validated: bool = False) -> str:
    """What keeps one from doing that with the dataset, and what to do; `validated` is that it should be validated."""
    if dataset.origin.operation_id and stand.status == "DRAFT":
        return f"dataset {dataset.id} is DRAFT; the batch that fills it has to complete first"
    if not validated:
        return f"dataset {dataset.id} is {stand.status}; {_NEXT[stand.status]}"
    after = "" if stand.status == "READY" else f"; {_NEXT[stand.status]}"
    return f"dataset {dataset.id} is {stand.status} already{after}"


async def _to_upload(call: Call, dataset_id: str) -> tuple[Dataset, Upload]:
    """The dataset, to which rows may be uploaded. Raises FAILED_PRECONDITION."""
    dataset, stand = await call.session.datasets.look(dataset_id)
    if stand.status not in UPLOADABLE or not isinstance(dataset.origin, Upload):
        raise Status(Code.FAILED_PRECONDITION, _in_the_way(dataset, stand))
    return dataset, dataset.origin


def _draft(dataset: Dataset) -> str:
    return f"/{DRAFTS}/{dataset.folder or '-'}/{dataset.id}"


async def _finish_parts(call: Call, request: Any, response: Any) -> None:
    dataset, upload = await _to_upload(call, request.dataset_id)
    parts = upload.parts
    if parts is None:
        text = f"dataset {dataset.id} has no upload by parts; begin one with StartMultipartUploadDraft"
        raise Status(Code.FAILED_PRECONDITION, text)
    _check_parts(parts, [(part.part_num, part.etag) for part in request.uploaded_parts], call.session.config.lenient)
    upload.parts = None
    await asyncio.shield(upload.joining(call.session.datasets.joined(dataset, parts)))
    response.dataset_id = dataset.id


def _check_parts(parts: Parts, given: list[tuple[int, str]], lenient: bool) -> None:
    """Raise INVALID_ARGUMENT unless these are the parts that were uploaded, all of them and in order."""

    def wrong(text: str) -> Status:
        return Status(Code.INVALID_ARGUMENT, wording.validation("uploaded_parts", text))

    numbers = [number for number, _ in given]
    if numbers != list(range(1, parts.count + 1)):
        raise wrong(f"Parts must be 1 to {parts.count}, each once and in order")
    for number, etag in given:
        content = parts.contents.get(number)
        if content is None:
            raise wrong(f"Part {number} was not uploaded")
        if etag.strip('"').lower() != content.md5:
            raise wrong(f'The ETag of part {number} is "{content.md5}", not {etag[:60]}')
        if content.size < SMALLEST_PART and number < parts.count and not lenient:
            raise wrong(f"Part {number} has {content.size} bytes; all but the last have at least {SMALLEST_PART}")


# -- validation and rows


async def _validate(call: Call, request: Any, response: Any) -> None:
    session = call.session
    dataset, stand = await session.datasets.look(request.dataset_id)
    upload = dataset.origin
    if not isinstance(upload, Upload) or stand.status != "DRAFT":
        raise Status(Code.FAILED_PRECONDITION, _in_the_way(dataset, stand, validated=True))
    if upload.rows is None:
        text = f"dataset {dataset.id} has no rows yet; upload them to what GetUploadDraftUrl tells"
        raise Status(Code.FAILED_PRECONDITION, text)
    id_ = session.operations.fresh(session.seed, PREFIXES[VALIDATION], "operation", VALIDATION, dataset.id)
    timeline = default_timeline(VALIDATION)
    play = Play("", timeline=timeline.at_first_get() if session.immediate else timeline)
    account = call.account or session.account
    now = session.clock.now()
    record = session.operations.begin(id_, VALIDATION, now, account, play, folder=dataset.folder, dataset_id=dataset.id)
    upload.validate(record)
    call.entry.operation_id = id_
    response.CopyFrom(session.operations.message(record))


async def _preview(call: Call, request: Any, response: Any) -> None:
    dataset, stand = await call.session.datasets.look(request.dataset_id)
    content = await dataset.origin.lines()
    if content is None:
        answers = f"dataset {dataset.id} holds answers of a batch; download it to see them"
        text = answers if stand.status == "READY" else _in_the_way(dataset, stand)
        raise Status(Code.FAILED_PRECONDITION, text)
    response.dataset_id = dataset.id
    response.preview_lines.extend(await asyncio.to_thread(_first_lines, content))


def _first_lines(content: Content) -> list[str]:
    """The first lines as far as they go into a reply."""
    left = MOST_PREVIEWED
    found: list[str] = []
    with content.open() as file:
        while len(found) < PREVIEWED and (line := file.readline(left)):
            left -= len(line)
            if left <= 0:
                break
            found.append(line.decode("utf-8", "replace").removeprefix("\ufeff").strip())
    return found


async def _types(call: Call, request: Any, response: Any) -> None:
    response.types.extend(TASK_TYPES)


async def _formats(call: Call, request: Any, response: Any) -> None:
    response.formats.extend(FORMATS)


async def _schemas(call: Call, request: Any, response: Any) -> None:
    from ..rows.types import schema

    for name in [request.task_type] if request.task_type else TASK_TYPES:
        for upload_format in FORMATS:
            response.schemas.add(task_type=name, upload_format=upload_format, schema=schema(name))


async def _operations_ids(call: Call, request: Any, response: Any) -> None:
    session = call.session
    for id_ in request.dataset_id:
        origin = session.datasets.get(id_).origin
        record = origin.validation if isinstance(origin, Upload) else None
        if record is not None and record.id in session.operations:
            response.dataset_id_to_operation_id[id_] = record.id
