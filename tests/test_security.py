"""What nobody may get at, and what nobody may do to an emulator: each promise by an attack on it.

Limits on templates and on YAML have their tests in `rules/`, the token of the control API in `wire/test_sessions.py`,
the image in `container/`.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner
from wire.client import Client, asking
from wire.control import Controller
from wire.datasets import Datasets, put

from emulator import Emulator, FixtureError
from emulator.cli.commands import cli
from emulator.engine.book import load
from emulator.rules.template import compile_template

if TYPE_CHECKING:
    from conftest import Connect, Serve

SECRET = "AQVNxyz-a-key-that-nobody-may-see"
TREASURE = "сокровище"
needs_linux = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="there is no /proc/net to look at")


# -- who can reach it


def listening(port: int) -> set[str]:
    """The addresses, as Linux writes them, on which somebody listens at a port."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, its = local.partition(":")
            if state == "0A" and int(its, 16) == port:
                found.add(address)
    return found


@needs_linux
def test_unless_told_otherwise_it_listens_on_loopback_alone(serve: Serve) -> None:
    emulator = serve(tls=True, metrics=True)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    for port in (emulator.port, emulator.http_port, emulator.tls_port):
        assert port
        assert listening(port)
        assert listening(port) <= loopback
    assert not listening(serve(host="0.0.0.0").port) <= loopback


