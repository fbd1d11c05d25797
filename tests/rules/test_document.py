"""YAML text becomes nodes with positions, and every mistake in it is told with what was meant."""

from __future__ import annotations

import datetime
import gc
import pathlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import Mistake
from emulator.rules import document
from emulator.rules.alphabets import mixed_word
from emulator.rules.document import BROKEN, MAX_BYTES, PLAIN, TEXT, parse, read
from emulator.rules.inline import nodes_of


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def _each_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(document, "_Loader", document._tagging(yaml.SafeLoader))
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")


def told(text: str) -> tuple[yaml.Node | None, list[Mistake], list[Mistake]]:
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    return parse(text, "f.yaml", mistakes, warnings), mistakes, warnings


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_is_no_mistake(text: str) -> None:
    assert told(text) == (None, [], [])


def test_plain_scalars_wait_for_their_type_and_quoted_ones_are_texts() -> None:
    root, mistakes, _ = told("a: no\nb: 'no'\nc: |\n  12\nd: !!str 12\ne: !!int '5'\n")
    assert mistakes == []
    assert [value.tag for _, value in root.value] == [PLAIN, TEXT, TEXT, TEXT, PLAIN]


def test_a_byte_order_mark_moves_no_column() -> None:
    root, _, _ = told("\ufeffa: 1")
    key, _ = root.value[0]
    assert (key.start_mark.line, key.start_mark.column) == (0, 0)


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("text: {{ question }}", 1, "quote the template"),
        ("a: 1\ntext: {{ question }} x", 2, "must be quoted as a whole"),
        ("text: {% if x %}", 1, "must be quoted as a whole"),
        ("{text: Hi {{ name }}}", 1, "must be quoted as a whole"),
        ("r: {text: Привет, мир}", 1, 'quote it: "Привет, мир"'),
        ("r: {text: Время: 12}", 1, "a colon split a text"),
        ("text: Ответ: да", 1, "a second colon"),
        ('re: "\\w+"', 1, "use single quotes, '\\w"),
        ('re: "\\u12"', 1, "use single quotes"),
        ("a:\n\tb: 1", 2, "a tab in the indentation"),
        ("a: 'x\nb: 3\n", 1, "the quote that opens here is never closed"),
        ("a: [1, 2\nb: 3\n", 1, "the `[` that opens here is never closed"),
        ("a: {b: 1", 1, "the `{` that opens here is never closed"),
        ("a: [1}", 1, "`[` of line 1 is closed by `}`"),
        ("model: *lite", 1, "begins with `*` must be quoted"),
        ("text: *важно*", 1, "begins with `*` must be quoted"),
        ("text: !важно", 1, "begins with `!` must be quoted"),
        ("text: !foo x", 1, "unknown tag `!foo`"),
        ("!!python/object:os.system {}", 1, "unknown tag"),
        ("text: ? a", 1, "begins with `?` must be quoted"),
        ("text: @all", 1, "begins with `@` must be quoted"),
        ('text: "да" или нет', 1, "goes on after its closing quote"),
        ("a: b #5\n  c", 2, "` #` ended in the line above"),
        ("a:b\nc: d", 2, "space after the colon"),
        ("text: - b", 1, "a list begins on a line of its own"),
        ("text: | foo", 1, "begins on the next line"),
        ("a: 1\nb: 2\n c: 3\n", 3, "check the indentation"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("a: 1\nb: 2\na: 3", 3, "duplicate key `a`: it is already in line 1"),
        ("a: {b: 1, b: 2}", 1, "duplicate key `b`"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 3, "merge keys are not supported"),
        ("[1, 2]: x", 1, "can't be a key"),
        ("&a [*a]", 1, "would never end"),
        ("a: 1\nb: \x07", 2, "control character, U+0007"),
        ("a: \ud800", 1, "surrogate"),
        ("a: " + "[" * 100_000, 1, "nested deeper than 100"),
        ("- " * 50_000, 1, "nested deeper than 100"),
    ],
)
def test_each_slip_gets_a_hint_at_its_line(text: str, line: int, hint: str) -> None:
    _, mistakes, _ = told(text)
    assert [(mistake.line, hint in mistake.text) for mistake in mistakes] == [(line, True)], mistakes


def test_mistakes_that_leave_the_graph_whole_are_collected_together() -> None:
    root, mistakes, _ = told("a: 1\na: 2\nb: !x y\nc: {{ d }}\n<<: {}\n")
    assert sorted(mistake.line for mistake in mistakes) == [2, 3, 4, 5]
    assert [(key.value, value.tag) for key, value in root.value] == [("a", PLAIN), ("b", BROKEN), ("c", BROKEN)]


def test_flow_entries_with_a_colon_may_be_empty() -> None:
    assert told('{a: , "b":, c : }')[1] == []


def test_aliases_may_share_but_not_multiply() -> None:
    ten = ", ".join
    assert told("a: &x {b: 1}\nc: *x\nd: [*x, *x]")[1] == []
    levels = [f"l{i}: &l{i} [{ten([f'*l{i - 1}'] * 10)}]" for i in range(1, 9)]
    _, mistakes, _ = told("\n".join(["l0: &l0 [1]", *levels]))
    assert len(mistakes) == 1
    assert "YAML bomb" in mistakes[0].text


