"""The guide's examples are run, and it is complete.

How a page is written so that its examples are tests:

- ` ```python ` with `def test_` in it: a test file, run by pytest with `-W error`;
- ` ```python ` or another block that begins with a comment `# client.py`: a file of that name beside the page's tests;
- any other ` ```python `: run as it stands, in a new folder, after those before it on the page, with an emulator at
  what it calls `localhost:50051`;
- ` ```ini `: the page's `pytest.ini`;
- ` ```yaml `: fixtures, which must load (YAML of others is ` ```yml `);
- ` ```console `: commands after `$ `, of which those of fm-emulator must exist with these options, and those of grpcurl
  are run.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest

from emulator import Emulator
from emulator.api import METHODS, message_class
from emulator.cli.commands import cli
from emulator.engine.book import load
from emulator.engine.verify import CHECKS, Report
from emulator.recorded import Recorded
from emulator.sessions import PARTS
from emulator.steering import ClockOf, OperationsOf, OperationView, Scripted, Steering

GUIDE = Path(__file__).parent.parent / "emulator" / "guide"
PAGES = sorted(GUIDE.glob("*.md"))
INDEX = GUIDE / "README.md"
HERE = "localhost:50051"
CONTROL = "/emulator.v1.ControlService/"
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its first line, in the page."""

    page: Path
    line: int
    kind: str
    text: str

    @property
    def name(self) -> str:
        """The file that it is, if it begins with a comment that says so."""
        found = re.match(r"# ([\w./-]+\.\w+)\n", self.text)
        return found[1] if found else ""

    @property
    def is_test(self) -> bool:
        return self.kind == "python" and re.search(r"^ *(async )?def test_", self.text, re.MULTILINE) is not None

    @property
    def stem(self) -> str:
        """The name of the test module that is made of it."""
        return Path(self.name).stem if self.name else f"test_{self.page.stem.replace('-', '_')}_line_{self.line}"

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    begun: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"( *)```(\w*)", line)
        if fence and begun is None:
            begun, lines = (number + 1, fence[2], fence[1]), []
        elif fence and begun is not None:
            yield Block(page, begun[0], begun[1], textwrap.dedent("\n".join(lines) + "\n"))
            begun = None
        else:
            lines.append(line)
    assert begun is None, f"{page.name}: the block at line {begun} is not closed"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
TESTS = [block for block in BLOCKS if block.is_test]
FILES = [block for block in BLOCKS if block.name and not block.is_test]
CODE = [block for block in BLOCKS if block.kind == "python" and not block.is_test and not block.name]
FIXTURES = [block for block in BLOCKS if block.kind == "yaml" and not block.name]
CONSOLE = [block for block in BLOCKS if block.kind == "console"]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# -- tests on the pages


def together() -> list[list[Path]]:
    """Pages that share one pytest. One with an ini file, or with a file of a name that another has, gets its own."""
    shared: list[Path] = []
    taken: set[str] = set()
    alone: list[list[Path]] = []
    for page in dict.fromkeys(block.page for block in TESTS):
        mine = [block for block in BLOCKS if block.page == page]
        names = {block.name for block in mine if block.name} - {"conftest.py"}
        if any(block.kind == "ini" for block in mine) or names & taken:
            alone.append([page])
        else:
            shared.append(page)
            taken |= names
    return [group for group in [shared, *alone] if group]


