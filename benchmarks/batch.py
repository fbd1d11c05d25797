"""`batch`: a large dataset through a batch, and what other calls notice of it: time of each step, peak memory, latency.

The latency of unary completions, one at a time, is measured before, and then during each step; their ratio is what to
compare. Memory is the resident set of the server and of the processes that it starts, sampled every 20 ms.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pyarrow.parquet as pq

from emulator.api import METHODS, CompletionRequest, message_class

from . import servers
from .results import LESS, MORE, Figure
from .run import Run

_DATASETS = "/yandex.cloud.ai.dataset.v1.DatasetService/"
_TASKS = "/yandex.cloud.ai.batch_inference.v1.BatchInferenceService/"
_FM = "/yandex.cloud.ai.foundation_models.v1."
FOLDER = "b1gbench"
MODEL = f"gpt://{FOLDER}/gemma-3-12b-it/latest"
RULES = """
rules:
  - name: weather
    when: {question: {word: [погод*]}}
    reply: {text: "Погода: {{ question }}"}
  - name: greeting
    when: {question: {contains: привет}}
    reply: {text: "Здравствуйте! Чем помочь?"}
  - name: every-thousandth
    call: batch_row
    when: {question: {contains: "ошибка"}}
    reply: {error: {code: INVALID_ARGUMENT, message: bad row}}
"""
QUESTIONS = ("Привет, как дела?", "Какая погода в городе сегодня?", "Расскажи о слонах и зебрах")


def figures(run: Run) -> list[Figure]:
    """Rows a second of a batch, memory, and the latency of other calls in each step beside that before."""
    found = measured(run.rows, run.folder)
    before, rows = found["steps"]["before"], f"{run.rows:,} rows"

    def figure(
        row: str, measure: str, unit: str, value: float, floor: float | None = None, better: str = LESS
    ) -> Figure:
        return Figure(
            "batch", row, servers.EMULATOR, measure, unit, better, (value,), () if floor is None else (floor,)
        )

    made = []
    for name, step in found["steps"].items():
        row = f"{rows}: {name}"
        made.append(figure(row, "time", "s", step["seconds"]))
        made += [figure(row, at, "ms", step[f"{at}_ms"], before[f"{at}_ms"]) for at in ("p50", "p99")]
        made.append(figure(row, "worst", "ms", step["worst_ms"]))
    made.append(figure(rows, "rows", "/s", run.rows / found["steps"]["batch"]["seconds"], better=MORE))
    made.append(figure(rows, "resident at most", "MB", found["server_peak_mb"], found["idle_mb"]))
    made.append(figure(rows, "and in processes beside", "MB", found["workers_peak_mb"]))
    return made


def measured(rows: int, folder: Path) -> dict[str, Any]:
    """The figures of one run: `steps` by name, each with seconds and latencies (ms); `peak_mb` of the server and of the
    largest of its processes.
    """
    source = folder / "rows.jsonl"
    _write(source, rows)
    with _serving(folder) as (process, target):
        channel = grpc.insecure_channel(target)
        memory, probe = _Memory(process.pid), _Probe(target)
        with memory, probe:
            _step(probe, "before", lambda: time.sleep(5))
            idle = memory.now()
            _run(_Client(channel), probe, source, folder, rows)
        channel.close()
    steps = {name: probe.figures(name) for name in probe.seconds}
    return {
        "rows": rows,
        "source_mb": source.stat().st_size / 1e6,
        "idle_mb": idle / 1e6,
        "server_peak_mb": memory.server / 1e6,
        "workers_peak_mb": memory.others / 1e6,
        "steps": steps,
    }


def _run(client: _Client, probe: _Probe, source: Path, folder: Path, rows: int) -> None:
    made = client(
        _DATASETS + "Create", folder_id=FOLDER, task_type="TextToTextGenerationRequest", upload_format="jsonlines"
    )
    id_ = made.dataset_id
    url = client(_DATASETS + "GetUploadDraftUrl", dataset_id=id_, size_bytes=source.stat().st_size).upload_url
    _step(probe, "upload", lambda: _put(url, source))
    _step(probe, "validate", lambda: _validated(client, id_))
    batch = client(_FM + "TextGenerationBatchService/Completion", model_uri=MODEL, source_dataset_id=id_)
    metadata = message_class("yandex.cloud.ai.foundation_models.v1.BatchCompletionMetadata")()
    batch.metadata.Unpack(metadata)
    task = _step(probe, "batch", lambda: _completed(client, metadata.task_id))
    urls = client(_DATASETS + "GetDownloadUrls", dataset_id=task.result_dataset_id).download_urls
    result = folder / "result.parquet"
    _step(probe, "download", lambda: _get(urls[0].url, result))
    assert pq.ParquetFile(result).metadata.num_rows == rows
    assert len(task.errors.line_errors) == min(1000, (rows + 999) // 1000)


def _validated(client: _Client, dataset_id: str) -> None:
    operation = client(_DATASETS + "Validate", dataset_id=dataset_id)
    while not operation.done:
        time.sleep(0.1)
        operation = client("/yandex.cloud.operation.OperationService/Get", operation_id=operation.id)
    assert operation.WhichOneof("result") == "response", operation


def _completed(client: _Client, task_id: str) -> Any:
    while True:
        task = client(_TASKS + "Describe", task_id=task_id).task
        if task.status == 4:
            return task
        assert task.status in (1, 2, 3), task
        time.sleep(0.1)


def _write(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for n in range(rows):
            text = f"ошибка {n}" if n % 1000 == 0 else f"{QUESTIONS[n % 3]} Строка {n}, ещё немного слов для веса."
            messages = [{"role": "system", "text": "Отвечай кратко."}, {"role": "user", "text": text}]
            file.write(json.dumps({"request": messages}, ensure_ascii=False) + "\n")


def _put(url: str, source: Path) -> None:
    with source.open("rb") as file:
        headers = {"Content-Length": str(source.stat().st_size)}
        request = urllib.request.Request(url, data=file, method="PUT", headers=headers)
        with urllib.request.urlopen(request, timeout=600) as response:
            assert response.status == 200


def _get(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=600) as response, path.open("wb") as file:
        while chunk := response.read(1 << 20):
            file.write(chunk)


class _Client:
    """Unary calls by path, with fields by name."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __call__(self, path: str, **fields: Any) -> Any:
        method = METHODS[path]
        call = self._channel.unary_unary(path, method.input.SerializeToString, method.output.FromString)
        return call(method.input(**fields), timeout=600)


