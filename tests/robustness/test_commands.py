"""Commands with odd arguments answer with a sentence and a status, never with a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from wire.client import Client, asking, eventually

from emulator import Emulator
from emulator.calls import METHODS_BY_CALL
from emulator.cli.commands import cli

from .frames import RawClient
from .requests_at_random import ODD_TEXTS, json_values, texts
from .soundness import looking

ROOT = Path(__file__).parents[2]
SLOW = """
rules:
  - reply:
      text: раз два три четыре пять шесть семь восемь девять десять
      stream: {words: 1, every: 100ms}
  - {name: never, when: {question: вечно}, priority: 1, reply: {delay: 1h, text: a}}
"""


def run(*args: str, stdin: str | bytes = b"", **environment: str) -> Result:
    """What the command says; that it ends of itself, without a traceback, is held here."""
    result = CliRunner().invoke(cli, [*args], input=stdin, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(
            f"fm-emulator {' '.join(map(ascii, args))} raises {result.exception!r}"
        ) from result.exception
    assert "Traceback" not in result.output
    if result.exit_code:
        assert result.output.strip(), "it fails without a word"
    return result


# -- try


def test_any_text_can_be_tried() -> None:
    flags = st.lists(
        st.sampled_from(
            [
                ["--stream"],
                ["--strict"],
                ["--lenient"],
                ["--call", "generate_image"],
                ["--call", "completion_batch"],
                ["--call", "completion_async"],
                ["--call", "tokenize"],
                ["--call", "tokenize_completion"],
                ["--call", "text_embedding", "--dim", "3"],
                ["--call", "classify"],
                ["--call", "few_shot_classify", "--label", "a", "--label", "б"],
                ["--repeat", "2"],
            ]
        ),
        max_size=2,
    )

    @looking(30)
    @given(st.one_of(texts, st.sampled_from(ODD_TEXTS)), flags, texts, texts, texts)
    def holds(question: str, chosen: list[list[str]], model: str, folder: str, system: str) -> None:
        run("try", *(part for flag in chosen for part in flag), "--", question)
        run("try", f"--model={model}", f"--folder={folder}", f"--system={system}", "--lenient", "--", question)
        run("try", "--metadata", question, "--metadata", f"a={system}", "hi")

    holds()


def test_any_json_can_be_tried_as_a_request(tmp_path: Path) -> None:
    @looking(60)
    @given(json_values, st.sampled_from(sorted(METHODS_BY_CALL)))
    def holds(value: Any, call: str) -> None:
        run("try", "--request", "-", "--call", call, stdin=json.dumps(value))
        run("try", "--request", "-", "--call", call, "--lenient", stdin=json.dumps({"messages": value, "tools": value}))

    holds()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"1e999",
        b"NaN",
        b"[" * 100_000,
        b'{"a":' * 5000,
        b'{"modelUri": "\\ud800"}',
        b'{"messages": [{"text": "\\ud800"}]}',
        b"\0" * 10,
    ],
    ids=lambda r: repr(r[:20]),
)
def test_what_is_no_request_is_refused_in_a_sentence(raw: bytes) -> None:
    assert run("try", "--request", "-", stdin=raw).exit_code == 1


def test_a_text_that_is_not_unicode_is_refused_in_a_sentence() -> None:
    for args in (
        ["try", "\udcff"],
        ["try", "--system", "\udcff", "a"],
        ["try", "--folder", "\udcff", "a"],
        ["try", "--metadata", "a=\udcff", "a"],
        ["explain", "\udcff"],
    ):
        run(*args)


@pytest.mark.parametrize(
    "args",
    [
        ["--request", "/"],
        ["--request", "/none"],
        ["--fixtures", "/none"],
        ["--fixtures", "/dev/null"],
        ["--fixtures", ""],
        ["--fixtures", "a" * 300],
        ["--fixtures", "a/" * 3000],
        ["--seed", "9" * 80],
        ["--seed", "x"],
        ["--repeat", "0"],
        ["--call", "x"],
        ["--metadata", "x"],
        ["--metadata", "=x"],
        ["--nonsense"],
    ],
    ids=lambda a: " ".join(a)[:30],
)
def test_odd_arguments_of_try_are_told_or_taken(args: list[str]) -> None:
    run("try", *args, "hi")


# -- check


@pytest.mark.parametrize(
    "path",
    ["/none", "", "/dev/null", "a" * 300, "a/" * 3000, "/proc/self/mem", "/etc/shadow/x", "\udcff", "~"],
    ids=lambda p: ascii(p)[:20],
)
def test_odd_paths_are_told_or_taken(path: str) -> None:
    run("check", path)


def test_a_folder_of_odd_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "nowhere.yaml").symlink_to(tmp_path / "none")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "line\nbreak.yaml").write_text("rules: 1")
    (tmp_path / "big.yaml").write_bytes(b"a" * 10_000_001)
    result = run("check", str(tmp_path))
    assert result.exit_code == 1


def test_one_file_given_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules: [{name: a, reply: {text: a}}]")
    assert run("check", str(tmp_path), str(tmp_path / "a.yaml"), f"{tmp_path}/../{tmp_path.name}/a.yaml").exit_code == 0


# -- init, explain, healthcheck, schema


@pytest.mark.parametrize(
    "path", ["/proc/none/a.yaml", "/dev/null/a", "a" * 300, "/dev/full", "\udcff" * 300], ids=lambda p: ascii(p)[:20]
)
def test_init_says_where_it_cannot_write(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", path, *(["--force"] if path == "/dev/full" else [])).exit_code == (2 if "\udcff" in path else 1)


TARGETS = [
    "",
    ":",
    "x",
    "127.0.0.1:1",
    "http://localhost:1",
    "unix:/none",
    "dns:///x.invalid:1",
    "[::1",
    "a b:1",
    "127.0.0.1:99999",
    "127.0.0.1:-1",
    "\udcff:1",
    "ipv4:",
    "xds:///a",
    "%",
    "localhost:abc",
]


@pytest.mark.parametrize("target", TARGETS, ids=ascii)
def test_a_target_where_nothing_answers_is_told(target: str) -> None:
    wanted = 2 if "\udcff" in target else 1  # what is not text is refused before anything is tried
    assert run("healthcheck", "--timeout", "1", "--target", target).exit_code == wanted


@pytest.mark.parametrize("timeout", ["-1", "0", "nan", "inf", "1e300", "x", "1e-9"])
def test_any_timeout_of_healthcheck_is_told_or_taken(timeout: str) -> None:
    run("healthcheck", "--timeout", timeout, "--target", "127.0.0.1:1")


def test_explain_of_any_id_is_told() -> None:
    with Emulator() as emulator, Client(emulator.target) as client:
        client.complete(asking("hi"))
        for call in ("", "c1", "c2", "x" * 10_000, "привет\0", "-5", "{{ x }}"):
            run("explain", "--target", emulator.target, "--", call)


def test_a_target_that_speaks_no_grpc_is_told() -> None:
    import socket

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        assert run("healthcheck", "--timeout", "1", "--target", f"127.0.0.1:{server.getsockname()[1]}").exit_code == 1


# -- serve


class Serving:
    """`fm-emulator serve` as a process; its log is in a file."""

    def __init__(self, folder: Path, *args: str, **environment: str) -> None:
        self.ready = folder / "ready.json"
        self._log = folder / "log"
        command = [sys.executable, "-m", "emulator", "serve", "--port", "0", "--ready-file", str(self.ready), *args]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stderr=log, stdout=log, env={**os.environ, **environment}, cwd=folder
            )

    def target(self) -> str:
        eventually(lambda: self.ready.exists() or self.process.poll() is not None, within=20)
        assert self.process.poll() is None, self.log()
        return str(json.loads(self.ready.read_text())["grpc"])

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ends(self, within: float) -> int:
        """Its exit status; that the log holds no traceback is checked here."""
        status = self.process.wait(within)
        assert "Traceback" not in self.log(), self.log()
        return status


Serve = Callable[..., Serving]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(*args: str, **environment: str) -> Serving:
            process = Serving(tmp_path, *args, **environment)
            stack.callback(process.process.wait)
            stack.callback(process.process.kill)
            return process

        yield start


@pytest.fixture
def slow(tmp_path: Path) -> str:
    file = tmp_path / "slow.yaml"
    file.write_text(SLOW, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_streams_end_and_then_ends_with_status_0(serving: Serve, slow: str, number: int) -> None:
    process = serving("--fixtures", slow)
    with Client(process.target()) as client:
        call = client.begin("TextGenerationService/Completion", asking("hi", stream=True))
        next(call)
        process.process.send_signal(number)
        assert len(list(call)) == 9
        assert call.code() is grpc.StatusCode.OK
    assert process.ends(10) == 0


def test_a_second_signal_ends_at_once(serving: Serve, slow: str) -> None:
    process = serving("--fixtures", slow)
    with Client(process.target()) as client:
        call = client.begin("TextGenerationService/Completion", asking("hi", stream=True))
        next(call)
        began = time.monotonic()
        process.process.terminate()
        eventually(lambda: "stopping" in process.log())
        process.process.terminate()
        assert process.ends(3) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 3


@pytest.mark.slow
def test_a_call_that_waits_an_hour_does_not_keep_it_from_ending(serving: Serve, slow: str) -> None:
    process = serving("--fixtures", slow)
    with Client(process.target()) as client:
        call = client.begin("TextGenerationService/Completion", asking("вечно"), timeout=30)
        eventually(lambda: client.call("Health/Check", b"").code == "OK")
        process.process.terminate()
        assert process.ends(9) == 0
        assert call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@pytest.mark.slow
def test_clients_that_never_read_or_only_listen_do_not_keep_it_from_ending(serving: Serve, slow: str) -> None:
    process = serving("--fixtures", slow)
    target = process.target()
    silent, noisy = RawClient(target, window=1), RawClient(target)
    silent.begin(
        "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion",
        [asking("a", stream=True).SerializeToString()],
    )
    noisy.begin("/grpc.health.v1.Health/Watch", [b""])
    next(noisy.frames())
    process.process.terminate()
    assert process.ends(9) == 0
    silent.close()
    noisy.close()


def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    with Emulator() as emulator:
        result = run("serve", "--port", str(emulator.port))
    assert result.exit_code == 1
    assert f"port {emulator.port or ''}".strip() in result.output
    assert "taken" in result.output
    assert len(result.output.splitlines()) <= 2


@pytest.mark.parametrize(
    ("args", "environment"),
    [
        (["--ready-file", "/none/there/ready"], {}),
        (["--ready-file", "/"], {}),
        (["--ready-file", "/dev/null/x"], {}),
        (["--ready-file", "a" * 300], {}),
        (["--fixtures", "/none"], {}),
        (["--host", "8.8.8.8"], {}),
        (["--host", "a..b"], {}),
        (["--host", ""], {}),
        (["--host", "a" * 300], {}),
        (["--host", "\udcff"], {}),
        (["--seed", "x"], {}),
        (["--speed", "nan"], {}),
        (["--speed", "0"], {}),
        (["--speed", "inf"], {}),
        (["--now", "yesterday"], {}),
        (["--now", "99999-01-01"], {}),
        (["--now", "0001-01-01"], {}),
        (["--now", "9999-12-31T23:59:59-23:59"], {}),
        (["--now", "5"], {}),
        (["--advertise", "x"], {}),
        (["--advertise", "x:0"], {}),
        (["--http-port", "70000"], {}),
        (["--advertise-http", "x"], {}),
        (["--port", "70000"], {}),
        (["--log-level", "loud"], {}),
        (["extra"], {}),
        (["--nonsense"], {}),
        ([], {"FM_EMULATOR_PORT": "abc"}),
        ([], {"FM_EMULATOR_PORT": "-1"}),
        ([], {"FM_EMULATOR_SPEED": "fast"}),
        ([], {"FM_EMULATOR_STRICT": "perhaps"}),
        ([], {"FM_EMULATOR_NOW": "12:30"}),
        ([], {"FM_EMULATOR_LOG_FORMAT": "xml"}),
        ([], {"FM_EMULATOR_FIXTURES": "/none:/neither"}),
    ],
    ids=lambda v: ascii(v)[:50],
)
def test_what_makes_no_sense_ends_serve_with_a_sentence(args: list[str], environment: dict[str, str]) -> None:
    if "--port" not in args and "FM_EMULATOR_PORT" not in environment:
        args = ["--port", "0", *args]
    result = run("serve", *args, **environment)
    assert result.exit_code in (1, 2), result.output


def test_broken_fixtures_end_serve_with_a_line_for_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules:\n  - repli: {text: a}\n  - reply: {strem: 1}\n")
    (tmp_path / "b.yaml").write_text("rules: [")
    result = run("serve", "--port", "0", "--fixtures", str(tmp_path))
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert len([line for line in lines if line.startswith(str(tmp_path / "a.yaml:"))]) >= 2
    assert any(line.startswith(str(tmp_path / "b.yaml:")) for line in lines)


@pytest.mark.parametrize("host", ["0.0.0.0", "::1"])
def test_the_address_in_the_ready_file_can_be_called(serving: Serve, host: str) -> None:
    process = serving("--host", host)
    assert run("healthcheck", "--target", process.target()).exit_code == 0
    process.process.terminate()
    assert process.ends(9) == 0