def test_the_token_is_compared_in_constant_time(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []
    real: Callable[[Any, Any], bool] = hmac.compare_digest

    def noting(one: Any, other: Any) -> bool:
        compared.append(bytes(one))
        return real(one, other)

    client = connect(serve(token="token-of-mine"))
    monkeypatch.setattr(hmac, "compare_digest", noting)
    assert Controller(client, token="token-of-mime").ask("Info").code == "UNAUTHENTICATED"
    assert b"token-of-mime" in compared


# -- files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fixtures beside what is none of theirs: a file and a folder with one, with links to them among the fixtures."""
    outside, inside = tmp_path / "outside", tmp_path / "fixtures"
    outside.mkdir()
    inside.mkdir()
    (outside / "treasure.txt").write_text(TREASURE, "utf-8")
    (outside / "treasure.yaml").write_text(f"rules: [{{reply: {{text: {TREASURE}}}}}]", "utf-8")
    (inside / "linked.txt").symlink_to(outside / "treasure.txt")
    (inside / "relative.txt").symlink_to("../outside/treasure.txt")
    (inside / "twice.txt").symlink_to("linked.txt")
    (inside / "sub").symlink_to(outside)
    return inside


WAYS = {
    "text": "rules: [{reply: {text: {file: %s}}}]",
    "picture": "rules: [{call: generate_image, reply: {image: %s}}]",
    "rows": "datasets: {questions: {file: %s}}",
    "key": "auth: {service_accounts: [{id: aje1, public_key: {file: %s}}]}",
}
PLACES = (
    "../outside/treasure.txt",
    "linked.txt",
    "relative.txt",
    "twice.txt",
    "sub/treasure.txt",
    "sub/../../outside/treasure.txt",
    "./sub/./treasure.txt",
    "{outside}",
    "/proc/self/environ",
    "/dev/zero",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_no_file_outside_the_folder_is_read(folder: Path, way: str, place: str) -> None:
    place = place.format(outside=folder.parent / "outside" / "treasure.txt")
    (folder / "a.yaml").write_text(WAYS[way] % json.dumps(place), "utf-8")
    with pytest.raises(FixtureError) as refused:
        load([folder])
    told = [str(mistake) for mistake in refused.value.mistakes]
    assert any("outside the fixtures' folder" in mistake for mistake in told), told
    assert TREASURE not in "".join(told)


@pytest.mark.parametrize("way", WAYS)
def test_none_is_read_for_who_sends_rules_over_the_control_api(
    serve: Serve, connect: Connect, folder: Path, way: str
) -> None:
    client = connect(serve(str(folder) if not list(folder.glob("*.yaml")) else ()))
    for place in ("../outside/treasure.txt", str(folder.parent / "outside" / "treasure.txt"), "linked.txt"):
        files = {"a.yaml": (WAYS[way] % json.dumps(place)).encode()}
        reply = Controller(client).ask("AddRules", fixtures={"files": files})
        assert reply.code == "INVALID_ARGUMENT"
        assert TREASURE not in reply.text


def test_a_linked_file_of_rules_and_a_linked_folder_of_them_are_left_out(folder: Path) -> None:
    (folder / "a.yaml").write_text("rules: [{name: ours, reply: {text: a}}]", "utf-8")
    assert [rule.name for rule in load([folder]).rules] == ["ours"]
    (folder / "b.yaml").symlink_to(folder.parent / "outside" / "treasure.yaml")
    with pytest.raises(FixtureError, match=r"b\.yaml: it is a link to outside the fixtures' folder"):
        load([folder])


def test_links_of_a_mounted_config_map_are_followed(tmp_path: Path) -> None:
    version = tmp_path / "..2026_01_31"
    version.mkdir()
    (version / "a.yaml").write_text("rules: [{reply: {text: {file: letter.txt}}}]", "utf-8")
    (version / "letter.txt").write_text("письмо", "utf-8")
    (tmp_path / "..data").symlink_to(version.name)
    for name in ("a.yaml", "letter.txt"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert len(load([tmp_path]).rules) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_among_fixtures_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    os.mkfifo(tmp_path / "letter.txt")
    (tmp_path / "b.yaml").write_text("rules: [{reply: {text: {file: letter.txt}}}]", "utf-8")
    with pytest.raises(FixtureError) as refused:
        load([tmp_path])
    told = [str(mistake) for mistake in refused.value.mistakes]
    assert [("not a file" in mistake) for mistake in told] == [True, True]


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
BOMBS = {
    "aliases": LAUGHS,
    "an alias in itself": "rules: &a [{reply: {json: *a}}]",
    "depth": "rules: " + "[" * 200_000,
    "depth in blocks": "\n".join(" " * n + "a:" for n in range(2000)),
    "depth of mappings": "{a: " * 100_000,
    "a number": "rules: [{times: " + "9" * 5_000_000 + "}]",
    "a number with an exponent": "rules: [{times: 1e999999999}]",
    "a number in sixties": "rules: [{times: " + "1:" * 100_000 + "1}]",
    "a name": "? " + "a" * 2_000_000,
    "a merge": "a: &a {b: 1}\nrules: [{<<: *a}]",
    "a tag": "rules: !!python/object/apply:os.system [id]",
    "a tag of its own": "%TAG ! tag:yaml.org,2002:python/\n---\nrules: !object/new:os.system [id]",
    "documents": "---\n" * 100_000,
    "anchors": "".join(f"- &a{n} x\n" for n in range(200_000)),
    "a duration": "rules: [{reply: {text: a, delay: " + "9" * 4000 + "h}}]",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_yaml_bomb_is_refused_with_its_place_in_little_memory(tmp_path: Path, bomb: str) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(BOMBS[bomb], "utf-8")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    run = "from emulator.cli import main; import sys; sys.argv[:] = ['fm-emulator', 'check', sys.argv[1]]; main()"
    done = subprocess.run([sys.executable, "-c", limited + run, str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith(f"{file}:"), done.stderr[:1000]
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 20_000


# -- templates

ESCAPES = (
    "{{ question.__class__.__mro__ }}",
    "{{ question['__class__'] }}",
    "{{ question | attr('__class__') }}",
    "{{ [question] | map(attribute='__class__') | list }}",
    "{{ [question] | map('attr', '__class__') | list }}",
    "{{ [question] | groupby('__class__') }}",
    "{{ [question] | sort(attribute='__class__.__name__') }}",
    "{{ [question] | selectattr('__class__') | list }}",
    "{{ [question] | sum(attribute='__len__') }}",
    "{{ [question] | unique(attribute='__class__') | list }}",
    "{{ '{0.__class__}'.format(question) }}",
    "{{ '{0.__class__}' | format(question) ~ question.format }}",
    "{{ '%s' % question.__class__ }}",
    "{{ question.format_map({}) }}",
    "{{ question.encode().decode }}",
    "{{ range.__self__ }}{{ dict.__base__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace(a=1).__class__ }}",
    "{{ dict(a=1).__init__ }}",
    "{{ self.__init__ }}",
    "{% for a in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for a in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% macro m() %}{{ m.__globals__ }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller._func }}{% endmacro %}{% call m() %}{% endcall %}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner() }}{{ lipsum() }}",
    "{{ config }}{{ request.application }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends question %}",
    "{{ ''['join'].__func__ }}",
    "{{ (question).translate }}",
    "{{ 1 .__class__ }}{{ 1.5.hex }}",
)


@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_gets_at_python(source: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        compile_template(source, frozenset({"question"})).render({"question": "привет"})


# -- secrets

CREDENTIALS = [
    ("authorization", f"Api-Key {SECRET}"),
    ("x-api-key", SECRET),
    ("x-auth-token", SECRET),
    ("x-yacloud-subjecttoken", SECRET),
    ("cookie", f"session={SECRET}"),
    ("proxy-authorization", f"Basic {SECRET}"),
    ("x-emulator-token", SECRET),
]
ON_CREDENTIALS = {
    "rules": [
        {"name": f"by-{key}-{n}", "when": {"metadata": {key: condition}}, "reply": {"text": "a"}}
        for key, _ in CREDENTIALS
        for n, condition in enumerate(
            (
                "Api-Key other",
                {"matches": "^other$"},
                {"any": [{"contains": "other"}, {"glob": "x*"}]},
                {"present": False},
                {"not": {"contains": "a-key"}},
            )
        )
    ]
}


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What the emulator has logged, and nobody else."""
    records = (record for record in caplog.records if record.name.startswith("emulator"))
    return "\n".join(record.getMessage() + str(record.__dict__.get("fields")) for record in records)


def places(emulator: Emulator, client: Client) -> dict[str, str]:
    """Everything that an emulator tells of its calls, by where."""
    commands = ("explain", "calls --messages", "calls --json --messages", "verify --strict", "info", "info --json")
    where = ("--target", emulator.target, "--token", SECRET)
    told = {command: CliRunner().invoke(cli, [*command.split(), *where]).output for command in commands}
    told["recorded"] = repr([(call, call.metadata, call.message, call.behaviour) for call in emulator.calls()])
    told["snapshot"] = emulator.snapshot().decode()
    watched = Controller(client, token=SECRET).watch(past=True)
    told["watch"] = str(next(iter(watched)))
    shown = {"Authorization": f"Bearer {SECRET}"}
    told["metrics"] = httpx.get(f"http://{emulator.http_target}/metrics", headers=shown).text
    return told


def test_what_was_shown_as_a_credential_is_nowhere_to_be_read(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "emulator")
    emulator = serve(ON_CREDENTIALS, strict=True, token=SECRET, metrics=True)
    client = connect(emulator)
    reply = client.complete(asking("привет"), metadata=CREDENTIALS)
    assert reply.code == "FAILED_PRECONDITION"
    assert "metadata." in reply.text
    assert SECRET not in repr(reply)
    for place, told in places(emulator, client).items():
        assert told, place
        assert SECRET not in told, place
    assert SECRET not in logged(caplog)


def test_what_a_url_was_signed_with_is_not_logged(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "emulator")
    emulator = serve()
    datasets = Datasets(emulator, connect(emulator))
    url = datasets.upload_url(datasets.create(), 5)
    signature = httpx.URL(url).params["X-Amz-Signature"]
    assert put(url, b"12345").status_code == 200
    assert put(url.replace(signature, "0" * 64), b"12345").status_code == 403
    assert "PUT /ai-fomo-drafts-prod/" in logged(caplog)
    assert signature not in logged(caplog)
    assert "X-Amz" not in logged(caplog)


def test_what_a_url_was_signed_with_is_masked_in_the_journal(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    datasets = Datasets(emulator, client)
    id_ = datasets.create()
    url = datasets.upload_url(id_, 5)
    signature = httpx.URL(url).params["X-Amz-Signature"]
    kept = emulator.calls()[-1].replies[0].upload_url
    assert kept == url.replace(signature, f"{signature[:4]}****")
    told = datasets.ask("StartMultipartUploadDraft", dataset_id=id_, size_bytes=10 << 20, parts=2)
    signatures = [signature, *(httpx.URL(url).params["X-Amz-Signature"] for url in told.multipart_upload_urls)]
    assert len(set(signatures)) == 3
    for place, read in places(emulator, client).items():
        assert not [one for one in signatures if one in read], place


def test_an_address_that_is_none_of_ours_is_refused_in_a_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    refused = Emulator(host="192.0.2.1", port=port)
    with pytest.raises(Exception, match=r"192\.0\.2\.1"):
        refused.__enter__()
