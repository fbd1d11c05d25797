"""Object storage at presigned URLs: where datasets are uploaded to, whole or by parts, and downloaded from.

Refusals are worded as object storage does, in its XML; what was signed and what came is added where that helps. Bodies
are written as they come and read as they go, never held whole.
"""

from __future__ import annotations

import asyncio
import datetime
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO
from xml.sax.saxutils import escape

from aiohttp import web

from ..clock import SECOND
from ..content import MOST_IN_MEMORY, Content, Full, Writer
from ..datasets import UPLOADABLE, Dataset, Upload
from ..errors import Status
from ..masking import SIGNATURE
from ..presigned import EXPIRES, SESSION, read, signature
from ..services.dataset import DRAFTS, STORED
from ..sessions import Session, Sessions

LARGEST = 5 * 1024**3
CHUNK = 256 * 1024
_ISO = "%Y-%m-%dT%H:%M:%SZ"

log = logging.getLogger("emulator.http")


class Refusal(Exception):
    """A request's end other than success: HTTP status, code and message, and further elements of its XML."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more

    def response(self, path: str, request_id: str) -> web.Response:
        """As object storage writes it."""
        elements = {"Code": self.code, "Message": self.message, "Resource": path, "RequestId": request_id, **self.more}
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
        return web.Response(status=self.status, text=text, content_type="application/xml")


class Storage:
    """`sessions` gives those that are there when a request comes."""

    def __init__(self, sessions: Callable[[], Sessions]) -> None:
        self._sessions = sessions
        self._requests = 0

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [web.route("*", f"/{bucket}/{{key:.*}}", self._answer) for bucket in (DRAFTS, STORED)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._requests += 1
        request_id = f"{self._requests:016x}"
        try:
            if request.path.startswith(f"/{DRAFTS}/"):
                return await self._put(request)
            return await self._get(request)
        except Refusal as refusal:
            if refusal.status >= 500:
                log.error("%s %s: %s", request.method, request.path, refusal.message)
            return refusal.response(request.path, request_id)

    # -- what may be done

    def _authorized(self, request: web.Request, method: str, size: int | None = None) -> Session:
        """The session whose URL this is. Raises Refusal."""
        query = list(request.query.items())
        found = dict(query)
        if SIGNATURE not in found:
            raise Refusal(403, "AccessDenied", "Access Denied")
        session = self._sessions().get(found.get(SESSION, ""))
        if session is None:
            raise Refusal(404, "NoSuchKey", f"The specified key does not exist: the session {found[SESSION]} is over")
        signed_size = size if "content-length" in found.get("X-Amz-SignedHeaders", "").split(";") else None
        expected = signature(session.seed, method, request.path, query, signed_size)
        if not hmac.compare_digest(expected.encode(), found[SIGNATURE].encode("utf-8", "replace")):
            raise self._mismatch(request, session, signed_size)
        begins = read(found["X-Amz-Date"])
        now = session.clock.now()
        ends = begins + EXPIRES * SECOND
        if now > ends:
            times = {"Expires": _iso(ends), "ServerTime": _iso(now)}
            raise Refusal(403, "AccessDenied", "Request has expired", **{"X-Amz-Expires": str(EXPIRES)}, **times)
        return session

    def _mismatch(self, request: web.Request, session: Session, size: int | None) -> Refusal:
        text = (
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method."
        )
        id_ = request.path.rpartition("/")[2]
        dataset = session.datasets.get(id_) if id_ in session.datasets else None
        upload = dataset.origin if dataset is not None else None
        if size is not None and isinstance(upload, Upload) and upload.declared not in (0, size):
            text += f" The URL was signed for a body of {upload.declared} bytes; one of {size} came."
        return Refusal(403, "SignatureDoesNotMatch", text)

    # -- uploads

    async def _put(self, request: web.Request) -> web.Response:
        if request.method != "PUT":
            raise _not_allowed(request, "PUT")
        size = request.content_length
        if size is None:
            raise Refusal(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        session = self._authorized(request, "PUT", size)
        with session.held():
            return await self._taken(request, session, size)

    async def _taken(self, request: web.Request, session: Session, size: int) -> web.Response:
        self._fits(size)
        self._upload(request, session)
        content = await self._written(request, session, size)
        try:
            upload = self._upload(request, session)  # it may have changed while the body came
        except Refusal:
            content.drop()
            raise
        if "uploadId" not in request.query:
            upload.take(content)
        elif upload.parts is not None:
            upload.parts.take(int(request.query["partNumber"]), content)
        return web.Response(headers={"ETag": f'"{content.md5}"'})

    def _upload(self, request: web.Request, session: Session) -> Upload:
        """What the body is for. Raises Refusal where it can't go there."""
        dataset = self._dataset(request.path.rpartition("/")[2], session)
        upload = dataset.origin
        stand = upload.stand(session.clock.now())
        status = stand.status if stand is not None else "gone"
        if not isinstance(upload, Upload) or status not in UPLOADABLE:
            text = f"A conflicting conditional operation is in progress: dataset {dataset.id} is {status}."
            raise Refusal(409, "OperationAborted", text)
        given = request.query.get("uploadId")
        if given is not None and (upload.parts is None or upload.parts.id != given):
            text = (
                "The specified multipart upload does not exist. The upload ID might be invalid, "
                "or the multipart upload might have been aborted or completed."
            )
            raise Refusal(404, "NoSuchUpload", text, UploadId=given)
        if given is not None and upload.parts is not None:
            self._fits(upload.parts.taken + (request.content_length or 0))
        return upload

    @staticmethod
    def _fits(size: int) -> None:
        if size > LARGEST:
            text = "Your proposed upload exceeds the maximum allowed size"
            raise Refusal(400, "EntityTooLarge", text, ProposedSize=str(size), MaxSizeAllowed=str(LARGEST))

    async def _written(self, request: web.Request, session: Session, size: int) -> Content:
        """The body, stored. Nothing stays of one that doesn't come whole."""
        writer = session.datasets.store.writer()
        try:
            async for chunk in request.content.iter_chunked(CHUNK):
                # Where the small ones are too many to stay in memory, a short write to the disk holds nobody up.
                if writer.size + len(chunk) <= MOST_IN_MEMORY:
                    writer.write(chunk)
                else:
                    await _in_thread(writer, chunk)
            if writer.size != size:
                text = "You did not provide the number of bytes specified by the Content-Length HTTP header"
                raise Refusal(400, "IncompleteBody", text)
            return writer.finish()
        except OSError as failed:
            writer.discard()
            if isinstance(failed, ConnectionError):
                raise
            self._dataset(request.path.rpartition("/")[2], session)  # its session may be over
            if isinstance(failed, Full):
                raise Refusal(507, "InsufficientStorage", str(failed.strerror)) from None
            text = f"We encountered an internal error. Please try again. ({failed.strerror or failed})"
            raise Refusal(500, "InternalError", text) from None
        except BaseException:
            writer.discard()
            raise

    # -- downloads

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise _not_allowed(request, "GET, HEAD")
        session = self._authorized(request, "GET")
        with session.held():
            return await self._given(request, session)

    async def _given(self, request: web.Request, session: Session) -> web.StreamResponse:
        dataset = self._dataset(request.path.split("/")[-2], session)
        try:
            content = await dataset.origin.file()
        except Status as refused:
            self._dataset(dataset.id, session)  # it may have been deleted meanwhile
            raise Refusal(500, "InternalError", refused.message) from None
        if content is None:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        first, last = _range(request, content.size)
        headers = {"ETag": f'"{content.md5}"', "Accept-Ranges": "bytes", "Content-Length": str(last - first)}
        partial = "Range" in request.headers
        if partial:
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{content.size}"
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        response.content_type = "application/octet-stream"
        try:
            file = content.open()
        except OSError:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.") from None
        with file:
            await response.prepare(request)
            if request.method == "GET":
                async for chunk in _chunks(file, first, last, content.path is not None):
                    await response.write(chunk)
            await response.write_eof()
        return response

    def _dataset(self, id: str, session: Session) -> Dataset:
        if id not in session.datasets:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.", Key=id)
        return session.datasets.get(id)


