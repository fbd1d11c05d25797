"""Bundles: folders of fixtures in memory behave like those on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.engine.book import load
from emulator.errors import FixtureError
from emulator.rules.files import Bundle


def mistakes(bundle: Bundle) -> list[str]:
    with pytest.raises(FixtureError) as refused:
        load([bundle])
    return [str(mistake) for mistake in refused.value.mistakes]


def rule(text: str) -> bytes:
    return f"rules:\n- reply: {{text: {text}}}\n".encode()


def test_a_bundle_is_read_in_name_order_with_both_suffixes_and_without_hidden_files() -> None:
    names = ("sub/c.yaml", "b.yaml", "a.yml", ".hidden.yaml", "notes.txt", "sub/.b.yaml", ".d/e.yaml")
    book = load([Bundle({name: rule(name) for name in names})])
    assert [r.recipes[0].reply.text for r in book.rules] == ["a.yml", "b.yaml", "sub/c.yaml"]
    assert book.files == 3


@pytest.mark.parametrize(("name", "place"), [("", "chat.yaml:2: "), ("deploy", "deploy/chat.yaml:2: ")])
def test_mistakes_are_told_by_path_after_the_bundles_name(name: str, place: str) -> None:
    (told,) = mistakes(Bundle({"chat.yaml": b"rules:\n- reply: {error: NO}\n"}, name=name))
    assert told.startswith(place)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("../up.md", "../up.md: it is outside the fixtures' folder"),
        ("sub/../../up.md", "it is outside the fixtures' folder"),
        ("/etc/hostname", "/etc/hostname: it is outside the fixtures' folder"),
        ("nowhere.md", "nowhere.md: no such file beside a.yaml"),
        ("..\\up.md", "no such file beside a.yaml"),
        ("''", "it is not a file"),
        ("sub", "sub: it is not a file"),
    ],
)
def test_references_stay_within_the_bundle(reference: str, told: str) -> None:
    (mistake,) = mistakes(Bundle({"a.yaml": rule(f"{{file: {reference}}}"), "sub/x.md": b"x"}))
    assert told in mistake


def test_a_reference_is_looked_for_beside_its_file() -> None:
    files = {"sub/a.yaml": rule("{file: ../letter.md}"), "letter.md": "да".encode()}
    assert load([Bundle(files)]).rules[0].recipes[0].reply is not None


@pytest.mark.parametrize("path", ["../a.yaml", "/a.yaml", "C:/a.yaml", "sub\\a.yaml", "", "./a.yaml", "a//b.yaml"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    assert len(mistakes(Bundle({path: rule("a"), "b.yaml": rule("b")}))) == 1


def test_variables_see_the_bundles_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY", "Казань")
    files = {"a.yaml": b"vars: {city: '${CITY}'}"}
    assert mistakes(Bundle(files)) == [
        "a.yaml:1: vars.city: the environment has no CITY; set it, or give a default: ${CITY:-...}"
    ]
    assert load([Bundle(files, {"CITY": "Псков"})]).files == 1


def test_a_bundle_without_fixtures_is_a_mistake_and_an_empty_one_is_not() -> None:
    assert mistakes(Bundle({"notes.md": b""})) == ["fixtures: no *.yaml file among notes.md"]
    assert load([Bundle({})]).rules == ()


def test_bundles_with_files_of_the_same_name_are_all_read() -> None:
    assert len(load([Bundle({"a.yaml": rule("x")}), Bundle({"a.yaml": rule("y")})]).rules) == 2


def test_a_file_that_is_not_utf_8_is_a_mistake_with_its_line() -> None:
    (told,) = mistakes(Bundle({"a.yaml": b"rules:\n# \xff\n"}))
    assert told.startswith("a.yaml:2: is not UTF-8")


def test_a_linked_folder_inside_is_read_and_one_that_leads_out_is_not(tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    for folder, name in ((elsewhere, "foreign"), (root / "..data" / "sub", "ours")):
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(f"rules: [{{name: {name}, reply: {{text: ok}}}}]", "utf-8")
    (root / "sub").symlink_to("..data/sub")
    (root / "out").symlink_to(elsewhere)
    (root / "again").symlink_to(root)
    assert [rule.name for rule in load([root]).rules] == ["ours"]


@pytest.mark.parametrize("raw", [b"{{ question }}", b"rules:\n- {{ question }}\n", b"? [rules]\n: 1\n"])
def test_a_list_or_mapping_where_a_fields_name_should_be_is_a_mistake_with_its_line(raw: bytes) -> None:
    assert all(told.startswith(("a.yaml:1: ", "a.yaml:2: ")) for told in mistakes(Bundle({"a.yaml": raw})))