def test_aliases_can_not_nest_deeper_than_what_is_written_may() -> None:
    lines = ["l0: &l0 [1]"] + [f"l{i}: &l{i} [*l{i - 1}]" for i in range(1, 120)]
    _, mistakes, _ = told("\n".join(lines))
    assert ["nested deeper" in mistake.text for mistake in mistakes] == [True]


def test_more_nodes_than_aliases_may_add_can_be_written_down() -> None:
    assert told("[" + "1," * 10 + "]\n")[1] == []
    assert told("- a\n" * 3000)[1] == []


def test_a_file_that_is_too_large_is_refused() -> None:
    _, mistakes, _ = told("#" * (MAX_BYTES + 1))
    assert "larger than 10 MB" in mistakes[0].text


@pytest.mark.parametrize("text", ["text: Заказ #5 готов", "- да #нет"])
def test_a_hash_that_may_have_ended_a_text_is_a_warning(text: str) -> None:
    _, mistakes, warnings = told(text)
    assert mistakes == []
    assert ["reads as a comment" in warning.text for warning in warnings] == [True]


@pytest.mark.parametrize("text", ["a: b  # why", "a: b # why", "port: 50051 #default", "a: 'b #5'", "#c", "a: b#5"])
def test_honest_comments_are_not_warned_about(text: str) -> None:
    assert told(text)[1:] == ([], [])


def test_a_latin_letter_in_a_cyrillic_word_is_a_warning() -> None:
    _, mistakes, warnings = told("a: 1\nquestion: Привeт\n")
    assert mistakes == []
    assert [(warning.line, "`Привeт` mixes" in warning.text) for warning in warnings] == [(2, True)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("кoт", "кoт"),
        ("tеxt", "tеxt"),
        ("SMSка для GPTшника", None),
        (r"\bслово и \wя", None),
        ("API-шлюз, text и текст", None),
    ],
)
def test_only_letters_that_look_alike_make_a_mixed_word(text: str, word: str | None) -> None:
    assert mixed_word(text) == word


def test_parsing_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    told("a: [")
    assert gc.isenabled()


@given(st.text())
def test_random_text_never_raises(text: str) -> None:
    _, mistakes, warnings = told(text)
    assert all(isinstance(mistake, Mistake) for mistake in mistakes + warnings)


@given(st.text(alphabet="ab:-#{}[]\"'*&!|>%@`,? \n\t\\<.~1я"))
def test_random_yaml_never_raises_and_a_lost_document_is_explained(text: str) -> None:
    root, mistakes, _ = told(text)
    if root is None and not mistakes:
        assert yaml.safe_load(text) is None


def test_read_gives_the_text_without_its_byte_order_mark(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + "текст".encode())
    assert read(path, []) == "текст"


@pytest.mark.parametrize(
    ("raw", "line", "hint"),
    [
        ("a: 1\nb: да".encode("cp1251"), 2, "save the file as UTF-8"),
        ("a: да".encode("utf-16"), 1, "UTF-16"),
        (b"#" * (MAX_BYTES + 1), 0, "larger than 10 MB"),
    ],
)
def test_a_file_that_is_no_text_is_a_mistake(tmp_path: pathlib.Path, raw: bytes, line: int, hint: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)
    mistakes: list[Mistake] = []
    assert read(path, mistakes) is None
    assert [(mistake.line, hint in mistake.text) for mistake in mistakes] == [(line, True)]


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b"])
def test_a_file_that_can_not_be_read_is_a_mistake(tmp_path: pathlib.Path, name: str) -> None:
    mistakes: list[Mistake] = []
    assert read(tmp_path / name, mistakes) is None
    assert "can't be read" in mistakes[0].text
    assert mistakes[0].line == 0


@given(raw=st.binary())
def test_random_bytes_never_raise(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(raw)
    mistakes: list[Mistake] = []
    text = read(path, mistakes)
    assert (text is None) == bool(mistakes)
    if text is not None:
        told(text)


def test_python_values_become_nodes_that_stand_nowhere() -> None:
    root = nodes_of({"a": ["12", 12, True, None, 1.5], 2: (datetime.timedelta(seconds=1),), "p": pathlib.Path("x")})
    (a, items), (two, times), (_, path) = root.value
    assert (a.value, two.value, path.value) == ("a", "2", "x")
    assert [(item.tag, item.value) for item in items.value] == [
        (TEXT, "12"),
        (PLAIN, "12"),
        (PLAIN, "true"),
        (PLAIN, "null"),
        (PLAIN, "1.5"),
    ]
    assert times.value[0].value == "1000000us"
    assert (root.start_mark.line + 1, root.start_mark.column + 1) == (0, 0)


def test_python_values_that_fixtures_can_not_hold_are_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="holding itself"):
        nodes_of(cycle)
    with pytest.raises(TypeError, match="bytes has no place"):
        nodes_of({"a": b"x"})
    with pytest.raises(TypeError, match="can't be a key"):
        nodes_of({(1, 2): 1})
    with pytest.raises(ValueError, match="duplicate key `1`"):
        nodes_of({1: 1, "1": 2})
    with pytest.raises(ValueError, match="surrogate"):
        nodes_of("\ud800")
    with pytest.raises(ValueError, match="digits"):
        nodes_of(10**5000)