async def _in_thread(writer: Writer, chunk: bytes) -> None:
    """Write to the disk; whoever is cancelled meanwhile waits until the thread is done with the writer."""
    writing = asyncio.ensure_future(asyncio.to_thread(writer.write, chunk))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def _chunks(file: BinaryIO, first: int, last: int, on_disk: bool) -> AsyncIterator[bytes]:
    file.seek(first)
    while first < last:
        size = min(CHUNK, last - first)
        chunk = await asyncio.to_thread(file.read, size) if on_disk else file.read(size)
        if not chunk:
            return
        first += len(chunk)
        yield chunk


def _range(request: web.Request, size: int) -> tuple[int, int]:
    """From which byte up to which, not included. Raises Refusal for a range that can't be satisfied."""
    try:
        asked = request.http_range
    except ValueError:
        return 0, size  # what can't be read is no range, as HTTP has it
    first, last, _ = asked.indices(size)
    if "Range" in request.headers and first >= last:
        text = "The requested range is not satisfiable"
        raise Refusal(416, "InvalidRange", text, RangeRequested=request.headers["Range"], ActualObjectSize=str(size))
    return first, last


def _not_allowed(request: web.Request, allowed: str) -> Refusal:
    text = f"The specified method is not allowed against this resource. Allowed here: {allowed}."
    return Refusal(405, "MethodNotAllowed", text, Method=request.method)


def _iso(instant: int) -> str:
    begun = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (begun + datetime.timedelta(seconds=instant // SECOND)).strftime(_ISO)
