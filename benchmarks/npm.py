"""`npm`: mock servers of npm, which are made of grpc-js, beside the bare server and the emulator.

Where node and npm are at hand the packages are installed into a cache folder, with the ordinary client and without
running scripts of theirs; elsewhere the case is left out and says so.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import bare, questions, servers
from .bare import SERVICE
from .results import Figure
from .run import Asked, Run, under_load

PACKAGE, VERSION = "@alenon/grpc-mock-server", "3.2.9"
NAME = f"{PACKAGE} {VERSION}"
INSTALL = 300
"""Seconds that npm has for it."""

_PROTOS = Path(__file__).resolve().parent.parent / "protos"
_PROTO = "yandex/cloud/ai/foundation_models/v1/text_generation/text_generation_service.proto"
_SCRIPT = """
const fs = require('fs');
const { GrpcMockServer } = require('@alenon/grpc-mock-server');
const { ready, address, include, proto, reply, chunks } = JSON.parse(process.argv[2]);
const Completion = (call) => {
  if (call.request.completion_options && call.request.completion_options.stream) chunks.forEach((c) => call.write(c));
  else call.write(reply);
  call.end();
};
const options = { includeDirs: include, keepCase: true, longs: String, enums: String, defaults: false };
const server = new GrpcMockServer(address);
server.addService(proto, 'yandex.cloud.ai.foundation_models.v1', 'TextGenerationService', { Completion }, options);
server.start().then(() => {
  fs.writeFileSync(ready + '.new', JSON.stringify({ grpc: address }));
  fs.renameSync(ready + '.new', ready);
});
"""


def measured(run: Run) -> list[Figure]:
    """Throughput and CPU, unary and streamed. Raises servers.Unavailable where npm, or the package, can't be had."""
    folder = installed(run.cache)
    whole, streamed = (tuple(questions.requests(questions.FIRST, stream=stream)) for stream in (False, True))
    rules = run.folder / "npm.yaml"
    rules.write_text(questions.streamed(), encoding="utf-8")
    with ExitStack() as stack:
        found: list[tuple[str, Any, str, str]] = [
            (servers.BARE, stack.enter_context(servers.bare(run.folder)), f"/{SERVICE}/One", f"/{SERVICE}/Stream"),
            (NAME, stack.enter_context(_serving(run.folder, folder)), questions.COMPLETION, questions.COMPLETION),
        ]
        for variant in run.variants:
            server = stack.enter_context(servers.emulator(run.folder, rules, variant))
            found.append((variant, server, questions.COMPLETION, questions.COMPLETION))
        figures: list[Figure] = []
        for row, at, requests, messages in (("unary", 2, whole, ""), ("20 chunks", 3, streamed, "chunks")):
            asked = [
                Asked(row, one[0], layout, one[1], str(one[at]), requests) for one in found for layout in run.layouts
            ]
            figures += under_load(run, "npm", asked, run.times(5), messages=messages)
    return figures


def installed(cache: Path) -> Path:
    """The folder where the package is, installed there unless it is already. Raises servers.Unavailable."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise servers.Unavailable("npm: node and npm are not at hand: no figures for mock servers of npm")
    folder = cache / "npm"
    package = folder / "node_modules" / PACKAGE / "package.json"
    if package.exists() and json.loads(package.read_text())["version"] == VERSION:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    try:
        done = subprocess.run([*command, f"{PACKAGE}@{VERSION}"], capture_output=True, text=True, timeout=INSTALL)
    except subprocess.TimeoutExpired:
        raise servers.Unavailable(f"npm: installing {PACKAGE} took more than {INSTALL} s") from None
    if done.returncode or not package.exists():
        said = done.stderr.strip().splitlines()[:1] or ["it said nothing"]
        raise servers.Unavailable(f"npm: {PACKAGE} can't be installed: {said[0][:200]}")
    return folder


def _serving(folder: Path, installed_in: Path) -> Any:
    import google.api

    script = installed_in / "mock.js"
    script.write_text(_SCRIPT)
    ready = folder / "ready-npm.json"
    common = Path(next(iter(google.api.__path__))).parents[1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    chunks = [_plain(bare.reply(n + 1)) for n in range(bare.CHUNKS)]
    given = {
        "ready": str(ready),
        "address": f"127.0.0.1:{port}",
        "include": [str(_PROTOS), str(common)],
        "proto": _PROTO,
        "reply": chunks[-1],
        "chunks": chunks,
    }
    return servers.serving(NAME, ["node", str(script), json.dumps(given)], ready)


def _plain(message: Any) -> dict[str, Any]:
    from google.protobuf import json_format

    return json_format.MessageToDict(message, preserving_proto_field_name=True)