def ran(pages: list[Path], root: Path) -> dict[str, str]:
    """What became of each test module of the pages: how its tests failed, or the empty text. One pytest."""
    mine = [block for block in BLOCKS if block.page in pages]
    (root / "pytest.ini").write_text(next((block.text for block in mine if block.kind == "ini"), INI), encoding="utf-8")
    for block in mine:
        if not block.is_test and not block.name:
            continue
        folder = root / block.page.stem if len(pages) > 1 else root
        path = folder / (block.name or f"{block.stem}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Lines of a traceback are those of the page.
        shift = "\n" * (block.line - 1) if block.is_test else ""
        path.write_text(shift + block.text, encoding="utf-8")
    told = root / "junit.xml"
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", ".", "-W", "error", "--strict-markers"]
    command += ["-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    command += ["-o", "junit_family=xunit1", f"--junitxml={told}", "-q", "."]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FM_EMULATOR_"))
    }
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)
    outcome: dict[str, str] = {}
    for case in ElementTree.parse(told).iter("testcase") if told.exists() else ():
        stem = Path(case.get("file") or case.get("name") or "").stem.rpartition(".")[2]
        wrong = [*case.findall("failure"), *case.findall("error"), *case.findall("skipped")]
        texts = [f"{case.get('name')}: {found.get('message')}\n{found.text or ''}" for found in wrong]
        outcome[stem] = "\n".join([outcome.get(stem, ""), *texts]).strip()
    if run.returncode not in (0, 1):
        for block in mine:
            outcome[block.stem] = outcome.get(block.stem) or f"{run.stdout}\n{run.stderr}"
    return outcome


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, dict[str, str]]:
    """What became of the pages' tests, by page and module."""
    found: dict[Path, dict[str, str]] = {}
    for pages in together():
        told = ran(pages, tmp_path_factory.mktemp("guide"))
        found.update(dict.fromkeys(pages, told))
    return found


@pytest.mark.parametrize("block", TESTS, ids=str)
def test_an_example_that_is_a_test_passes(block: Block, outcome: dict[Path, dict[str, str]]) -> None:
    told = outcome[block.page].get(block.stem, "pytest found no test in it")
    if told:
        pytest.fail(f"{block}\n{told}", pytrace=False)


# -- the other blocks