class _Probe:
    """Unary completions one after another, in a thread; their latencies by the step that was under way."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.step = ""
        self.seconds: dict[str, float] = {}
        self.latencies: dict[str, list[float]] = {}

    def __enter__(self) -> _Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _work(self) -> None:
        with grpc.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            path = _FM + "TextGenerationService/Completion"
            call = channel.unary_unary(path, None, None)
            request = CompletionRequest(model_uri=f"gpt://{FOLDER}/yandexgpt/latest")
            request.messages.add(role="user", text="Привет!")
            raw = request.SerializeToString()
            while not self._ends.is_set():
                step, began = self.step, time.perf_counter()
                call(raw, timeout=60)
                self.latencies.setdefault(step, []).append((time.perf_counter() - began) * 1000)
                time.sleep(0.002)

    def figures(self, step: str) -> dict[str, float]:
        found = sorted(self.latencies.get(step, [float("nan")]))
        return {
            "seconds": self.seconds[step],
            "calls": len(found),
            "p50_ms": statistics.median(found),
            "p99_ms": found[min(len(found) - 1, len(found) * 99 // 100)],
            "worst_ms": found[-1],
        }


class _Memory:
    """The most resident bytes of a process (`server`), and of all that it starts together (`others`)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.server = self.others = 0

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def now(self) -> int:
        return _resident(self._pid)

    def _work(self) -> None:
        while not self._ends.wait(0.02):
            self.server = max(self.server, self.now())
            self.others = max(self.others, sum(map(_resident, _children(self._pid))))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        pass
    return found


def _step(probe: _Probe, name: str, work: Callable[[], Any]) -> Any:
    probe.step, began = name, time.perf_counter()
    try:
        return work()
    finally:
        probe.seconds[name] = time.perf_counter() - began
        probe.step = ""


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    ready = folder / "ready"
    command = [sys.executable, "-m", "emulator", "serve", "--port", "0", "--http-port", "0", "--log-level", "warning"]
    process = subprocess.Popen([*command, "--ready-file", str(ready), "--fixtures", str(folder / "rules.yaml")])
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield process, json.loads(ready.read_text())["grpc"]
    finally:
        process.terminate()
        process.wait()
