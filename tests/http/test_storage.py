"""Object storage over HTTP: what holders of presigned URLs may do, and how everything else is refused."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from wire.client import Client, eventually
from wire.datasets import Datasets, error, lines, put

from emulator import Emulator

if TYPE_CHECKING:
    from conftest import Connect, Serve

NOON = "2026-01-31T12:00:00Z"
MIB = 1 << 20
Begin = Callable[..., Datasets]


@pytest.fixture
def begin(serve: Serve, connect: Connect) -> Begin:
    """`begin(**options)` gives the datasets of a new emulator whose clock stands at noon."""

    def begun(**options: Any) -> Datasets:
        emulator = serve((), **{"now": NOON, "frozen": True, **options})
        return Datasets(emulator, connect(emulator))

    return begun


def files(datasets: Datasets) -> list[Path]:
    """What the emulator has on its disk."""
    folder = datasets.emulator.sessions.default.datasets.store._folder
    return folder.files() if folder is not None else []


# -- uploads


def test_a_body_of_another_size_than_declared_is_refused(begin: Begin) -> None:
    datasets = begin()
    url = datasets.upload_url(datasets.create(), 5)
    status, code, message = error(put(url, b"123456"))
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert message.endswith("The URL was signed for a body of 5 bytes; one of 6 came.")
    assert put(url, b"12345").status_code == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda url: url.partition("?")[0], "AccessDenied"),
        (lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"), "SignatureDoesNotMatch"),
        (lambda url: url.replace("X-Amz-Expires=86399", "X-Amz-Expires=9999999"), "SignatureDoesNotMatch"),
        (lambda url: url.replace("content-length%3Bhost", "host"), "SignatureDoesNotMatch"),
        (lambda url: re.sub("fds[0-9a-v]{17}", "fds00000000000000000", url), "SignatureDoesNotMatch"),
        (lambda url: url + "&x=1", "SignatureDoesNotMatch"),
    ],
)
def test_only_the_url_that_was_told_opens_anything(begin: Begin, change: Callable[[str], str], code: str) -> None:
    datasets = begin()
    url = datasets.upload_url(datasets.create(), 5)
    assert error(put(change(url), b"12345"))[:2] == (403, code)
    assert put(url, b"12345").status_code == 200


def test_a_url_expires_on_the_clock_of_the_story(begin: Begin) -> None:
    datasets = begin()
    url = datasets.upload_url(datasets.create(), 5)
    datasets.emulator.clock.advance("86399s")
    assert put(url, b"12345").status_code == 200
    datasets.emulator.clock.advance("1s")
    response = put(url, b"12345")
    assert error(response) == (403, "AccessDenied", "Request has expired")
    assert "<X-Amz-Expires>86399</X-Amz-Expires><Expires>2026-02-01T11:59:59Z</Expires>" in response.text


def test_a_body_without_a_length_is_refused(begin: Begin) -> None:
    datasets = begin()
    url = datasets.upload_url(datasets.create(), 5)
    assert error(put(url, iter([b"12345"]))) == (
        411,
        "MissingContentLength",
        "You must provide the Content-Length HTTP header.",
    )


def test_other_methods_are_refused(begin: Begin) -> None:
    datasets = begin()
    url = datasets.upload_url(datasets.create(), 5)
    assert error(httpx.post(url, content=b"12345"))[:2] == (405, "MethodNotAllowed")
    assert error(httpx.delete(url))[:2] == (405, "MethodNotAllowed")
    assert error(put(datasets.download_url(datasets.ready("раз")), b"x"))[:2] == (405, "MethodNotAllowed")


def test_what_is_no_url_of_ours_gets_a_sentence(begin: Begin) -> None:
    datasets = begin()
    response = httpx.get(f"http://{datasets.emulator.http_target}/models")
    assert response.status_code == 404
    assert response.text.startswith("nothing is served at /models: HTTP is for the URLs that DatasetService tells")


def test_a_dataset_that_is_gone_or_fixed_takes_no_body(begin: Begin) -> None:
    datasets = begin()
    id_ = datasets.create()
    url = datasets.upload_url(id_, 5)
    datasets.ask("Delete", dataset_id=id_)
    assert error(put(url, b"12345"))[:2] == (404, "NoSuchKey")
    body = lines("раз")
    other = datasets.create()
    url = datasets.upload_url(other, len(body))
    assert put(url, body).status_code == 200
    datasets.validate(other)
    status, code, message = error(put(url, body))
    assert (status, code) == (409, "OperationAborted")
    assert message.endswith(f"dataset {other} is VALIDATING.")


def test_a_second_body_takes_the_place_of_the_first(begin: Begin) -> None:
    datasets = begin()
    id_ = datasets.create()
    datasets.upload(id_, lines("раз", "два"))
    datasets.upload(id_, lines("три"))
    datasets.validate(id_)
    datasets.emulator.clock.advance("3s")
    assert datasets.info(id_).rows == 1


def test_more_than_five_gigabytes_are_too_large(begin: Begin) -> None:
    datasets = begin(lenient=True)
    size = 5 * 1024**3 + 1
    url = httpx.URL(datasets.upload_url(datasets.create(), size))
    with socket.create_connection((url.host, url.port or 80)) as raw:
        raw.sendall(b"PUT %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (url.raw_path, size))
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_vanishes_leaves_nothing(begin: Begin) -> None:
    datasets = begin()
    id_ = datasets.create()
    url = httpx.URL(datasets.upload_url(id_, 4 * MIB))
    with socket.create_connection((url.host, url.port or 80)) as raw:
        raw.sendall(b"PUT %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (url.raw_path, 4 * MIB))
        raw.sendall(b"x" * (2 * MIB))
        eventually(lambda: files(datasets))
    eventually(lambda: not files(datasets))
    assert datasets.refused("Validate", dataset_id=id_).endswith("upload them to what GetUploadDraftUrl tells")


def test_a_disk_that_fails_is_an_internal_error_and_a_line_in_the_log(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Any, raw: bytes) -> None:
        raise OSError(5, "Input/output error")

    datasets = begin()
    id_ = datasets.create()
    url = datasets.upload_url(id_, 5)
    with monkeypatch.context() as patch:
        patch.setattr("emulator.content.Writer.write", full)
        status, code, message = error(put(url, b"12345"))
    assert (status, code) == (500, "InternalError")
    assert message.endswith("(Input/output error)")
    assert "Input/output error" in caplog.text
    assert put(url, b"12345").status_code == 200


def folders(root: Path) -> list[Path]:
    """What the emulator has in the temporary folder of the machine."""
    return sorted(root.glob("fm-emulator-*"))


def test_a_session_that_ends_in_the_middle_of_an_upload_leaves_nothing(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    emulator = serve(now=NOON, frozen=True)
    datasets = Datasets(emulator.session("a"), connect(emulator), [("x-emulator-session", "a")])  # type: ignore[arg-type]
    url = httpx.URL(datasets.upload_url(datasets.create(), 3 * MIB))
    with socket.create_connection((url.host, url.port or 80), timeout=20) as sock:
        head = f"PUT {url.raw_path.decode()} HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {3 * MIB}\r\n\r\n"
        sock.sendall(head.encode() + b"x" * 1000)
        eventually(lambda: emulator.sessions.get("a").holders == 1)  # type: ignore[union-attr]
        emulator.place.do(lambda: emulator.sessions.delete("a"))
        sock.sendall(b"x" * (3 * MIB - 1000))
        answer = sock.recv(4096)
    assert b" 404 " in answer
    assert b"NoSuchKey" in answer
    assert folders(tmp_path) == []


def test_an_upload_keeps_its_session_from_being_idle(serve: Serve, connect: Connect) -> None:
    emulator = serve(now=NOON, frozen=True, session_idle=1)
    datasets = Datasets(emulator.session("a"), connect(emulator), [("x-emulator-session", "a")])  # type: ignore[arg-type]
    url = httpx.URL(datasets.upload_url(datasets.create(), 2000))
    with socket.create_connection((url.host, url.port or 80), timeout=20) as sock:
        head = f"PUT {url.raw_path.decode()} HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 2000\r\n\r\n"
        sock.sendall(head.encode() + b"x" * 1000)
        eventually(lambda: emulator.sessions.get("a").holders == 1)  # type: ignore[union-attr]
        emulator.sessions.get("a").used -= 60  # type: ignore[union-attr]
        emulator.session("b")
        assert emulator.sessions.get("a") is not None
        sock.sendall(b"x" * 1000)
        assert b" 200 " in sock.recv(4096)


def test_forty_uploads_at_once_are_all_kept(begin: Begin) -> None:
    datasets = begin()
    bodies = [lines(f"вопрос {i} " + "слово " * 20_000 * (i % 3)) for i in range(40)]
    ids = [datasets.create() for _ in bodies]
    urls = [datasets.upload_url(id_, len(body)) for id_, body in zip(ids, bodies, strict=True)]
    with ThreadPoolExecutor(40) as pool:
        responses = list(pool.map(put, urls, bodies))
    for body, response in zip(bodies, responses, strict=True):
        assert response.status_code == 200
        assert response.headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
    for id_, body in zip(ids, bodies, strict=True):
        (line,) = datasets.ask("GetPreview", dataset_id=id_).preview_lines
        assert line == body.decode().strip()


# -- by parts


def parts_of(datasets: Datasets, id: str, bodies: list[bytes]) -> list[str]:
    told = datasets.ask("StartMultipartUploadDraft", dataset_id=id, size_bytes=sum(map(len, bodies)), parts=len(bodies))
    return list(told.multipart_upload_urls)


def test_parts_are_joined_in_order_whatever_order_they_came_in(begin: Begin) -> None:
    datasets = begin()
    row = lines("слово " * 1000)
    body = row * (2 * 6 * MIB // len(row))
    half = len(body) // 2 + 3  # in the middle of a row
    bodies = [body[:half], body[half:]]
    id_ = datasets.create()
    urls = parts_of(datasets, id_, bodies)
    etags = [put(url, part).headers["etag"] for url, part in reversed(list(zip(urls, bodies, strict=True)))][::-1]
    wrong = [
        ([{"part_num": 1, "etag": etags[0]}], "Parts must be 1 to 2, each once and in order"),
        ([{"part_num": 2, "etag": etags[1]}, {"part_num": 1, "etag": etags[0]}], "Parts must be 1 to 2"),
        ([{"part_num": 1, "etag": etags[1]}, {"part_num": 2, "etag": etags[1]}], "The ETag of part 1 is"),
    ]
    for parts, told in wrong:
        assert told in datasets.refused("FinishMultipartUploadDraft", dataset_id=id_, uploaded_parts=parts)
    given = [{"part_num": 1, "etag": etags[0]}, {"part_num": 2, "etag": etags[1].strip('"')}]
    assert datasets.ask("FinishMultipartUploadDraft", dataset_id=id_, uploaded_parts=given).dataset_id == id_
    assert len(files(datasets)) == 1
    assert error(put(urls[0], bodies[0]))[:2] == (404, "NoSuchUpload")
    datasets.validate(id_)
    datasets.emulator.clock.advance("3s")
    assert datasets.info(id_).rows == len(body) // len(row)


def test_a_part_that_was_not_uploaded_or_is_too_small_is_told(begin: Begin) -> None:
    datasets = begin()
    id_ = datasets.create()
    told = datasets.ask("StartMultipartUploadDraft", dataset_id=id_, size_bytes=10 * MIB, parts=2)
    small, last = told.multipart_upload_urls
    etag = put(small, b"1").headers["etag"]
    parts = [{"part_num": 1, "etag": etag}, {"part_num": 2, "etag": etag}]
    finish = "FinishMultipartUploadDraft"
    assert datasets.refused(finish, dataset_id=id_, uploaded_parts=parts) == (
        "INVALID_ARGUMENT: Validation error:\n"
        "uploaded_parts: Part 1 has 1 bytes; all but the last have at least 5242880"
    )
    assert put(small, b"1" * 5 * MIB).status_code == 200
    parts[0]["etag"] = hashlib.md5(b"1" * 5 * MIB).hexdigest()
    assert datasets.refused(finish, dataset_id=id_, uploaded_parts=parts).endswith("Part 2 was not uploaded")
    assert put(last, b"1").status_code == 200
    datasets.ask(finish, dataset_id=id_, uploaded_parts=parts)


def test_small_parts_are_fine_where_everything_is(begin: Begin) -> None:
    datasets = begin(lenient=True)
    id_ = datasets.create()
    bodies = [lines("раз"), lines("два"), lines("три")]
    etags = [put(url, body).headers["etag"] for url, body in zip(parts_of(datasets, id_, bodies), bodies, strict=True)]
    parts = [{"part_num": n, "etag": etag} for n, etag in enumerate(etags, 1)]
    datasets.ask("FinishMultipartUploadDraft", dataset_id=id_, uploaded_parts=parts)
    assert len(datasets.ask("GetPreview", dataset_id=id_).preview_lines) == 3


def test_a_new_upload_by_parts_ends_the_one_before(begin: Begin) -> None:
    datasets = begin()
    id_ = datasets.create()
    before, _ = parts_of(datasets, id_, [b"x" * 6 * MIB] * 2)
    assert put(before, b"x" * 6 * MIB).status_code == 200
    assert len(files(datasets)) == 1
    parts_of(datasets, id_, [b"x"])
    assert files(datasets) == []
    assert error(put(before, b"x"))[:2] == (404, "NoSuchUpload")


# -- downloads


def test_a_download_can_be_asked_for_in_ranges(begin: Begin) -> None:
    datasets = begin()
    url = datasets.download_url(datasets.ready("раз", "два"))
    whole = httpx.get(url)
    size = len(whole.content)
    assert whole.content[:4] == whole.content[-4:] == b"PAR1"
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["etag"] == f'"{hashlib.md5(whole.content).hexdigest()}"'
    head = httpx.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
    for asked, first, last in (("0-3", 0, 3), (f"{size - 4}-", size - 4, size - 1), ("-4", size - 4, size - 1)):
        part = httpx.get(url, headers={"Range": f"bytes={asked}"})
        assert part.status_code == 206
        assert part.content == whole.content[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    beyond = httpx.get(url, headers={"Range": f"bytes={size}-"})
    assert error(beyond) == (416, "InvalidRange", "The requested range is not satisfiable")


def test_a_download_url_is_good_for_nothing_else(begin: Begin) -> None:
    datasets = begin()
    id_ = datasets.ready("раз")
    url = datasets.download_url(id_)
    datasets.emulator.clock.advance("25h")
    assert error(httpx.get(url)) == (403, "AccessDenied", "Request has expired")
    url = datasets.download_url(id_)
    datasets.ask("Delete", dataset_id=id_)
    assert error(httpx.get(url))[:2] == (404, "NoSuchKey")


# -- the listener


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "Invalid character in Content-Length"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", "Got more than"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\x01\r\n\r\n", "Invalid header value"),
        (b"GET /?X-Amz-Signature=secret\xff HTTP/1.1\r\nHost: x\r\n\r\n", "Invalid char in url"),
        (b"GET / HTTP/1.1\r\nCookie: secret" + b"x" * 20_000 + b"\r\n\r\n", "Got more than"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "gRPC is served on the other port"),
    ],
)
def test_what_is_no_http_is_a_line_in_the_log(
    begin: Begin, caplog: pytest.LogCaptureFixture, raw: bytes, told: str
) -> None:
    target = begin().emulator.http_target
    assert target is not None
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(raw)
        peer.settimeout(5)
        assert b" 400 Bad Request" in peer.recv(1000)
    (record,) = [record for record in caplog.records if record.name.startswith("emulator.http")]
    assert record.levelname == "WARNING"
    assert record.exc_info is None
    assert record.getMessage().startswith("a request that is no HTTP/1.1: ")
    assert told in record.getMessage()
    assert "secret" not in record.getMessage()


def test_both_loopbacks_are_served_and_the_advertised_address_is_told(begin: Begin) -> None:
    datasets = begin(advertise_http="files.example:8443")
    url = datasets.upload_url(datasets.create(), 5)
    assert url.startswith("http://files.example:8443/ai-fomo-drafts-prod/")
    assert datasets.emulator.http_target is not None
    port = datasets.emulator.http_target.rpartition(":")[2]
    assert put(url.replace("files.example:8443", f"127.0.0.1:{port}"), b"12345").status_code == 200
    if socket.has_ipv6:
        assert put(url.replace("files.example:8443", f"[::1]:{port}"), b"12345").status_code == 200


def test_a_transfer_under_way_is_given_the_grace_and_then_ended(begin: Begin) -> None:
    datasets = begin()
    url = httpx.URL(datasets.upload_url(datasets.create(), 100))
    emulator: Emulator = datasets.emulator
    with socket.create_connection((url.host, url.port or 80)) as raw:
        raw.sendall(b"PUT %b HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" % url.raw_path)
        eventually(lambda: emulator._http is not None and emulator._http._under_way)
        with ThreadPoolExecutor(1) as pool:
            import asyncio

            assert emulator._thread is not None
            stopping = pool.submit(asyncio.run_coroutine_threadsafe(emulator.stop(5), emulator._thread._loop).result)
            raw.sendall(b"x" * 100)
            raw.settimeout(5)
            assert raw.recv(100).startswith(b"HTTP/1.1 200 ")
            stopping.result()


def test_a_large_upload_is_never_held_in_memory(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "emulator", "serve", "--port", "0", "--ready-file", str(ready)]
    command += ["--immediate", "--log-level", "warning"]
    with subprocess.Popen(command) as server:
        try:
            told = eventually(lambda: ready.exists() and httpx_json(ready), 20)
            _upload_fifty_megabytes(told["grpc"], server.pid)
        finally:
            server.terminate()


def httpx_json(path: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _upload_fifty_megabytes(target: str, pid: int) -> None:
    row = lines("слово " * 1000)
    body = row * (50 * MIB // len(row))
    with Client(target) as client:
        emulator: Any = None
        datasets = Datasets(emulator, client)
        datasets.upload(datasets.create(), lines("раз"))  # what HTTP itself takes
        before = _resident(pid)
        id_ = datasets.create()
        datasets.upload(id_, body)
        operation = datasets.validate(id_)
        assert datasets.operation(operation.id).done
        assert datasets.info(id_).rows == len(body) // len(row)
        assert _resident(pid) - before < 20 * MIB


def _resident(pid: int) -> int:
    """The most memory that the process ever had."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("only Linux tells")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024  # type: ignore[index]


