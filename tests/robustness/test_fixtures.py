"""Whatever fixtures say, they are refused with a place for every mistake, or loaded and then able to answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, note
from hypothesis import strategies as st

from emulator.api import METHODS, ExplainRequest, GetOperationRequest
from emulator.calls import METHODS_BY_CALL
from emulator.engine.book import load
from emulator.engine.reach import unreachable
from emulator.errors import FixtureError

from .fixtures_at_random import files, rules, without_long_waits
from .requests_at_random import metadata, requests
from .soundness import Sound, looking, told_well

EXAMPLES = Path(__file__).parents[2] / "fixtures"
CHATS = ["completion", "completion_async"]
Loads = Callable[[Any], bool]


@pytest.fixture(scope="module")
def loads(tmp_path_factory: Any) -> Loads:
    """Whether a file that says this loads; if not, it was refused as it should be."""
    folder = tmp_path_factory.mktemp("random")
    (folder / "story.md").write_text("Жили-были старик со старухой.", encoding="utf-8")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    path = folder / "random.yaml"

    def loaded(said: Any) -> bool:
        path.write_text(yaml.safe_dump(said, allow_unicode=True, sort_keys=False), encoding="utf-8")
        try:
            list(unreachable(load((path,))))
        except FixtureError as refused:
            told_well(refused)
            return False
        return True

    loaded.path = path  # type: ignore[attr-defined]
    return loaded


def _serve_whatever_loads(loads: Loads, data: Any, candidates: list[Any], **options: Any) -> None:
    kept = [rule for rule in map(without_long_waits, candidates) if loads({"rules": [rule]})]
    for i, rule in enumerate(kept):
        rule["name"] = f"rule-{i}"
    if not loads({"rules": kept}):
        return
    note(yaml.safe_dump(kept, allow_unicode=True))
    with Sound(fixtures=str(loads.path), speed=1e6, lenient=True, **options) as sound:  # type: ignore[attr-defined]
        for _ in range(2):
            calls = [
                c
                for rule in kept
                for c in ([rule["call"]] if isinstance(rule.get("call"), str) else rule.get("call") or [])
            ]
            call = data.draw(
                st.sampled_from([c for c in calls if c in METHODS_BY_CALL and c != "generate_image"] or CHATS)
            )
            method = METHODS_BY_CALL[call]
            request = data.draw(requests(method))
            note(str(request))
            reply = sound.call(method, request, data.draw(metadata()))
            sound.call("ControlService/Explain", ExplainRequest(call_id="c1"))
            if reply.code == "OK" and METHODS[method].output_name.endswith("Operation"):
                for _ in range(3):
                    sound.call("OperationService/Get", GetOperationRequest(operation_id=reply.only.id))
        sound.serves()


def test_rules_of_plausible_values_that_load_can_answer(loads: Loads) -> None:
    @looking(40)
    @given(st.data(), st.lists(rules(), min_size=1, max_size=4), st.booleans())
    def holds(data: Any, candidates: list[Any], strict: bool) -> None:
        _serve_whatever_loads(loads, data, candidates, strict=strict)

    holds()


def test_rules_with_implausible_values_are_refused_or_can_answer(loads: Loads) -> None:
    @looking(30)
    @given(st.data(), st.lists(rules(plausible=False), min_size=1, max_size=4))
    def holds(data: Any, candidates: list[Any]) -> None:
        _serve_whatever_loads(loads, data, candidates)

    holds()


@pytest.mark.parametrize("plausible", [True, False])
def test_whole_files_are_refused_with_a_place_for_every_mistake_or_load(loads: Loads, plausible: bool) -> None:
    @looking(60)
    @given(files(plausible))
    def holds(said: Any) -> None:
        loads(said)

    holds()


def test_a_good_share_of_the_random_rules_does_load(loads: Loads) -> None:
    seen: list[bool] = []

    @looking(60)
    @given(rules())
    def count(rule: Any) -> None:
        seen.append(loads({"rules": [rule]}))

    count()
    assert sum(seen) > len(seen) / 5


_CHARACTERS = st.sampled_from(list(" :-{}[]\"'#&*!|>%@`,?\n\t\0я\u2028\ufeff\x85~=<\\"))


@st.composite
def _mutations(draw: st.DrawFn, text: str) -> str:
    for _ in range(draw(st.integers(1, 3))):
        lines = text.split("\n")
        i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        at = draw(st.integers(0, max(0, len(text) - 1)))
        what = draw(st.sampled_from(["delete", "double", "swap", "move", "drop", "insert", "change", "cut", "indent"]))
        if what == "delete":
            del lines[i]
        elif what == "double":
            lines.insert(i, lines[i])
        elif what == "swap":
            lines[i], lines[j] = lines[j], lines[i]
        elif what == "move":
            lines.insert(j, lines.pop(i))
        elif what == "indent":
            lines[i] = " " * draw(st.integers(1, 4)) + lines[i]
        text = "\n".join(lines)
        if what == "drop":
            text = text[:at] + text[at + 1 :]
        elif what == "insert":
            text = text[:at] + draw(_CHARACTERS) + text[at:]
        elif what == "change":
            text = text[:at] + draw(_CHARACTERS) + text[at + 1 :]
        elif what == "cut":
            text = text[:at]
    return text


def test_damaged_example_files_are_refused_with_a_place_for_every_mistake_or_load(tmp_path: Path) -> None:
    folder = tmp_path / "fixtures"
    shutil.copytree(EXAMPLES, folder)
    texts = {p.name: p.read_text(encoding="utf-8") for p in sorted(EXAMPLES.glob("*.yaml"))}
    damaged = tmp_path / "fixtures" / "damaged.yaml"

    @looking(200)
    @given(st.sampled_from(sorted(texts)).flatmap(lambda name: _mutations(texts[name])))
    def holds(text: str) -> None:
        damaged.write_text(text, encoding="utf-8")
        try:
            list(unreachable(load((damaged,))))
        except FixtureError as refused:
            told_well(refused)

    holds()


def test_files_of_random_bytes_are_refused_or_load(tmp_path: Path) -> None:
    file = tmp_path / "bytes.yaml"

    @looking(100)
    @given(st.one_of(st.binary(max_size=60), st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace"))))
    def holds(raw: bytes) -> None:
        file.write_bytes(raw)
        try:
            load((file,))
        except FixtureError as told:
            refused = told
        else:
            return
        assert all(str(mistake).startswith(str(file)) for mistake in refused.mistakes)

    holds()
