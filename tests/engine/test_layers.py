"""Rules in layers: which stands before which, what replaces what, and how they are kept and brought back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.book import Book, load
from emulator.engine.layers import Layer, bundle_of, dumped, placed, revived, stacked
from emulator.errors import FixtureError
from emulator.rules.files import Bundle

from .asked import Session, rules


def texts(book: Book) -> list[Any]:
    return [rule.recipes[0].reply.text for rule in book.rules]


def known(book: Book) -> list[Any]:
    return [(rule.identity, rule.name, rule.label, rule.file, rule.line, rule.calls) for rule in book.rules]


A, B = {"reply": {"text": "a"}}, {"reply": {"text": "b"}}


def test_an_upper_layers_rules_stand_before_those_below_whatever_their_priority() -> None:
    upper, lower = rules(A, {**B, "priority": 5}), rules({"reply": {"text": "c"}, "priority": 9})
    book = stacked([Layer("r1", upper), Layer("files", lower)])
    assert texts(book) == ["b", "a", "c"]
    assert [layer for _, layer in placed(book, "files")] == ["r1", "r1", "files"]
    assert book.rules == (*upper.rules, *lower.rules)
    assert Session(book).ask("?") == ["b"]


def test_a_single_layer_is_its_book() -> None:
    book = rules(A)
    assert stacked([Layer("files", book)]) is book
    assert [layer for _, layer in placed(book, "files")] == ["files"]


def test_a_rule_is_replaced_by_one_of_its_name_above_which_stands_in_its_own_layers_place() -> None:
    lower = rules({"name": "x", "reply": {"text": "old"}}, B)
    book = stacked([Layer("r1", rules(A, {"name": "x", "reply": {"text": "new"}})), Layer("files", lower)])
    assert texts(book) == ["a", "new", "b"]
    assert [rule.recipes[0].reply.text for rule in book.by_call["completion"]] == ["a", "new", "b"]


def test_rules_laid_over_others_do_not_change_what_those_are_known_by() -> None:
    files = rules(A, A)
    once = stacked([Layer("r1", rules(A)), Layer("files", files)])
    twice = stacked([Layer("r2", rules(A)), Layer("r1", rules(A)), Layer("files", files)])
    assert [rule.identity for rule in once.rules[1:]] == [rule.identity for rule in files.rules]
    assert [rule.identity for rule in twice.rules[1:]] == [rule.identity for rule in once.rules]
    assert len({rule.identity for rule in twice.rules}) == 4
    assert once.rules[0].identity.endswith("@r1")


def test_the_fallback_is_the_first_layers_that_has_one() -> None:
    layers = [Layer(str(n), load([f])) for n, f in enumerate([{}, {"fallback": A["reply"]}, {"fallback": B["reply"]}])]
    assert Session(stacked(layers)).ask("?") == ["a"]


def test_rules_use_the_snippets_of_those_they_are_laid_over_unless_they_have_their_own() -> None:
    under = rules(snippets={"x": {"text": "under"}, "y": {"text": "y"}})
    use = {"rules": [{"reply": {"use": "x"}}]}
    assert Session(load([use], under)).ask("?") == ["under"]
    assert Session(load([{**use, "snippets": {"x": {"text": "own"}}}], under)).ask("?") == ["own"]
    with pytest.raises(FixtureError, match="no such snippet: z; there are x, y"):
        load([{"rules": [{"reply": {"use": "z"}}]}], under)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CITY", "Казань")
    monkeypatch.setenv("SECRET", "тайна")
    at = tmp_path / "fixtures"
    (at / "sub").mkdir(parents=True)
    (at / "letter.md").write_text("Дорогой друг", "utf-8")
    (at / "unused.md").write_text("лишнее", "utf-8")
    (at / "cat.jpg").write_bytes(b"\xff\xd8\xff\xe0 a cat")
    (at / "a.yaml").write_text(
        "vars: {city: '${CITY}', other: '${UNSET_HERE:-Псков}'}\nrules:\n"
        "- {name: c, when: {question: '{{ vars.city }}'}, reply: {text: '{{ vars.other }}'}}\n",
        "utf-8",
    )
    (at / "sub" / "b.yaml").write_text(
        "snippets: {mail: {text: {file: ../letter.md}}}\nrules:\n"
        "- {call: generate_image, reply: {image: ../cat.jpg}}\n- reply: {use: mail}\n",
        "utf-8",
    )
    return at


def emptied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.parent / "gone")
    monkeypatch.setenv("CITY", "Тверь")
    monkeypatch.setenv("UNSET_HERE", "Тула")


def test_a_dump_gives_the_same_rules_without_the_files_and_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = load([{"rules": [A | {"priority": -1, "when": {"turn": 9}}]}, folder])
    data = json.loads(json.dumps(dumped(book)))
    emptied(folder, monkeypatch)
    again = revived(data)
    assert known(again) == known(book)
    assert again.files == book.files
    assert Session(again).ask("Казань", "Тверь") == ["Псков", "Дорогой друг"]
    assert dumped(again) == data


def test_a_dump_holds_the_snippets_that_rules_took_from_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = load([{"rules": [{"reply": {"use": "mail"}}]}], load([folder]))
    data = dumped(book)
    emptied(folder, monkeypatch)
    assert Session(revived(data)).ask("?") == ["Дорогой друг"]


def test_a_mapping_changed_after_it_was_loaded_is_kept_as_it_was() -> None:
    said: dict[str, Any] = {"rules": [{"reply": {"text": "a"}}]}
    book = load([said])
    said["rules"][0]["reply"]["text"] = "b"
    assert known(revived(dumped(book))) == known(book)
    assert Session(revived(dumped(book))).ask("?") == ["a"]


def test_numbers_for_keys_are_the_same_after_json_which_has_none() -> None:
    operation = {"polls": {2: "UNAVAILABLE", 10: "INTERNAL"}}
    book = load([{"rules": [{"call": "completion_async", "reply": {"text": "a"}, "operation": operation}]}])
    assert known(revived(json.loads(json.dumps(dumped(book))))) == known(book)


def test_a_stack_is_dumped_layer_by_layer() -> None:
    with pytest.raises(ValueError, match="dump the book of each layer"):
        dumped(stacked([Layer("r1", rules(A)), Layer("files", rules(B))]))
    assert revived(dumped(Book())) == Book()


def test_what_is_no_dump_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected `array`"):
        revived({"given": 5})


def test_a_bundle_of_a_folder_holds_what_its_rules_refer_to_and_nothing_else(folder: Path) -> None:
    bundle = bundle_of(folder)
    assert sorted(bundle.files) == ["a.yaml", "cat.jpg", "letter.md", "sub/b.yaml"]
    assert dict(bundle.environment) == {"CITY": "Казань"}
    assert known(load([bundle])) == known(load([folder]))


def test_a_bundle_of_a_single_file_is_of_that_file(folder: Path) -> None:
    assert list(bundle_of(folder / "a.yaml").files) == ["a.yaml"]


def test_a_bundle_of_files_with_mistakes_is_refused_with_all_of_them(folder: Path) -> None:
    (folder / "a.yaml").write_text("rules: [{reply: {txt: a}}, {reply: {error: NO}}]", "utf-8")
    with pytest.raises(FixtureError) as refused:
        bundle_of(folder)
    assert len(refused.value.mistakes) == 2


def test_a_bundle_can_be_laid_over_files_in_memory() -> None:
    upper = load([Bundle({"a.yaml": b"rules: [{reply: {text: new}}]"})])
    assert Session(stacked([Layer("r1", upper), Layer("files", rules(A))])).ask("?") == ["new"]