# -- without the extras


@pytest.mark.parametrize(
    ("missing", "script", "told"),
    [
        (
            "aiohttp",
            "print(d.refused('GetUploadDraftUrl', dataset_id=d.create(), size_bytes=1))",
            "FAILED_PRECONDITION: datasets are uploaded and downloaded over HTTP, which needs aiohttp: "
            "pip install 'fm-emulator[http]'\n",
        ),
        (
            "pyarrow",
            "id = d.ready('q')\nprint(d.info(id).size_bytes == len(lines('q')))\n"
            "print(d.refused('GetDownloadUrls', dataset_id=id))",
            "True\nFAILED_PRECONDITION: datasets are downloaded as Parquet, which needs pyarrow: "
            "pip install 'fm-emulator[parquet]'\n",
        ),
    ],
)
def test_without_an_extra_it_says_what_to_install(missing: str, script: str, told: str) -> None:
    program = (
        f"import sys\nsys.modules[{missing!r}] = None\n"
        "from emulator import Emulator\nfrom wire.client import Client\nfrom wire.datasets import Datasets, lines\n"
        "with Emulator(frozen=True) as e, Client(e.target) as c:\n"
        "    d = Datasets(e, c)\n" + "".join(f"    {line}\n" for line in script.splitlines())
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == told, done.stderr


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files of a test's emulators lie in a folder of its own, and are gone with them."""
    import tempfile

    folder = tmp_path_factory.mktemp("store")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