@pytest.mark.parametrize("page", sorted({block.page for block in CODE}), ids=lambda page: page.name)
def test_the_python_of_a_page_runs(
    page: Path, serve: Callable[..., Emulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = [block for block in CODE if block.page == page]
    names: dict[str, Any] = {"__name__": "__main__"}
    target = serve().target if any(HERE in block.text for block in code) else ""
    for block in code:
        shifted = "\n" * (block.line - 1) + block.text.replace(HERE, target)
        exec(compile(shifted, str(page), "exec"), names)


@pytest.mark.parametrize("block", FIXTURES, ids=str)
def test_yaml_on_the_pages_loads(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert load([path]).files == 1


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.name.endswith(".yaml")], ids=str)
def test_a_fixture_file_on_the_pages_loads(block: Block, tmp_path: Path) -> None:
    path = tmp_path / Path(block.name).name
    path.write_text(block.text, encoding="utf-8")
    assert load([path]).files == 1


def commands(block: Block, program: str) -> Iterator[list[str]]:
    """The arguments of each command line of `program`; what it is piped to, and variables before it, are left out."""
    for line in re.sub(r"\\\n", " ", block.text).splitlines():
        if not line.startswith("$ "):
            continue
        lexer = shlex.shlex(line[2:], posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words = list(lexer)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            del words[0]
        if words[:1] == [program]:
            end = next((n for n, word in enumerate(words) if set(word) <= set("|&;<>#") and word), len(words))
            yield words[1:end]


def parse(command: click.Command, args: list[str], parent: click.Context | None = None) -> None:
    """Raise click's error for a command or an option that there is not; values are not looked at."""
    with click.Context(command, parent) as ctx:
        _, rest, _ = command.make_parser(ctx).parse_args(list(args))
        if isinstance(command, click.Group) and rest:
            found = command.get_command(ctx, rest[0])
            if found is None:
                raise click.UsageError(f"no such command: {rest[0]}")
            parse(found, rest[1:], ctx)


@pytest.mark.parametrize(
    ("block", "args"),
    [
        pytest.param(block, args, id=f"{block} {args[:2]}")
        for block in CONSOLE
        for args in commands(block, "fm-emulator")
    ],
)
def test_commands_on_the_pages_exist_with_their_options(block: Block, args: list[str]) -> None:
    parse(cli, args)


@pytest.fixture
def grpcurl(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a line in a shell that finds grpcurl, and the Python of these tests, in a new folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("grpcurl", path=path) is None:
        pytest.skip("there is no grpcurl")
    environment = os.environ | {"PATH": path}
    return lambda line: subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("page", sorted({b.page for b in CONSOLE if [*commands(b, "grpcurl")]}), ids=lambda p: p.name)
def test_calls_by_grpcurl_on_the_pages_are_answered(
    page: Path, serve: Callable[..., Emulator], grpcurl: Shell, tmp_path: Path
) -> None:
    target = serve().target
    for block in (block for block in BLOCKS if block.page == page):
        if block.name:
            (tmp_path / block.name).write_text(block.text, encoding="utf-8")
        for line in re.sub(r"\\\n", " ", block.text).splitlines():
            if block.kind == "console" and line.startswith("$ grpcurl "):
                run = grpcurl(line.removeprefix("$ ").replace(HERE, target))
                assert run.returncode == 0, f"{block}: {line}\n{run.stdout}{run.stderr}"


def test_stubs_are_made_from_what_reflection_gives(
    serve: Callable[..., Emulator], grpcurl: Shell, tmp_path: Path
) -> None:
    page = (GUIDE / "control-api.md").read_text(encoding="utf-8")
    exported = re.search(r"^\$ (grpcurl .*-protoset-out .*)$", page, re.MULTILINE)
    made = re.search(r"`(python -m grpc_tools\.protoc .*?)`", page)
    assert exported is not None
    assert made is not None
    for line in (exported[1].replace(HERE, serve().target), made[1]):
        run = grpcurl(line)
        assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
    assert (tmp_path / "emulator" / "v1" / "control_pb2_grpc.py").exists()


# -- links


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    heads = re.findall(r"^#+ +(.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", h).lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        other = page if not path else page.parent / path
        assert other.exists(), f"{page.name}: {link}"
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other), f"{page.name}: {link}: there is no such heading"


@pytest.mark.parametrize("page", [page for page in PAGES if page != INDEX], ids=lambda page: page.name)
def test_the_index_has_each_page(page: Path) -> None:
    assert f"]({page.name})" in INDEX.read_text(encoding="utf-8")


# -- nothing is left out


def shown(page: Path) -> str:
    """What stands in code on a page, in its blocks and within its lines."""
    inline = re.findall(r"`([^`\n]+)`", prose(page))
    return "\n".join([*inline, *(block.text for block in BLOCKS if block.page == page)])


def public(cls: type) -> set[str]:
    """The names that a class has for others: methods, properties, and what `__init__` sets."""
    names = {name for name in vars(cls) if not name.startswith("_")}
    begins = vars(cls).get("__init__")
    if begins is not None and not getattr(cls, "__struct_fields__", ()):
        tree = ast.parse(textwrap.dedent(inspect.getsource(begins)))
        stored = (
            node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        )
        names |= {node.attr for node in stored if not node.attr.startswith("_")}
    return names


@pytest.mark.parametrize("cls", [Steering, ClockOf, OperationsOf, OperationView, Scripted, Recorded, Report, Emulator])
def test_every_public_name_of_the_python_api_is_on_a_page(cls: type) -> None:
    code = "\n".join(shown(page) for page in PAGES)
    assert {name for name in public(cls) if not re.search(rf"(?<!\w){name}(?!\w)", code)} == set()


def test_every_argument_of_the_python_api_is_on_a_page() -> None:
    code = "\n".join(shown(page) for page in PAGES)
    for cls in (Steering, ClockOf, OperationsOf):
        for name, method in vars(cls).items():
            if name.startswith("_") or not inspect.isfunction(method):
                continue
            arguments = set(inspect.signature(method).parameters) - {"self"}
            assert {a for a in arguments if not re.search(rf"(?<!\w){a}(?!\w)", code)} == set(), (
                f"{cls.__name__}.{name}"
            )


RPCS = sorted(path.removeprefix(CONTROL) for path in METHODS if path.startswith(CONTROL))


@pytest.mark.parametrize("rpc", RPCS)
def test_every_method_of_the_control_api_is_on_its_page_with_what_it_takes(rpc: str) -> None:
    code = shown(GUIDE / "control-api.md")
    assert f"`{rpc}`" in prose(GUIDE / "control-api.md")
    fields = message_class(f"emulator.v1.{rpc}Request").DESCRIPTOR.fields
    assert {field.name for field in fields if not re.search(rf"(?<!\w){field.name}(?!\w)", code)} == set()


@pytest.mark.parametrize(("page", "names"), [("verification.md", CHECKS), ("scripting.md", PARTS)])
def test_every_check_and_every_part_is_on_its_page(page: str, names: tuple[str, ...]) -> None:
    code = shown(GUIDE / page)
    assert {name for name in names if name not in code} == set()
